"""A stream's room crashes, or its server dies: the stream goes on from its rows, and nobody pays for it."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import pytest
import trio

from domain.ids import UserId
from domain.protocol import commands as c
from domain.room import inputs
from domain.stream.stream import Stream
from server.context import Context
from server.rooms.room import LiveRoom
from server.sessions.call_commands import NO_SUCH_ROOM
from server.sessions.session import Session
from tests.support.clients import Phone, go_live, send_tip
from tests.support.servers import add_creator, add_fan, online, running_server, settings

REFUSED_MEANWHILE = ("OVERLOADED", "ROOM_STARTING", "NOT_FOUND", "STREAM_ENDED")


class PlantedFault(Exception):
    """The exception of a room that a test makes crash."""


@pytest.fixture
def crash_on_bang(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a chat message "bang" crash the room."""
    decide = Stream.handle

    def faulty(self: Stream, given: inputs.Input, at: int) -> Any:
        if (
            isinstance(given, inputs.RoomAction)
            and isinstance(given.command, c.ChatSend)
            and given.command.text == "bang"
        ):
            raise PlantedFault
        return decide(self, given, at)

    monkeypatch.setattr(Stream, "handle", faulty)


def crash(phone: Phone, channel: str) -> None:
    phone.send({"type": "chat:send", "channel": channel, "text": "bang"})


@pytest.mark.usefixtures("crash_on_bang")
async def test_a_crashed_stream_restarts_with_its_members_overlays_and_payers(context: Context) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 1000)
    async with online(context, creator) as cleo, online(context, creator) as scene, online(context, fan) as finn:

        def story() -> None:
            stream = go_live(cleo, type="private", rateTokensPerMin=60)
            channel = stream["channel"]
            epoch = cleo.join(channel)["epoch"] + 1
            finn.join(channel)
            scene.ask({"type": "room:join", "channel": channel, "as": "overlay"})
            finn.wait_for("block:charged", blockNo=2)
            crash(finn, channel)
            for phone, role in ((cleo, "owner"), (finn, "viewer"), (scene, "overlay")):
                again = phone.wait_for("room:joined", epoch=epoch)
                assert again["you"]["role"] == role and again["seq"] >= 1
            finn.wait_for("block:charged", blockNo=4)
            given = send_tip(finn, channel, 30)["tip"]["tipId"]
            for phone in (cleo, finn, scene):
                assert phone.wait_for("tip:new")["tipId"] == given
            cleo.http.post(f"/streams/{stream['id']}/end")
            for phone in (finn, scene):
                assert phone.wait_for("stream:ended")["reason"] == "ended"
            numbers = [block["blockNo"] for block in finn.all_events("block:charged")]
            assert numbers == list(range(1, len(numbers) + 1))
            paid = len(numbers) - 1  # the block that the owner cut short was refunded
            assert (finn.balance(), cleo.balance()) == (970 - paid, 30 + paid)

        await trio.to_thread.run_sync(story)
    payers = await context.postgres.fetch("SELECT payer_id FROM meters")
    assert [row["payer_id"] for row in payers] == [fan], "the owner pays nothing, and has no meter"


@pytest.mark.usefixtures("crash_on_bang")
async def test_a_payer_is_a_member_again_though_the_first_restart_raises_at_their_rejoin(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 1000)
    rejoin_reply, raised = Session.rejoin_reply, False

    def raise_once(self: Session, room: LiveRoom) -> Any:
        nonlocal raised
        if self.user_id == fan and not raised:
            raised = True
            raise PlantedFault
        return rejoin_reply(self, room)

    async with online(context, creator) as cleo, online(context, fan) as finn:

        def story() -> None:
            channel = go_live(cleo, type="private", rateTokensPerMin=60)["channel"]
            cleo.join(channel)
            joined = finn.join(channel)
            epoch = joined["epoch"]
            finn.wait_for("block:charged", blockNo=1)
            monkeypatch.setattr(Session, "rejoin_reply", raise_once)
            crash(finn, channel)
            again = finn.wait_for("room:joined", epoch=epoch + 2)
            assert again["you"]["role"] == "viewer"
            assert again["iceServers"] == joined["iceServers"] != []
            finn.wait_for("block:charged", blockNo=3)

        await trio.to_thread.run_sync(story)
    assert raised


@pytest.mark.usefixtures("crash_on_bang")
async def test_a_member_whom_the_restarted_room_refuses_is_told_which_room_that_is(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 1000)
    async with online(context, creator) as cleo, online(context, fan) as finn:

        def story() -> None:
            channel = go_live(cleo)["channel"]
            cleo.join(channel)
            finn.join(channel)
            monkeypatch.setattr(Stream, "handle", _refusing(Stream.handle, fan))
            crash(cleo, channel)
            refused = finn.wait_for("error", channel=channel)
            assert (refused["error"], "ref" in refused) == ("NOT_FOUND", False)

        await trio.to_thread.run_sync(story)


def _refusing(handle: Callable[..., Any], user_id: UserId) -> Callable[..., Any]:
    """Return rules that refuse every join of this user."""

    def refuse(self: Stream, given: inputs.Input, at: int) -> Any:
        if isinstance(given, inputs.Joined) and given.user_id == user_id:
            given.reply.deliver(NO_SUCH_ROOM)
            return []
        return handle(self, given, at)

    return refuse


@pytest.mark.usefixtures("crash_on_bang")
async def test_the_fourth_crash_in_a_minute_ends_the_stream_with_server_fault(context: Context) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 1000)
    async with online(context, creator) as cleo, online(context, creator) as scene, online(context, fan) as finn:

        def story() -> None:
            stream = go_live(cleo)
            channel = stream["channel"]
            epoch = cleo.join(channel)["epoch"]
            finn.join(channel)
            scene.ask({"type": "room:join", "channel": channel, "as": "overlay"})
            for crashes in (1, 2, 3):
                crash(finn, channel)
                finn.wait_for("room:joined", epoch=epoch + crashes)
            crash(finn, channel)
            for phone in (cleo, finn, scene):
                assert phone.wait_for("stream:ended")["reason"] == "server_fault"
                assert phone.wait_for("room:closed")["reason"] == "server_fault"
            ended = finn.http.get(f"/streams/{stream['id']}").json()["stream"]
            assert (ended["status"], ended["endReason"]) == ("ended", "server_fault")
            assert finn.join(channel)["error"] == "STREAM_ENDED"
            assert go_live(cleo)["id"] != stream["id"], "its creator may go live again"

        await trio.to_thread.run_sync(story)


@pytest.mark.usefixtures("crash_on_bang")
async def test_every_command_is_answered_though_the_room_crashes_and_is_abandoned(context: Context) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 1000)
    async with online(context, creator) as cleo, online(context, fan) as finn:

        def story() -> None:
            channel = go_live(cleo)["channel"]
            epoch = finn.join(channel)["epoch"]
            for crashes in (1, 2, 3, 4):
                names = [f"{crashes} {number}" for number in range(6)]
                for name in names[:3]:
                    finn.send(_tip(channel, name))
                crash(finn, channel)
                for name in names[3:]:
                    finn.send(_tip(channel, name))
                for name in names:
                    answer = finn.wait_until(partial(_answers, name))
                    assert answer["type"] == "ok" or answer["error"] in (
                        "OVERLOADED",
                        "ROOM_STARTING",
                        "NOT_FOUND",
                        "STREAM_ENDED",
                    )
                if crashes < 4:
                    finn.wait_for("room:joined", epoch=epoch + crashes)

        await trio.to_thread.run_sync(story)


def _tip(channel: str, key: str) -> dict[str, Any]:
    return {"type": "tip:send", "channel": channel, "amountTokens": 1, "key": key, "ref": key}


def _answers(ref: str, event: dict[str, Any]) -> bool:
    return event.get("ref") == ref


async def test_a_stream_is_live_again_after_the_server_has_stopped_and_started(dsn: str) -> None:
    known: dict[str, Any] = {}
    async with running_server(dsn) as context:
        known["creator"], known["fan"] = await add_creator(context, 60), await add_fan(context, 1000)
        async with online(context, known["creator"]) as cleo, online(context, known["fan"]) as finn:

            def before() -> None:
                known["stream"] = go_live(cleo, type="private", rateTokensPerMin=60)
                cleo.join(known["stream"]["channel"])
                known["epoch"] = finn.join(known["stream"]["channel"])["epoch"]
                finn.wait_for("block:charged", blockNo=2)

            await trio.to_thread.run_sync(before)
    async with running_server(dsn) as context:
        async with online(context, known["creator"]) as cleo, online(context, known["fan"]) as finn:

            def after() -> None:
                stream_id, channel = known["stream"]["id"], known["stream"]["channel"]
                assert cleo.http.get(f"/streams/{stream_id}").json()["stream"]["status"] == "live"
                joined = finn.join(channel)
                assert joined["epoch"] == known["epoch"] + 1 and joined["you"]["paidThrough"] is None
                blocks = 1000 - finn.balance()
                cleo.join(channel)
                finn.wait_for("block:charged", blockNo=blocks + 1)
                assert cleo.http.post(f"/streams/{stream_id}/end").json()["stream"]["endReason"] == "ended"

            await trio.to_thread.run_sync(after)
        rows = await context.postgres.fetch(
            "SELECT block_no FROM journal WHERE room_id = $1 AND block_no IS NOT NULL ORDER BY 1",
            UUID(known["stream"]["id"]),
        )
        assert [row["block_no"] for row in rows] == list(range(1, len(rows) + 1))


async def test_running_viewing_sessions_are_stored_as_time_passes(dsn: str) -> None:
    """After a server dies without draining, no payer pays twice for what they watched."""
    async with running_server(dsn, settings(block_seconds=30)) as context:
        creator, fan = await add_creator(context, 60), await add_fan(context, 1000)
        async with online(context, creator) as cleo, online(context, fan) as finn:

            def story() -> str:
                stream = go_live(cleo, type="private", rateTokensPerMin=60)
                for phone in (cleo, finn):
                    phone.join(stream["channel"])
                finn.wait_for("block:charged", blockNo=1)
                return str(stream["id"])

            stream_id = UUID(await trio.to_thread.run_sync(story))
            with trio.fail_after(20):
                while not (stored := await _stored_active(context, stream_id)):  # noqa: ASYNC110  # reason: it sets no event
                    await trio.sleep(0.1)
            room = next(iter(context.registry))
            assert room.stream is not None
            [meter] = room.stream.viewing_sessions.running()
            assert 0 < stored <= meter.billed_active(room.clock.now())


async def _stored_active(context: Context, stream_id: UUID) -> int:
    rows = await context.postgres.fetch("SELECT active_us FROM meters WHERE room_id = $1", stream_id)
    return int(rows[0]["active_us"])
