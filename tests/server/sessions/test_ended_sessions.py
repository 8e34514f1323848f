"""An ended session is in no room and enters none, whatever was under way."""

from typing import Any

import pytest
import trio

from domain.billing.meter import StoredMeter
from domain.ids import RoomId, UserId
from server.context import Context
from server.rooms.room import LiveRoom
from server.sessions import room_commands
from server.sessions.session import Session
from storage.database_errors import StorageUnavailable
from storage.postgres import Postgres
from storage.rooms.streams import open_viewing_session
from tests.support.clients import Phone, go_live
from tests.support.servers import add_creator, add_fan, online

in_thread = trio.to_thread.run_sync


class SlowLedger:
    """Opens viewing sessions, and answers when the test says so."""

    def __init__(self) -> None:
        self.asked, self.answer = trio.Event(), trio.Event()

    async def open_viewing_session(self, postgres: Postgres, room_id: RoomId, payer: UserId) -> StoredMeter:
        self.asked.set()
        await self.answer.wait()
        return await open_viewing_session(postgres, room_id, payer)


def session_of(context: Context, user_id: UserId) -> Session:
    (session,) = context.sessions.of(user_id)
    return session


async def metered(cleo: Phone) -> dict[str, Any]:
    return await in_thread(lambda: go_live(cleo, type="private", rateTokensPerMin=60))


async def handled(room: LiveRoom, cleo: Phone) -> None:
    """Wait until everything that was put into the room's inbox before is handled."""
    await in_thread(lambda: cleo.join(room.channel))


async def test_a_session_that_ended_during_a_join_query_is_not_admitted(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = SlowLedger()
    monkeypatch.setattr(room_commands, "open_viewing_session", database.open_viewing_session)
    creator, fan = await add_creator(context, 60), await add_fan(context, 100)
    async with online(context, creator) as cleo, online(context, fan) as finn:
        stream = await metered(cleo)
        room = context.registry.find_channel(stream["channel"])
        assert room is not None and room.stream is not None
        await in_thread(lambda: finn.send({"type": "room:join", "channel": stream["channel"], "ref": "join"}))
        await database.asked.wait()
        context.sessions.end(session_of(context, fan))
        database.answer.set()
        answer = await in_thread(lambda: finn.wait_until(lambda event: event.get("ref") == "join"))
        await handled(room, cleo)
    assert answer["error"] == "NOT_FOUND"
    assert room.stream.members.of(fan) == []
    assert room.stream.viewing_sessions.find(fan) is None, "nobody pays for it"


async def test_commands_of_an_ended_session_are_not_handled(context: Context) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 100)
    async with online(context, creator) as cleo, online(context, fan) as finn:
        stream = await in_thread(lambda: go_live(cleo))
        room = context.registry.find_channel(stream["channel"])
        assert room is not None and room.stream is not None
        context.sessions.end(session_of(context, fan))
        await in_thread(lambda: finn.send({"type": "room:join", "channel": stream["channel"]}))
        await in_thread(finn.hang_up_network)  # its close is read after all that it sent
        await handled(room, cleo)
        assert room.stream.members.of(fan) == []


async def test_a_join_that_fails_as_the_database_is_away_leaves_no_membership(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> StoredMeter:
        raise StorageUnavailable("away")

    monkeypatch.setattr(room_commands, "open_viewing_session", away)
    creator, fan = await add_creator(context, 60), await add_fan(context, 100)
    async with online(context, creator) as cleo, online(context, fan) as finn:
        stream = await metered(cleo)
        answer = await in_thread(lambda: finn.join(stream["channel"]))
        assert answer["error"] == "STORAGE_UNAVAILABLE"
        assert session_of(context, fan).live_memberships() == {}
