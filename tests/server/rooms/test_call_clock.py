"""A call's clock as its parties see it: pauses, absences, budgets and prices, on a clock that is advanced by hand."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
import trio
import trio.testing

from server.context import Context
from tests.server.rooms.test_last_block import take_all_but
from tests.support.clients import Phone, ring_and_join
from tests.support.servers import add_creator, add_fan, give, online, running_server, settings
from tests.support.virtual_time import pass_seconds, server_on, wait_quiet

in_thread = trio.to_thread.run_sync
RATE, BLOCK = 60, 30  # tokens a minute, and a block's tokens


@pytest.fixture
def hand_clock(mock_clock: trio.testing.MockClock) -> trio.testing.MockClock:
    return mock_clock


class VirtualCall:
    """A call whose first block is paid, on a clock that stands still until the test advances it."""

    def __init__(self, context: Context, clock: trio.testing.MockClock, fan: Phone, creator: Phone) -> None:
        self.context, self.fan, self.creator = context, fan, creator
        self._clock = clock
        self.call_id = self.channel = ""

    async def begin(self, **terms: Any) -> None:
        ring = await in_thread(lambda: ring_and_join(self.fan, self.creator, **terms))
        self.call_id, self.channel = ring["callId"], ring["channel"]
        await in_thread(self.fan.wait_for, "block:charged")

    async def wait(self, seconds: float) -> None:
        await pass_seconds(self._clock, self.context, seconds)

    async def act(self, phone: Phone, command: str) -> None:
        await in_thread(phone.ask_ok, {"type": f"call:{command}", "callId": self.call_id})

    async def leave(self, phone: Phone) -> None:
        await in_thread(phone.ask_ok, {"type": "room:leave", "channel": self.channel})
        await wait_quiet(self.context)

    async def join(self, phone: Phone) -> dict[str, Any]:
        joined = await in_thread(phone.join, self.channel)
        assert joined["type"] == "room:joined"
        await wait_quiet(self.context)
        return joined

    async def view(self) -> dict[str, Any]:
        fields: dict[str, Any] = (await in_thread(self.fan.http.get, f"/calls/{self.call_id}")).json()["call"]
        return fields

    async def ended(self, phone: Phone | None = None) -> tuple[str, int]:
        """Return the reason and the number of blocks."""
        event = await in_thread((phone or self.creator).wait_for, "call:ended")
        return event["reason"], event["blocks"]

    async def stored(self) -> float:
        """Return the active time in the database, in seconds."""
        rows = await self.context.postgres.fetch("SELECT active_us FROM meters WHERE room_id = $1", UUID(self.call_id))
        return float(rows[0]["active_us"]) / 1_000_000


@asynccontextmanager
async def virtual_call(
    clock: trio.testing.MockClock, dsn: str, tokens: int = 1000, terms: dict[str, Any] | None = None, **rules: Any
) -> AsyncIterator[VirtualCall]:
    async with server_on(clock, dsn, settings(block_seconds=30, **rules)) as context:
        fan, creator = await add_fan(context, tokens), await add_creator(context, RATE)
        async with online(context, fan) as fans, online(context, creator) as creators:
            call = VirtualCall(context, clock, fans, creators)
            await call.begin(**(terms or {}))
            yield call


# Pauses


async def test_hand_pauses_of_one_party_add_up_and_end_the_call(dsn: str, hand_clock: trio.testing.MockClock) -> None:
    async with virtual_call(hand_clock, dsn, pause_limit_seconds=60) as call:
        for party, seconds in ((call.creator, 25), (call.fan, 50), (call.creator, 25)):
            await call.act(party, "pause")
            await call.wait(seconds)
            await call.act(party, "resume")
        assert (await call.view())["status"] == "active", "neither has paused for the whole minute"
        await call.act(call.creator, "pause")
        await call.wait(9)
        assert (await call.view())["status"] == "paused"
        await call.wait(2)
        assert (await call.ended(call.fan))[0] == "pause_limit"


async def test_a_fan_with_low_funds_has_no_deadline_until_the_pause_is_over(
    dsn: str, hand_clock: trio.testing.MockClock
) -> None:
    async with virtual_call(hand_clock, dsn) as call:
        await call.act(call.creator, "pause")
        await take_all_but(call.context, call.fan.user_id, 5)  # type: ignore[arg-type]  # reason: a user's id, as a phone has it
        low = await in_thread(call.fan.wait_for, "balance:low")
        assert (low["endsAt"], low["balance"], low["required"]) == (None, 5, BLOCK)
        assert 29 < low["secondsLeft"] <= 30
        await call.act(call.creator, "resume")
        assert (await in_thread(call.fan.wait_for, "balance:low"))["endsAt"] is not None
        await give(call.context, call.fan.user_id, BLOCK)  # type: ignore[arg-type]  # reason: a user's id, as a phone has it
        assert (await in_thread(call.fan.wait_for, "balance:ok"))["balance"] == 5 + BLOCK


# Absences


async def test_the_clock_runs_on_for_the_grace_when_a_fan_leaves_without_hanging_up(
    dsn: str, hand_clock: trio.testing.MockClock
) -> None:
    async with virtual_call(hand_clock, dsn) as call:
        await call.wait(5)
        await call.leave(call.fan)
        await call.wait(9)
        assert (await call.view())["status"] == "active"
        await call.wait(2)
        assert (await call.view())["holds"] == ["absent:fan"]
        assert (await in_thread(call.creator.wait_for, "call:paused"))["holds"] == ["absent:fan"]
        await call.join(call.fan)
        assert (await call.view())["status"] == "active"
        await call.wait(14)
        assert len(call.creator.all_events("block:charged")) == 1, "15 of the 30 paid seconds were left"
        await call.wait(2)
        await in_thread(lambda: call.creator.wait_for("block:charged", blockNo=2))


async def test_a_block_that_falls_due_in_the_fans_absence_is_charged_only_on_return(
    dsn: str, hand_clock: trio.testing.MockClock
) -> None:
    async with virtual_call(hand_clock, dsn) as call:
        await call.wait(26)
        await call.leave(call.fan)
        await call.wait(6)
        assert (await call.view())["holds"] == ["absent:fan"]
        await call.wait(20)
        assert len(call.creator.all_events("block:charged")) == 1
        await call.join(call.fan)
        await in_thread(lambda: call.creator.wait_for("block:charged", blockNo=2))


async def test_a_drop_counts_through_hand_pauses_until_its_party_is_lost(
    dsn: str, hand_clock: trio.testing.MockClock
) -> None:
    async with virtual_call(hand_clock, dsn) as call:
        await call.act(call.creator, "pause")
        await call.leave(call.fan)
        await call.wait(30)
        await call.act(call.creator, "resume")
        await call.act(call.creator, "pause")
        await call.wait(29)
        assert (await call.view())["status"] == "paused"
        await call.wait(2)
        assert await call.ended() == ("peer_lost", 1)


async def test_a_creator_whose_session_has_no_connection_is_absent_at_once_and_resumes(
    dsn: str, hand_clock: trio.testing.MockClock
) -> None:
    async with virtual_call(hand_clock, dsn) as call:
        await call.wait(5)
        await in_thread(call.creator.lose_network)
        assert (await in_thread(call.fan.wait_for, "call:paused"))["holds"] == ["absent:creator"]
        await call.wait(40)
        await in_thread(lambda: call.creator.open(resume=True))
        await in_thread(call.fan.wait_for, "call:resumed")
        await call.wait(24)
        assert len(call.fan.all_events("block:charged")) == 1
        await call.wait(2)
        await in_thread(lambda: call.fan.wait_for("block:charged", blockNo=2))


async def test_a_creator_who_is_present_only_around_each_block_is_paid_for_that_time_alone(
    dsn: str, hand_clock: trio.testing.MockClock
) -> None:
    """The creator leaves right after each charge, and returns shortly before the next block would be due."""
    async with virtual_call(hand_clock, dsn) as call:
        for _ in range(4):
            await call.wait(0.2)
            await call.leave(call.creator)
            await call.wait(29.6)
            await call.join(call.creator)
            await call.wait(0.2)
        await call.act(call.fan, "end")
        assert await call.ended() == ("hangup", 1)
        assert await in_thread(call.creator.balance) == BLOCK


async def test_a_party_is_present_while_one_of_its_connections_is_in_the_room(
    dsn: str, hand_clock: trio.testing.MockClock
) -> None:
    async with virtual_call(hand_clock, dsn) as call, online(call.context, call.creator.user_id) as tablet:
        await call.join(tablet)
        await call.leave(call.creator)
        await call.wait(32)
        assert (await call.view())["status"] == "active"
        await in_thread(lambda: call.fan.wait_for("block:charged", blockNo=2))
        await call.leave(tablet)
        assert (await call.view())["holds"] == ["absent:creator"]


async def test_an_overlay_of_the_creators_does_not_count_as_presence(
    dsn: str, hand_clock: trio.testing.MockClock
) -> None:
    async with virtual_call(hand_clock, dsn) as call, online(call.context, call.creator.user_id) as scene:
        overlay = {"type": "room:join", "channel": call.channel, "as": "overlay"}
        assert (await in_thread(scene.ask, overlay))["type"] == "room:joined"
        await call.leave(call.creator)
        assert (await in_thread(call.fan.wait_for, "call:paused"))["holds"] == ["absent:creator"]
        await call.wait(5)
        assert (await call.view())["holds"] == ["absent:creator"]
        await call.join(call.creator)
        await in_thread(call.fan.wait_for, "call:resumed")


# Prices and the budget


async def test_a_call_ends_before_the_block_that_would_pass_its_budget(
    dsn: str, hand_clock: trio.testing.MockClock
) -> None:
    async with virtual_call(hand_clock, dsn, terms={"maxTokens": 2 * BLOCK + 5}) as call:
        await call.wait(59)
        assert (await call.view())["status"] == "active"
        await call.wait(2)
        assert await call.ended() == ("budget_reached", 2)
        assert await in_thread(call.fan.balance) == 1000 - 2 * BLOCK


async def test_exact_blocks_with_a_price_of_zero_are_booked_with_no_tokens(dsn: str) -> None:
    async with running_server(dsn, settings(block_rounding="exact")) as context:
        fan, creator = await add_fan(context, 5), await add_creator(context, 2)
        async with online(context, fan) as fans, online(context, creator) as creators:

            def story() -> str:
                ring = ring_and_join(fans, creators)
                tokens = [creators.wait_for("block:charged", blockNo=number)["tokens"] for number in (1, 2, 3)]
                assert tokens == [1, 0, 0]
                fans.ask_ok({"type": "call:end", "callId": ring["callId"]})
                assert fans.wait_for("call:ended")["tokens"] == 1
                assert fans.balance() == 4
                return str(ring["callId"])

            call_id = await in_thread(story)
        rows = await context.postgres.fetch(
            "SELECT block_no, tokens FROM journal WHERE room_id = $1 ORDER BY 1", UUID(call_id)
        )
        assert [tuple(row) for row in rows][:3] == [(1, 1), (2, 0), (3, 0)]


async def test_a_machine_whose_clock_is_set_moves_no_block(
    dsn: str, hand_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with virtual_call(hand_clock, dsn) as call:
        await call.wait(10)
        monkeypatch.setattr("server.clock.time", SimpleNamespace(time=lambda: time.time() + 600))
        call.context.clock.follow()
        await call.wait(18)
        assert len(call.fan.all_events("block:charged")) == 1
        await call.wait(4)
        await in_thread(lambda: call.fan.wait_for("block:charged", blockNo=2))
        charged = call.fan.all_events("block:charged")
        first, second = (datetime.fromisoformat(event["paidThrough"]) for event in charged)
        assert second - first == timedelta(seconds=30)


# Stored records


async def test_active_time_is_stored_with_pauses_and_drops_and_every_few_seconds(
    dsn: str, hand_clock: trio.testing.MockClock
) -> None:
    async with virtual_call(hand_clock, dsn) as call:
        await call.wait(2.5)
        await call.act(call.fan, "pause")
        await wait_quiet(call.context)
        assert await call.stored() == pytest.approx(2.5, abs=0.1), "as it was paused"
        await call.act(call.fan, "resume")
        active = 2.5
        for party in (call.fan, call.creator):
            await call.wait(1.2)
            active += 1.2
            await call.leave(party)
            assert await call.stored() == pytest.approx(active, abs=0.1), "as somebody dropped"
            await call.join(party)
        for _ in range(12):
            await call.wait(1)
            assert (await _active(call)) - (await call.stored()) <= 5, "never older than five seconds"


async def _active(call: VirtualCall) -> float:
    room = call.context.registry.find_channel(call.channel)
    assert room is not None and room.call is not None
    return room.call.meter.clock.active(room.clock.now()) / 1_000_000
