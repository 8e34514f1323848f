"""A room that crashes is restarted from its rows; the other rooms do not notice."""

from functools import partial
from typing import Any
from uuid import UUID

import pytest
import structlog
import trio
from structlog.contextvars import merge_contextvars

from domain.call.call import Call
from domain.call.record import CallRecord
from domain.ids import CallId, RoomId, UserId
from domain.protocol.commands import CallCommand, CallEnd
from domain.refusals import Code, Refusal
from domain.room import inputs
from server.broadcast.replies import Result, WaitingReply
from server.context import Context
from server.rooms.committer import Committer
from server.rooms.room import LiveRoom
from server.rooms.supervisor import Supervisor
from server.rooms.task import RoomTask
from storage.database_errors import StatementRefused
from storage.postgres import Postgres
from storage.rooms.calls import save_call
from storage.rooms.leases import seconds_since_boot
from tests.support.clients import PATIENCE_SECONDS, Phone, ring_and_join
from tests.support.servers import add_creator, add_fan, online


class PlantedFault(Exception):
    """The exception of a room that a test makes crash."""


@pytest.fixture
def crash_on_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every command to pause crash the room that gets it."""
    decide = Call.handle

    def faulty(self: Call, given: inputs.Input, at: int) -> Any:
        if isinstance(given, inputs.CallAction) and type(given.command).__name__ == "CallPause":
            raise PlantedFault
        return decide(self, given, at)

    monkeypatch.setattr(Call, "handle", faulty)


@pytest.mark.usefixtures("crash_on_pause")
async def test_a_crashed_room_goes_on_from_its_rows_and_no_other_call_notices(context: Context) -> None:
    in_thread = trio.to_thread.run_sync
    fan, creator = await add_fan(context, 1000), await add_creator(context, 60)
    other_fan, other_creator = await add_fan(context, 1000), await add_creator(context, 60)
    async with (
        online(context, fan) as fans,
        online(context, creator) as creators,
        online(context, other_fan) as other_fans,
        online(context, other_creator) as other_creators,
    ):
        ring = await in_thread(ring_and_join, fans, creators)
        other = await in_thread(ring_and_join, other_fans, other_creators)
        await in_thread(lambda: fans.wait_for("block:charged", blockNo=1))
        await in_thread(_crash, fans, ring["callId"])
        joined = await in_thread(lambda: fans.wait_for("room:joined"))
        assert joined["epoch"] == 2, "the room has a new owner: itself"
        await in_thread(lambda: fans.wait_for("call:resumed"))
        await in_thread(lambda: fans.wait_for("block:charged", blockNo=3))
        await in_thread(creators.ask_ok, {"type": "call:end", "callId": ring["callId"]})
        await in_thread(other_creators.ask_ok, {"type": "call:end", "callId": other["callId"]})
        ended = await in_thread(other_fans.wait_for, "call:ended")
        await in_thread(fans.wait_for, "call:ended")
        joined = other_fans.all_events("room:joined")[0]
        numbers = [event["seq"] for event in other_fans.events if "seq" in event and event is not joined]
        assert numbers == list(range(joined["seq"] + 1, ended["seq"] + 1)), "every event of the other room, in order"
    for call_id in (ring["callId"], other["callId"]):
        await _assert_series_without_gap(context, call_id)


@pytest.mark.usefixtures("crash_on_pause")
async def test_the_fourth_crash_in_a_minute_ends_the_call_with_server_fault(context: Context) -> None:
    in_thread = trio.to_thread.run_sync
    fan, creator = await add_fan(context, 1000), await add_creator(context, 60)
    async with online(context, fan) as fans, online(context, creator) as creators, online(context, fan) as outside:
        ring = await in_thread(ring_and_join, fans, creators)
        await in_thread(lambda: fans.wait_for("block:charged", blockNo=1))
        for epoch in (2, 3, 4):
            await in_thread(_crash, fans, ring["callId"])
            await in_thread(partial(fans.wait_for, "room:joined", epoch=epoch))
        await in_thread(_crash, fans, ring["callId"])
        for phone in (fans, creators, outside):
            ended = await in_thread(phone.wait_for, "call:ended")
            assert (ended["reason"], "seq" in ended) == ("server_fault", phone is not outside)
        call = (await in_thread(lambda: fans.http.get(f"/calls/{ring['callId']}"))).json()["call"]
        assert (call["status"], call["endReason"]) == ("ended", "server_fault")
        again = await in_thread(ring_and_join, fans, creators)
        assert again["callId"] != ring["callId"], "both are free for another call"
    await _assert_series_without_gap(context, ring["callId"])


def _crash(phone: Phone, call_id: str) -> None:
    phone.send({"type": "call:pause", "callId": call_id})


async def _assert_series_without_gap(context: Context, call_id: str) -> None:
    charged = "SELECT block_no FROM journal WHERE room_id = $1 AND block_no IS NOT NULL ORDER BY 1"
    rows = await context.postgres.fetch(charged, UUID(call_id))
    assert [row["block_no"] for row in rows] == list(range(1, len(rows) + 1))


@pytest.mark.usefixtures("crash_on_pause")
async def test_the_log_names_the_request_or_connection_that_caused_the_crash(context: Context) -> None:
    in_thread = trio.to_thread.run_sync
    fan, creator = await add_fan(context, 1000), await add_creator(context, 60)
    async with online(context, fan) as fans, online(context, creator) as creators:
        call_id = (await in_thread(ring_and_join, fans, creators))["callId"]
        with structlog.testing.capture_logs([merge_contextvars]) as logged:
            await in_thread(_crash, fans, call_id)
            await in_thread(lambda: fans.wait_for("room:joined", epoch=2))
            trace = "4bf92f3577b34da6a3ce929d0e0e4736"
            headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
            await in_thread(partial(creators.http.post, f"/billing/{call_id}/pause", headers=headers))
            await in_thread(lambda: fans.wait_for("room:joined", epoch=3))
    by_socket, by_request = (line for line in logged if line["event"] == "room.crashed")
    assert by_socket["connection"] and "request_id" not in by_socket
    assert (by_request["request_id"], by_request["user"]) == (trace, str(creator))
    assert by_socket["room"] == by_request["room"] == call_id


@pytest.mark.usefixtures("crash_on_pause")
async def test_an_overlay_of_a_crashed_call_is_sent_the_new_epoch_and_further_events(context: Context) -> None:
    fan, creator = await add_fan(context, 1000), await add_creator(context, 60)
    async with online(context, fan) as fans, online(context, creator) as creators, online(context, creator) as scene:

        def story() -> None:
            ring = ring_and_join(fans, creators)
            overlay = {"type": "room:join", "channel": ring["channel"], "as": "overlay"}
            epoch = scene.ask(overlay)["epoch"]
            _crash(fans, ring["callId"])
            assert scene.wait_for("room:joined", epoch=epoch + 1)["you"] == {"role": "overlay"}
            fans.wait_for("room:joined", epoch=epoch + 1)
            fans.ask_ok({"type": "tip:send", "channel": ring["channel"], "amountTokens": 5, "key": "k"})
            assert scene.wait_for("tip:new")["amountTokens"] == 5

        await trio.to_thread.run_sync(story)


async def test_a_command_is_answered_if_the_room_breaks_while_it_waits_for_its_lease(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    fan, creator = await add_fan(context, 1000), await add_creator(context, 60)
    async with online(context, fan) as fans, online(context, creator) as creators:
        ring = await trio.to_thread.run_sync(ring_and_join, fans, creators)
        room = context.registry.find_channel(ring["channel"])
        assert room is not None

        async def fail(self: RoomTask) -> None:
            if self._taken is not None and isinstance(self._taken.given, inputs.CallAction):
                context.lease._now = seconds_since_boot
                raise PlantedFault

        monkeypatch.setattr(RoomTask, "_confirm_ownership", fail)
        context.lease._now = lambda: seconds_since_boot() + 3600
        answer = await _answer_to(room, fan, CallEnd(call_id=CallId(room.id)))
        assert isinstance(answer, Refusal)
        assert answer.code is Code.INTERNAL


async def test_each_command_that_came_too_late_for_a_broken_room_is_answered(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    fan, creator = await add_fan(context, 1000), await add_creator(context, 60)
    async with online(context, fan) as fans, online(context, creator) as creators:
        ring = await trio.to_thread.run_sync(ring_and_join, fans, creators)
        room = context.registry.find_channel(ring["channel"])
        assert room is not None
        decide, replies = Call.handle, [WaitingReply(), WaitingReply()]

        def faulty(self: Call, given: inputs.Input, at: int) -> Any:
            if isinstance(given, inputs.CallAction) and given.reply is replies[0]:
                raise PlantedFault
            wanted = decide(self, given, at)
            if self.settled and not isinstance(given, inputs.CallAction):
                for reply in replies:
                    room.inbox.offer(inputs.CallAction(fan, CallEnd(call_id=CallId(room.id)), reply))
            return wanted

        monkeypatch.setattr(Call, "handle", faulty)
        await trio.to_thread.run_sync(creators.ask_ok, {"type": "call:end", "callId": ring["callId"]})
        answers = [await reply.wait(PATIENCE_SECONDS) for reply in replies]
        codes = [answer.code for answer in answers if isinstance(answer, Refusal)]
        assert codes == [Code.INTERNAL, Code.ROOM_STARTING]


def _refuse_last_record(monkeypatch: pytest.MonkeyPatch) -> list[CallRecord]:
    """Make the database refuse the first record of an ended call and accept the next; return the refused records."""
    refused: list[CallRecord] = []

    async def save(postgres: Postgres, call_id: RoomId, epoch: int, record: CallRecord) -> bool:
        if record.status == "ended" and not refused:
            refused.append(record)
            raise StatementRefused("planted", "23514")
        return await save_call(postgres, call_id, epoch, record)

    monkeypatch.setattr("server.rooms.kinds.call.save_call", save)
    return refused


@pytest.mark.parametrize("end", ["command", "order", "block"])
async def test_an_end_that_was_answered_ends_a_call_though_the_room_crashes_before_it_is_stored(
    context: Context, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    in_thread = trio.to_thread.run_sync
    fan, creator = await add_fan(context, 1000), await add_creator(context, 60)
    refused = _refuse_last_record(monkeypatch)
    async with online(context, fan) as fans, online(context, creator) as creators:
        ring = await in_thread(ring_and_join, fans, creators)
        room = context.registry.find_channel(ring["channel"])
        assert room is not None
        if end == "command":
            await in_thread(creators.ask_ok, {"type": "call:end", "callId": ring["callId"]})
        else:
            room.inbox.deliver(inputs.EndNow("admin") if end == "order" else inputs.UserBlocked(fan))
        ended = await in_thread(fans.wait_for, "call:ended")
        assert ended["reason"] == ("admin" if end == "order" else "creator_ended")
        await in_thread(lambda: creators.wait_for("call:ended"))
    assert len(refused) == 1


async def test_a_server_that_drains_does_not_wait_for_a_room_that_crashed_meanwhile(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    fan, creator = await add_fan(context, 1000), await add_creator(context, 60)
    async with online(context, fan) as fans, online(context, creator) as creators:
        ring = await trio.to_thread.run_sync(ring_and_join, fans, creators)
        room = context.registry.find_channel(ring["channel"])
        assert room is not None and room.call is not None
        failing = [room.inbox]
        store = Committer._store

        async def fail_once(self: Committer) -> None:
            if room.call is not None and room.call.termination.over and failing:
                failing.clear()
                raise PlantedFault
            await store(self)

        monkeypatch.setattr(Committer, "_store", fail_once)
        with trio.fail_after(PATIENCE_SECONDS):
            await context.registry.drain()
        assert not failing


async def _answer_to(room: LiveRoom, user_id: UserId, command: CallCommand) -> Result:
    reply = WaitingReply()
    assert room.inbox.offer(inputs.CallAction(user_id, command, reply))
    return await reply.wait(PATIENCE_SECONDS)


async def test_a_room_whose_supervision_raises_closes_its_members_and_answers_waiting_commands(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_thread = trio.to_thread.run_sync
    fan, creator = await add_fan(context, 1000), await add_creator(context, 60)
    async with online(context, fan) as fans, online(context, creator) as creators:
        ring = await in_thread(ring_and_join, fans, creators)
        room = context.registry.find_channel(ring["channel"])
        assert room is not None
        waiting = WaitingReply()

        def fail(self: Supervisor, *_: object) -> None:
            room.inbox.deliver(inputs.CallAction(fan, CallEnd(call_id=UUID(ring["callId"])), waiting))
            raise PlantedFault

        monkeypatch.setattr(Supervisor, "_note_crash", fail)
        room.inbox.fail()
        answer = await waiting.wait(PATIENCE_SECONDS)
        assert isinstance(answer, Refusal)
        assert answer.code is Code.ROOM_STARTING
        for phone in (fans, creators):
            assert (await in_thread(phone.wait_for, "room:closed"))["reason"] == "moved"
