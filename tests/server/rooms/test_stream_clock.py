"""A metered stream's clocks as its users see them, on a manual clock (contract.md, Metered streams)."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
import trio
import trio.testing

from server.context import Context
from server.ids import new_uuid
from tests.support.clients import Phone, go_live
from tests.support.servers import add_creator, add_fan, online, phone_of, with_section
from tests.support.virtual_time import pass_seconds, server_on, wait_quiet

in_thread = trio.to_thread.run_sync
METERED = {"type": "private", "rateTokensPerMin": 60}
BLOCK, TOKENS = 30, 1000


@pytest.fixture
def by_hand(mock_clock: trio.testing.MockClock) -> trio.testing.MockClock:
    return mock_clock


class Show:
    """A live stream with a present owner, on a clock that stands still until the test advances it."""

    def __init__(self, context: Context, clock: trio.testing.MockClock, owner: Phone, stream: dict[str, Any]) -> None:
        self.context, self.owner = context, owner
        self.stream_id, self.channel = stream["id"], stream["channel"]
        self._clock = clock

    async def wait(self, seconds: float) -> None:
        await pass_seconds(self._clock, self.context, seconds)

    async def join(self, phone: Phone) -> dict[str, Any]:
        answer: dict[str, Any] = await in_thread(phone.join, self.channel)
        await wait_quiet(self.context)
        return answer

    async def leave(self, phone: Phone) -> None:
        await in_thread(phone.ask_ok, {"type": "room:leave", "channel": self.channel})
        await wait_quiet(self.context)

    async def charged(self, phone: Phone, block_no: int) -> None:
        await in_thread(lambda: phone.wait_for("block:charged", blockNo=block_no))

    async def blocks(self, user_id: UUID) -> int:
        """Return this payer's blocks in the database."""
        rows = await self.context.postgres.fetch(
            "SELECT last_block FROM meters WHERE room_id = $1 AND payer_id = $2", UUID(self.stream_id), user_id
        )
        return int(rows[0]["last_block"]) if rows else 0


@asynccontextmanager
async def show(
    clock: trio.testing.MockClock, dsn: str, *, presence_limit: int = 100, **terms: Any
) -> AsyncIterator[Show]:
    usual = with_section("rooms", presence_limit=presence_limit)
    async with server_on(clock, dsn, usual) as context, online(context, await add_creator(context, 60)) as owner:
        stream = await in_thread(lambda: go_live(owner, **{**METERED, **terms}))
        shown = Show(context, clock, owner, stream)
        assert (await shown.join(owner))["type"] == "room:joined"
        yield shown


async def test_the_rest_of_a_paid_block_outlasts_a_leave_and_block_numbers_go_on(
    dsn: str, by_hand: trio.testing.MockClock
) -> None:
    async with show(by_hand, dsn) as shown:
        fan = await add_fan(shown.context, TOKENS)
        async with online(shown.context, fan) as finn:
            await shown.join(finn)
            await shown.charged(finn, 1)
            await shown.wait(20)
            await shown.leave(finn)
            await shown.wait(60)
            assert await shown.blocks(fan) == 1
            left = (await shown.join(finn))["you"]["secondsLeft"] - (TOKENS - BLOCK) // BLOCK * 30
            assert left == pytest.approx(10, abs=0.1)
            await shown.wait(9)
            assert await shown.blocks(fan) == 1
            await shown.wait(2)
            await shown.charged(finn, 2)


async def test_nobody_pays_during_the_five_minutes_that_an_absent_owner_is_waited_for(
    dsn: str, by_hand: trio.testing.MockClock
) -> None:
    async with show(by_hand, dsn) as shown:
        fan = await add_fan(shown.context, TOKENS)
        async with online(shown.context, fan) as finn:
            await shown.join(finn)
            await shown.charged(finn, 1)
            await shown.wait(15)
            await shown.leave(shown.owner)
            await shown.wait(299)
            assert await shown.blocks(fan) == 1
            stream = (await in_thread(finn.http.get, f"/streams/{shown.stream_id}")).json()["stream"]
            assert stream["status"] == "live"
            await shown.wait(2)
            assert (await in_thread(finn.wait_for, "stream:ended"))["reason"] == "owner_lost"
            assert await in_thread(finn.balance) == TOKENS - BLOCK, "half of the block was watched"


async def test_the_clock_of_a_payer_who_drops_never_runs_past_the_paid_block(
    dsn: str, by_hand: trio.testing.MockClock
) -> None:
    async with show(by_hand, dsn) as shown:
        fan = await add_fan(shown.context, TOKENS)
        async with online(shown.context, fan) as finn:
            viewer = (await shown.join(finn))["memberId"]
            await shown.charged(finn, 1)
            await shown.wait(25)
            await in_thread(finn.lose_network)
            await wait_quiet(shown.context)
            assert shown.owner.all_events("viewer:paused") == [], "it may come back within the grace"
            await shown.wait(6)
            assert (await in_thread(shown.owner.wait_for, "viewer:paused"))["memberId"] == viewer
            await shown.wait(30)
            assert await shown.blocks(fan) == 1, "a block that falls due while its payer is away is not charged"
            await in_thread(lambda: finn.open(resume=True))
            await shown.charged(finn, 2)
            assert (await in_thread(shown.owner.wait_for, "viewer:resumed"))["userId"] == str(fan)


async def test_one_payer_watches_from_two_connections_and_pays_once(dsn: str, by_hand: trio.testing.MockClock) -> None:
    async with show(by_hand, dsn) as shown, AsyncExitStack() as stack:
        fan = await add_fan(shown.context, TOKENS)
        phones = [await stack.enter_async_context(online(shown.context, fan)) for _ in range(3)]
        answers = [await shown.join(phone) for phone in phones]
        assert [answer["type"] for answer in answers] == ["room:joined", "room:joined", "error"]
        assert answers[2]["error"] == "OVERLOADED"
        await shown.wait(32)
        assert await shown.blocks(fan) == 2
        await shown.leave(phones[0])
        assert (await shown.join(phones[2]))["type"] == "room:joined"


async def test_owner_and_operators_pay_nothing(dsn: str, by_hand: trio.testing.MockClock) -> None:
    async with show(by_hand, dsn, ticketPriceTokens=40) as shown:
        operator = phone_of(shown.context, new_uuid(), role="operator")
        try:
            await in_thread(operator.open)
            assert (await shown.join(operator))["you"] == {"role": "operator"}
            await shown.wait(35)
            assert await shown.context.postgres.fetch("SELECT FROM meters") == []
        finally:
            await in_thread(operator.__exit__)


async def test_a_ticket_opens_the_stream_and_its_blocks_are_paid_all_the_same(
    dsn: str, by_hand: trio.testing.MockClock
) -> None:
    async with show(by_hand, dsn, ticketPriceTokens=40) as shown:
        fan = await add_fan(shown.context, TOKENS)
        async with online(shown.context, fan) as finn:
            assert (await shown.join(finn))["error"] == "FORBIDDEN"
            bought = await in_thread(lambda: finn.http.post(f"/streams/{shown.stream_id}/tickets"))
            assert bought.json()["wallet"] == {"balance": TOKENS - 40}
            assert (await shown.join(finn))["type"] == "room:joined"
            await shown.charged(finn, 1)
            assert await in_thread(finn.balance) == TOKENS - 40 - BLOCK


async def test_every_session_of_the_owner_is_sent_the_viewers_of_a_room_that_names_nobody(
    dsn: str, by_hand: trio.testing.MockClock
) -> None:
    async with show(by_hand, dsn, presence_limit=1) as shown:
        fan = await add_fan(shown.context, TOKENS)
        async with online(shown.context, fan) as finn, online(shown.context, shown.owner.user_id) as outside:
            fields = {"memberId": (await shown.join(finn))["memberId"], "userId": str(fan)}
            await shown.charged(finn, 1)
            await in_thread(finn.lose_network)
            await shown.wait(12)
            await in_thread(lambda: finn.open(resume=True))
            await wait_quiet(shown.context)
            await shown.leave(finn)
            for phone in (shown.owner, outside):
                for kind in ("viewer:joined", "viewer:paused", "viewer:resumed", "viewer:left"):
                    event = await in_thread(phone.wait_for, kind)
                    assert fields.items() <= event.items()
                block = await in_thread(phone.wait_for, "block:charged")
                assert (block["userId"], block["blockNo"]) == (str(fan), 1)
            assert shown.owner.all_events("member:left") == []
