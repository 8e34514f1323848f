"""Colluding users on a running server, over real sockets; at the end, every account is compared with its events.

Each user has a device that joins rooms, and a watcher: a second device that joins none and receives wallet events.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import msgspec
import trio

from domain.ids import LOSSES, PAYOUTS, TOKEN_SALES
from domain.stream.record import StreamRules
from server.config.settings import Settings
from tests.colluders.colluder import ActiveCall, Cash, Colluder, Step
from tests.server.rest.conftest import Caller, client_of, users_of
from tests.server.rest.shop import SELLING, Shop, selling
from tests.support.clients import PATIENCE_SECONDS
from tests.support.servers import online, running_server
from tests.support.stripe_stand_in import stripe_stand_in

RATE = 600  # tokens a minute: 10 a block of one second
BLOCK_TOKENS = 10
PACK = {"small": (100, 699), "medium": (500, 3299)}
CENTS_PER_TOKEN = 5
LATE_SECONDS = 0.5  # the server may have counted so much more than the parties: their commands take time to arrive


class History:
    """Plays steps on one server with users of its own."""

    def __init__(self, shop: Shop, cash: Cash, users: list[Colluder], operator: Caller) -> None:
        self.shop, self.cash, self.users, self.operator = shop, cash, users, operator
        self.active_calls: list[ActiveCall] = []
        self.streams: list[tuple[dict[str, Any], Colluder]] = []
        self.payouts: list[str] = []
        self.present_seconds: dict[str, float] = {}  # by call: for how long the creator may have been present
        self._present_since: dict[str, float] = {}

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
            self.cash.bought_cents += PACK[pack][1]

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
                self.cash.cashed_cents += answer.json()["amountCents"]

    async def refund(self, user: Colluder, _: Colluder, tokens: int) -> None:
        paid = [("tipId", each) for each in user.tips] + [("ticketId", each) for each in user.tickets]
        paid += [("callId", call.call_id) for call in self.active_calls if call.fan is user]
        if paid:
            name, each = paid[tokens % len(paid)]
            for _time in range(2):
                self._ok(await self.operator.post("/admin/refunds", {name: each, "reason": "sorry"}))

    async def refund_what_is_gone(self, user: Colluder, other: Colluder, tokens: int) -> None:
        """The payee of a tip requests it as a payout, or passes it on; then the tip is refunded."""
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
            answer = await self.shop.send_event(self.shop.stripe.dispute(purchase))
            assert answer.status_code == 200, answer.text
            self.cash.reversed_cents += purchase["priceCents"]

    # Blocks and bans

    async def block(self, user: Colluder, other: Colluder, tokens: int) -> None:
        path = f"/creators/me/blocks/{other.user_id}"
        self._ok(await user.caller.put(path))
        if tokens % 2:
            self._ok(await user.caller.ask("DELETE", path))

    async def ban(self, user: Colluder, _: Colluder, __: int) -> None:
        """Ban a user, whose sessions are closed; then lift the ban, and open sessions again."""
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

    async def ring(self, user: Colluder, other: Colluder, _: int) -> None:
        """One user rings another, who accepts; both join."""
        answer = await user.caller.post("/calls/init", {"creatorId": str(other.user_id)})
        if not self._ok(answer):
            return
        call = ActiveCall(answer.json()["callId"], answer.json()["channel"], user, other)
        self.active_calls.append(call)
        self._ok(await other.caller.post(f"/calls/{call.call_id}/accept"))
        await self._join(user, call.channel)
        await self._join_as_creator(call)

    async def _join(self, user: Colluder, channel: str) -> dict[str, Any]:
        return await trio.to_thread.run_sync(user.device.join, channel)

    async def _join_as_creator(self, call: ActiveCall) -> None:
        self._present_since.setdefault(call.call_id, trio.current_time())
        await self._join(call.creator, call.channel)

    def _note_creator_left(self, call: ActiveCall) -> None:
        if (since := self._present_since.pop(call.call_id, None)) is not None:
            span = trio.current_time() - since
            self.present_seconds[call.call_id] = self.present_seconds.get(call.call_id, 0.0) + span

    async def wait_for_a_block(self, user: Colluder, _: Colluder, __: int) -> None:
        """Wait for the next block of a call, for two seconds at most."""
        for call in self.active_calls[-1:]:
            view = (await call.fan.caller.get(f"/calls/{call.call_id}")).json()["call"]
            if view["status"] == "active" and call.call_id in self._present_since:
                seen = len(call.fan.wallet_changes())
                with trio.move_on_after(2):
                    while len(call.fan.wallet_changes()) == seen:  # noqa: ASYNC110  # reason: another thread reads
                        await trio.sleep(0.02)  # between two looks

    async def leave_and_return(self, user: Colluder, _: Colluder, tokens: int) -> None:
        """The device leaves a call and joins it again after at most a second."""
        for call in [call for call in self.active_calls if user in (call.fan, call.creator)][-1:]:
            leave = {"type": "room:leave", "channel": call.channel}
            await trio.to_thread.run_sync(user.device.ask, leave)
            if user is call.creator:
                self._note_creator_left(call)
            await trio.sleep(0.3 * (tokens % 4))  # the absence itself: real seconds of a real clock
            if user is call.creator:
                await self._join_as_creator(call)
            else:
                await self._join(user, call.channel)

    async def pause(self, user: Colluder, _: Colluder, tokens: int) -> None:
        for call in [call for call in self.active_calls if user in (call.fan, call.creator)][-1:]:
            for command in ("pause", "resume")[: 2 if tokens % 4 else 1]:
                self._ok(await user.caller.post(f"/billing/{call.call_id}/{command}"))

    async def hang_up(self, user: Colluder, _: Colluder, __: int) -> None:
        for call in [call for call in self.active_calls if user in (call.fan, call.creator)][-1:]:
            self._ok(await user.caller.post(f"/billing/{call.call_id}/stop"))
            self._note_creator_left(call)

    async def crash_room(self, user: Colluder, _: Colluder, __: int) -> None:
        for call in self.active_calls[-1:]:
            for room in self.shop.context.registry:
                if str(room.id) == call.call_id:
                    call.fan.unsure = call.creator.unsure = True
                    room.inbox.fail()

    # Streams

    async def stream(self, user: Colluder, _: Colluder, tokens: int) -> None:
        """Create a stream with tickets, or a metered one; start most of them."""
        terms = {"ticketPriceTokens": 40} if tokens % 3 else {"rateTokensPerMin": RATE}
        answer = await user.caller.post("/streams", {"title": "Live", "type": "private", **terms})
        if self._ok(answer):
            stream = answer.json()["stream"]
            self.streams.append((stream, user))
            if tokens % 4:
                self._ok(await user.caller.post(f"/streams/{stream['id']}/start"))
                await self._join(user, stream["channel"])

    async def watch(self, user: Colluder, _: Colluder, tokens: int) -> None:
        for stream, _owner in self.streams[-1:]:
            answer = await user.caller.post(f"/streams/{stream['id']}/tickets")
            if self._ok(answer):
                user.tickets.append(answer.json()["ticket"]["ticketId"])
            await self._join(user, stream["channel"])

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
        for call in self.active_calls:
            self._ok(await call.creator.caller.post(f"/billing/{call.call_id}/stop"))
            self._note_creator_left(call)
        for stream, owner in self.streams:
            self._ok(await owner.caller.post(f"/streams/{stream['id']}/end"))
        for user in self.users:
            await self._compare(user)
        for call in self.active_calls:
            await self._check_time(call)
        await self._check_cash()

    async def _compare(self, user: Colluder) -> None:
        """A balance equals the sum of its events, and a payer receives each block once and in order."""
        if not user.unsure:
            with trio.move_on_after(PATIENCE_SECONDS):
                while not await user.agrees():  # noqa: ASYNC110  # reason: postings of rooms that ended are committed after the answer
                    await trio.sleep(0.05)  # between two looks
            assert await user.agrees(), user.wallet_changes()
        for call in (call for call in self.active_calls if call.fan is user):
            paid = [change for change in user.wallet_changes("block") if change["ref"].get("callId") == call.call_id]
            assert {change["tokens"] for change in paid} <= {-BLOCK_TOKENS}
            numbers = [change["ref"]["blockNo"] for change in paid]
            assert len(set(numbers)) == len(numbers), "each block is paid once"
            assert user.unsure or numbers == list(range(1, len(numbers) + 1)), "no block is left out"
            totals = (await user.caller.get(f"/calls/{call.call_id}")).json()["call"]
            assert user.unsure or totals["blocks"] == len(numbers)

    async def _check_time(self, call: ActiveCall) -> None:
        """The blocks that the creator keeps pay for time in which the creator was present."""
        view = (await call.fan.caller.get(f"/calls/{call.call_id}")).json()["call"]
        kept = view["blocks"] - view["refundedBlocks"]
        present = self.present_seconds.get(call.call_id, 0.0) + LATE_SECONDS
        assert kept == 0 or kept - 1 <= present, f"{kept} blocks for {present} s"
        assert view["activeSeconds"] <= present

    async def _check_cash(self) -> None:
        """Over all histories: only tokens that were bought, or advanced as a debt, are or become cash."""
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
        assert self.cash.cashed_cents == CENTS_PER_TOKEN * (row["cashed"] - row["asked_for"])
        assert self.cash.cashed_cents <= self.cash.bought_cents + CENTS_PER_TOKEN * row["advanced"]


@asynccontextmanager
async def colluding_shop(dsn: str) -> AsyncIterator[Shop]:
    """A server with blocks of one second; a payee who ends refunds a block of which less than a tenth was used."""
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


async def play(shop: Shop, cash: Cash, users: int, steps: list[Step]) -> None:
    """Play one history, from the first purchases to the comparison of accounts."""
    async with AsyncExitStack() as stack:
        colluders: list[Colluder] = []
        for _ in range(users):
            caller = await shop.users.creator(RATE)
            device = await stack.enter_async_context(online(shop.context, caller.user_id))
            watcher = await stack.enter_async_context(online(shop.context, caller.user_id))
            colluders.append(Colluder(caller, device, watcher))
        history = History(shop, cash, colluders, await shop.users.operator())
        for user in colluders:
            await history.buy(user, user, 3)
        for step in steps:
            await history.take(step)
        await history.close()


STEPS = sorted(set(History.__dict__) - {"take", "close"} - {name for name in History.__dict__ if name.startswith("_")})
