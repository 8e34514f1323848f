"""Colluding users against a running server, over real sockets, and an accountant of what each of them is sent.

Each user has a device that joins rooms, and a watcher: a second device that joins none and hears of every token.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import httpx
import msgspec
import trio

from domain.ids import LOSSES, PAYOUTS, TOKEN_SALES
from domain.stream.record import StreamRules
from server.config.settings import Settings
from tests.server.rest.conftest import Caller, client_of, users_of
from tests.server.rest.shop import SELLING, Shop, selling
from tests.support.clients import PATIENCE_SECONDS, Phone
from tests.support.servers import online, running_server
from tests.support.stripe_stand_in import stripe_stand_in

RATE = 600  # tokens a minute: 10 a block of one second
BLOCK_TOKENS = 10
PACK = {"small": (100, 699), "medium": (500, 3299)}
CENTS_PER_TOKEN = 5
LATE_SECONDS = 0.5  # by so much more than the parties may the server have counted: what they say takes its time


class Step(NamedTuple):
    """One thing that one user does, perhaps to another; `tokens` also picks among what there is."""

    what: str
    user: int
    further: int
    tokens: int


class Till:
    """The money that came in and went out, over all histories of one server."""

    def __init__(self) -> None:
        self.bought_cents = 0
        self.reversed_cents = 0
        self.cashed_cents = 0


class Colluder:
    """One user with a device and a watcher."""

    def __init__(self, caller: Caller, device: Phone, watcher: Phone) -> None:
        self.caller, self.device, self.watcher = caller, device, watcher
        self.user_id = caller.user_id
        self.unsure = False  # a session was closed, or a room died: something may not have been told
        self.tips: list[str] = []
        self.tickets: list[str] = []
        self.purchases: list[dict[str, Any]] = []

    def told(self, cause: str | None = None) -> list[dict[str, Any]]:
        """Each change of the wallet, once."""
        changes = self.watcher.all_events("wallet:changed")
        return [change for change in changes if cause in (None, change["cause"])]

    async def agrees(self) -> bool:
        """The balance is what all changes come to."""
        balance: int = (await self.wallet())["balance"]
        return balance == sum(int(change["tokens"]) for change in self.told())

    async def wallet(self) -> dict[str, Any]:
        card: dict[str, Any] = (await self.caller.get("/wallet")).json()
        return card


class ActiveCall(NamedTuple):
    """A call and its parties."""

    call_id: str
    channel: str
    fan: Colluder
    creator: Colluder


class History:
    """Plays steps on one server with users of its own."""

    def __init__(self, shop: Shop, till: Till, users: list[Colluder], operator: Caller) -> None:
        self.shop, self.till, self.users, self.operator = shop, till, users, operator
        self.active_calls: list[ActiveCall] = []
        self.streams: list[tuple[dict[str, Any], Colluder]] = []
        self.payouts: list[str] = []
        self.given: dict[str, float] = {}  # by call: for how long the creator may have been there
        self._since: dict[str, float] = {}

    async def take(self, step: Step) -> None:
        """Carry out one step; any answer of the server is accepted, except a server error."""
        user = self.users[step.user % len(self.users)]
        other = self.users[(step.user + 1 + step.further % (len(self.users) - 1)) % len(self.users)]
        await getattr(self, step.what)(user, other, step.tokens)

    @staticmethod
    def _ok(answer: httpx.Response) -> bool:
        assert answer.status_code < 500, answer.text
        return answer.is_success

    # Money

    async def buy(self, user: Colluder, _: Colluder, tokens: int) -> None:
        pack = "small" if tokens % 3 else "medium"
        answer = await user.caller.post("/tokens/purchases", {"packId": pack})
        if self._ok(answer):
            await self.shop.pay(answer.json())
            user.purchases.append(answer.json())
            self.till.bought_cents += PACK[pack][1]

    async def gift(self, user: Colluder, _: Colluder, tokens: int) -> None:
        wanted = {"userId": str(user.user_id), "tokens": tokens, "reason": "welcome"}
        self._ok(await self.operator.post("/admin/credits", wanted))

    async def tip(self, user: Colluder, other: Colluder, tokens: int, key: str | None = None) -> None:
        wanted = {"toCreatorId": str(other.user_id), "amountTokens": tokens}
        answer = await user.caller.post("/tips/send", wanted, key=key)
        if self._ok(answer):
            user.tips.append(answer.json()["tipId"])

    async def tip_twice(self, user: Colluder, other: Colluder, tokens: int) -> None:
        for _time in range(2):
            await self.tip(user, other, tokens, key=f"same-{tokens}")

    async def pass_on(self, user: Colluder, other: Colluder, _: int) -> None:
        if balance := (await user.wallet()).get("balance"):
            await self.tip(user, other, balance)

    async def ask_payout(self, user: Colluder, _: Colluder, tokens: int) -> None:
        cashable = (await user.wallet()).get("cashable", 0)
        for wanted in (cashable // (1 + tokens % 2), cashable + 1):
            answer = await user.caller.post("/payouts", {"tokens": max(1, wanted)})
            if self._ok(answer):
                self.payouts.append(answer.json()["payoutId"])

    async def settle(self, _: Colluder, __: Colluder, tokens: int) -> None:
        if self.payouts:
            payout = self.payouts.pop(tokens % len(self.payouts))
            status = "rejected" if tokens % 3 == 0 else "paid"
            answer = await self.operator.post(f"/admin/payouts/{payout}", {"status": status})
            if self._ok(answer) and status == "paid":
                self.till.cashed_cents += answer.json()["amountCents"]

    async def refund(self, user: Colluder, _: Colluder, tokens: int) -> None:
        paid = [("tipId", each) for each in user.tips] + [("ticketId", each) for each in user.tickets]
        paid += [("callId", talk.call_id) for talk in self.active_calls if talk.fan is user]
        if paid:
            name, each = paid[tokens % len(paid)]
            for _time in range(2):
                self._ok(await self.operator.post("/admin/refunds", {name: each, "reason": "sorry"}))

    async def refund_what_is_gone(self, user: Colluder, other: Colluder, tokens: int) -> None:
        """A tip is asked for as a payout, or passed on, and then given back."""
        before = len(user.tips)
        await self.tip(user, other, tokens)
        if tokens % 2:
            await self.ask_payout(other, user, 2)
        else:
            await self.pass_on(other, user, 0)
        for tip_id in user.tips[before:]:
            self._ok(await self.operator.post("/admin/refunds", {"tipId": tip_id, "reason": "sorry"}))

    async def cash_a_gift(self, user: Colluder, other: Colluder, tokens: int) -> None:
        await self.gift(user, other, tokens)
        await self.tip(user, other, tokens)
        await self.ask_payout(other, user, 2)

    async def charge_back(self, user: Colluder, _: Colluder, __: int) -> None:
        if user.purchases:
            purchase = user.purchases.pop()
            answer = await self.shop.tell(self.shop.stripe.dispute(purchase))
            assert answer.status_code == 200, answer.text
            self.till.reversed_cents += purchase["priceCents"]

    # People

    async def block(self, user: Colluder, other: Colluder, tokens: int) -> None:
        path = f"/creators/me/blocks/{other.user_id}"
        self._ok(await user.caller.put(path))
        if tokens % 2:
            self._ok(await user.caller.ask("DELETE", path))

    async def ban(self, user: Colluder, _: Colluder, __: int) -> None:
        """Their sessions are closed; then they are let in again."""
        wanted = {"userId": str(user.user_id), "reason": "fraud"}
        self._ok(await self.operator.post("/admin/bans", wanted))
        user.unsure = True
        for phone in (user.device, user.watcher):
            await trio.to_thread.run_sync(phone.wait_closed)
        self._ok(await self.operator.ask("DELETE", f"/admin/bans/{user.user_id}"))
        for phone in (user.device, user.watcher):
            await trio.to_thread.run_sync(phone.hang_up_network)
            await trio.to_thread.run_sync(phone.open)

    # Calls

    async def talk(self, user: Colluder, other: Colluder, _: int) -> None:
        """Ring, accept, and both join."""
        answer = await user.caller.post("/calls/init", {"creatorId": str(other.user_id)})
        if not self._ok(answer):
            return
        talk = ActiveCall(answer.json()["callId"], answer.json()["channel"], user, other)
        self.active_calls.append(talk)
        self._ok(await other.caller.post(f"/calls/{talk.call_id}/accept"))
        await self._enter(user, talk.channel)
        await self._enter_as_creator(talk)

    async def _enter(self, user: Colluder, channel: str) -> dict[str, Any]:
        return await trio.to_thread.run_sync(user.device.join, channel)

    async def _enter_as_creator(self, talk: ActiveCall) -> None:
        self._since.setdefault(talk.call_id, trio.current_time())
        await self._enter(talk.creator, talk.channel)

    def _creator_is_gone(self, talk: ActiveCall) -> None:
        if (since := self._since.pop(talk.call_id, None)) is not None:
            span = trio.current_time() - since
            self.given[talk.call_id] = self.given.get(talk.call_id, 0.0) + span

    async def hear_a_block(self, user: Colluder, _: Colluder, __: int) -> None:
        """Time passes in a call, until the next block or the end of it."""
        for talk in self.active_calls[-1:]:
            call = (await talk.fan.caller.get(f"/calls/{talk.call_id}")).json()["call"]
            if call["status"] == "active" and talk.call_id in self._since:
                seen = len(talk.fan.told())
                with trio.move_on_after(2):
                    while len(talk.fan.told()) == seen:  # noqa: ASYNC110  # reason: another thread reads
                        await trio.sleep(0.02)  # between two looks

    async def leave_and_return(self, user: Colluder, _: Colluder, tokens: int) -> None:
        """The device leaves a call for a moment, or breaks off and comes back as if nothing had been."""
        for talk in [talk for talk in self.active_calls if user in (talk.fan, talk.creator)][-1:]:
            leave = {"type": "room:leave", "channel": talk.channel}
            await trio.to_thread.run_sync(user.device.ask, leave)
            if user is talk.creator:
                self._creator_is_gone(talk)
            await trio.sleep(0.3 * (tokens % 4))  # the absence itself: real seconds of a real clock
            if user is talk.creator:
                await self._enter_as_creator(talk)
            else:
                await self._enter(user, talk.channel)

    async def pause(self, user: Colluder, _: Colluder, tokens: int) -> None:
        for talk in [talk for talk in self.active_calls if user in (talk.fan, talk.creator)][-1:]:
            for command in ("pause", "resume")[: 2 if tokens % 4 else 1]:
                self._ok(await user.caller.post(f"/billing/{talk.call_id}/{command}"))

    async def hang_up(self, user: Colluder, _: Colluder, __: int) -> None:
        for talk in [talk for talk in self.active_calls if user in (talk.fan, talk.creator)][-1:]:
            self._ok(await user.caller.post(f"/billing/{talk.call_id}/stop"))
            self._creator_is_gone(talk)

    async def crash_room(self, user: Colluder, _: Colluder, __: int) -> None:
        for talk in self.active_calls[-1:]:
            for room in self.shop.context.registry:
                if str(room.id) == talk.call_id:
                    talk.fan.unsure = talk.creator.unsure = True
                    room.inbox.fail()

    # Streams

    async def stream(self, user: Colluder, _: Colluder, tokens: int) -> None:
        """A show with tickets, or a metered stream; sometimes only announced."""
        terms = {"ticketPriceTokens": 40} if tokens % 3 else {"rateTokensPerMin": RATE}
        answer = await user.caller.post("/streams", {"title": "Live", "type": "private", **terms})
        if self._ok(answer):
            stream = answer.json()["stream"]
            self.streams.append((stream, user))
            if tokens % 4:
                self._ok(await user.caller.post(f"/streams/{stream['id']}/start"))
                await self._enter(user, stream["channel"])

    async def watch(self, user: Colluder, _: Colluder, tokens: int) -> None:
        for stream, _owner in self.streams[-1:]:
            answer = await user.caller.post(f"/streams/{stream['id']}/tickets")
            if self._ok(answer):
                user.tickets.append(answer.json()["ticket"]["ticketId"])
            await self._enter(user, stream["channel"])

    async def remove(self, user: Colluder, other: Colluder, _: int) -> None:
        for stream, owner in self.streams[-1:]:
            target = other if owner is user else user
            command = {"type": "member:remove", "channel": stream["channel"], "userId": str(target.user_id)}
            await trio.to_thread.run_sync(owner.device.ask, command)

    async def end_stream(self, _: Colluder, __: Colluder, ___: int) -> None:
        for stream, owner in self.streams[-1:]:
            self._ok(await owner.caller.post(f"/streams/{stream['id']}/end"))

    # The end

    async def close(self) -> None:
        """End everything and compare every account."""
        for talk in self.active_calls:
            self._ok(await talk.creator.caller.post(f"/billing/{talk.call_id}/stop"))
            self._creator_is_gone(talk)
        for stream, owner in self.streams:
            self._ok(await owner.caller.post(f"/streams/{stream['id']}/end"))
        for user in self.users:
            await self._compare(user)
        for talk in self.active_calls:
            await self._check_time(talk)
        await self._check_cash()

    async def _compare(self, user: Colluder) -> None:
        """A wallet is what its owner was told, and what a payer was told of blocks has no double and no hole."""
        if not user.unsure:
            with trio.move_on_after(PATIENCE_SECONDS):
                while not await user.agrees():  # noqa: ASYNC110  # reason: what has ended is still being booked
                    await trio.sleep(0.05)  # between two looks
            assert await user.agrees(), user.told()
        for talk in (talk for talk in self.active_calls if talk.fan is user):
            paid = [change for change in user.told("block") if change["ref"].get("callId") == talk.call_id]
            assert {change["tokens"] for change in paid} <= {-BLOCK_TOKENS}
            numbers = [change["ref"]["blockNo"] for change in paid]
            assert len(set(numbers)) == len(numbers), "each block is paid once"
            assert user.unsure or numbers == list(range(1, len(numbers) + 1)), "no block is left out"
            totals = (await user.caller.get(f"/calls/{talk.call_id}")).json()["call"]
            assert user.unsure or totals["blocks"] == len(numbers)

    async def _check_time(self, talk: ActiveCall) -> None:
        """The blocks that the creator keeps pay for time in which the creator was present."""
        call = (await talk.fan.caller.get(f"/calls/{talk.call_id}")).json()["call"]
        kept = call["blocks"] - call["refundedBlocks"]
        given = self.given.get(talk.call_id, 0.0) + LATE_SECONDS
        assert kept == 0 or kept - 1 <= given, f"{kept} blocks for {given} s"
        assert call["activeSeconds"] <= given

    async def _check_cash(self) -> None:
        """Over all histories: nothing but what was bought, or advanced to be repaid, is cash or may become cash."""
        (row,) = await self.shop.context.postgres.fetch(
            "SELECT (SELECT sum(balance - promotional) FROM wallets WHERE user_id IS NOT NULL) AS held,"
            " (SELECT balance FROM wallets WHERE id = $1) AS cashed,"
            " (SELECT -balance FROM wallets WHERE id = $2) AS sold,"
            " (SELECT -balance FROM wallets WHERE id = $3) AS advanced,"
            " (SELECT coalesce(sum(tokens - repaid), 0) FROM debts) AS owed,"
            " (SELECT coalesce(sum(tokens - cut_tokens), 0) FROM payouts WHERE settled_as IS NULL"
            "    AND given_up_at IS NULL) AS asked_for",
            *(PAYOUTS, TOKEN_SALES, LOSSES),
        )
        assert row["owed"] == row["advanced"], "debts are what was advanced"
        assert row["held"] + row["cashed"] <= row["sold"] + row["advanced"], "promotional tokens became cashable"
        assert self.till.cashed_cents == CENTS_PER_TOKEN * (row["cashed"] - row["asked_for"])
        assert self.till.cashed_cents <= self.till.bought_cents + CENTS_PER_TOKEN * row["advanced"]


@asynccontextmanager
async def colluding_shop(dsn: str) -> AsyncIterator[Shop]:
    """Blocks of one second, of which a payee who ends gives back the first tenth."""
    with stripe_stand_in() as stripe:
        async with (
            running_server(dsn, _settings(selling(stripe, block_seconds=1)), SELLING) as context,
            users_of(context) as users,
        ):
            async with client_of(context) as web:
                yield Shop(context, users, stripe, web)


def _settings(usual: Settings) -> Settings:
    calls = msgspec.structs.replace(usual.calls, payee_end_seconds=0.1, ring_cooldown_seconds=0)
    streams = StreamRules(payee_end_seconds=0.1, ticket_release_seconds=0.5)
    return msgspec.structs.replace(usual, calls=calls, streams=streams)


async def play(shop: Shop, till: Till, users: int, steps: list[Step]) -> None:
    """One history, from first gifts to the comparison of accounts."""
    async with AsyncExitStack() as stack:
        colluders: list[Colluder] = []
        for _ in range(users):
            caller = await shop.users.creator(RATE)
            device = await stack.enter_async_context(online(shop.context, caller.user_id))
            watcher = await stack.enter_async_context(online(shop.context, caller.user_id))
            colluders.append(Colluder(caller, device, watcher))
        history = History(shop, till, colluders, await shop.users.operator())
        for user in colluders:
            await history.buy(user, user, 3)
        for step in steps:
            await history.take(step)
        await history.close()


STEPS = sorted(set(History.__dict__) - {"take", "close"} - {name for name in History.__dict__ if name.startswith("_")})
