"""A restarted room keeps every member, and answers every command that waited."""

import asyncio
import json
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from domain.billing.meter import StoredMeter
from domain.call.call import Call
from domain.ids import RoomId, UserId
from domain.protocol import commands as c
from domain.room import inputs
from domain.stream.stream import Stream
from server.context import Context
from server.sessions import room_commands
from storage.postgres import Postgres
from storage.rooms.streams import open_viewing_session
from tests.support.clients import PATIENCE_SECONDS, Phone, go_live, ring_and_join, token_of
from tests.support.faults import PlantedFault, faults_at
from tests.support.servers import add_creator, add_fan, online

VIEWERS = 400
AT_ONCE = 50  # sessions that join together: more would have to retry, as the room takes 256 commands at a time
WAITING = 40  # the number of these that send a command right behind the one that crashes the room


def faulty_at(real: Callable[..., Any], text: str) -> Callable[..., Any]:
    """Return rules that raise whenever a member sends this text."""

    def handle(self: Any, given: inputs.Input, at: int) -> Any:
        if (
            isinstance(given, inputs.RoomAction)
            and isinstance(given.command, c.ChatSend)
            and given.command.text == text
        ):
            raise PlantedFault
        return real(self, given, at)

    return handle


@pytest.fixture
def crash_on_bang(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a chat message "bang" crash the room."""
    for rules in (Stream, Call):
        monkeypatch.setattr(rules, "handle", faulty_at(rules.handle, "bang"))


class Viewer:
    """One websocket in a room."""

    def __init__(self, socket: ClientConnection, channel: str) -> None:
        self._socket = socket
        self._channel = channel
        self._received: list[dict[str, Any]] = []

    async def open(self) -> "Viewer":
        await self._send(type="session:open", token=token_of(uuid4()))
        await self._send(type="room:join", channel=self._channel)
        await self.receive(type="room:joined")
        return self

    async def chat(self, text: str, ref: str) -> None:
        await self._send(type="chat:send", channel=self._channel, text=text, ref=ref)

    async def receive(self, **fields: Any) -> dict[str, Any]:
        """Return a message that has these fields, which has arrived or will."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                for message in self._received:
                    if all(message.get(name) == value for name, value in fields.items()):
                        return message
                self._received.append(json.loads(await self._socket.recv()))

    async def close(self) -> None:
        await self._socket.close()

    async def _send(self, **message: Any) -> None:
        await self._socket.send(json.dumps(message))


async def connect_viewer(port: int, channel: str) -> Viewer:
    address, subprotocols = f"ws://127.0.0.1:{port}/ws", [Subprotocol("halfminute.v1.json")]
    socket = await connect(address, subprotocols=subprotocols, proxy=None, ping_interval=None)
    return await Viewer(socket, channel).open()


async def chat_until_accepted(viewer: Viewer, text: str) -> None:
    """Send until it is accepted: the room takes a limited number of chat messages a second."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        for number in count():
            await viewer.chat(text, f"{text} {number}")
            if (await viewer.receive(ref=f"{text} {number}")).get("error") != "RATE_LIMITED":
                return
            await asyncio.sleep(0.1)


async def crash_among_many(port: int, channel: str) -> None:
    viewers: list[Viewer] = []
    for _ in range(VIEWERS // AT_ONCE):
        viewers += await asyncio.gather(*[connect_viewer(port, channel) for _ in range(AT_ONCE)])
    await viewers[0].chat("bang", "bang")
    for number, viewer in enumerate(viewers[:WAITING]):
        await viewer.chat("still there?", f"waiting {number}")
    await asyncio.gather(*[viewer.receive(type="room:joined", epoch=3) for viewer in viewers])
    answers = await asyncio.gather(
        *[viewer.receive(ref=f"waiting {number}") for number, viewer in enumerate(viewers[:WAITING])]
    )
    assert {answer.get("error", "none") for answer in answers} <= {"none", "RATE_LIMITED"}
    await chat_until_accepted(viewers[-1], "all of us")
    await asyncio.gather(*[viewer.receive(type="chat:new", text="all of us") for viewer in viewers])
    await asyncio.gather(*[viewer.close() for viewer in viewers])


@pytest.mark.usefixtures("crash_on_bang")
async def test_all_400_viewers_of_a_crashed_stream_are_members_again_and_receive_events(
    context: Context,
) -> None:
    creator = await add_creator(context, 60)
    async with online(context, creator) as cleo:
        stream = await trio.to_thread.run_sync(partial(go_live, cleo))
        port, channel = context.websocket_port, stream["channel"]
        await trio.to_thread.run_sync(lambda: asyncio.run(crash_among_many(port, channel)))
    assert faults_at(context, "room") == 1


@pytest.mark.usefixtures("crash_on_bang")
async def test_a_viewer_who_joins_a_restarting_stream_is_admitted_once_it_runs(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    creator, fan, other = await add_creator(context, 60), await add_fan(context, 100), await add_fan(context, 100)
    claim, restarting, go_on = context.leases.claim, trio.Event(), trio.Event()

    async def slow_claim(room_id: RoomId) -> Any:
        restarting.set()
        await go_on.wait()
        return await claim(room_id)

    monkeypatch.setattr(context.leases, "claim", slow_claim)
    async with online(context, creator) as cleo, online(context, fan) as finn, online(context, other) as olga:

        def crash() -> str:
            channel: str = go_live(cleo, type="private", rateTokensPerMin=60)["channel"]
            for phone in (cleo, finn):
                phone.join(channel)
            finn.send({"type": "chat:send", "channel": channel, "text": "bang"})
            return channel

        channel = await trio.to_thread.run_sync(crash)
        await restarting.wait()
        await trio.to_thread.run_sync(partial(olga.send, {"type": "room:join", "channel": channel, "ref": "join"}))
        await trio.to_thread.run_sync(partial(olga.ask, {"type": "ping"}))
        go_on.set()
        answer = await trio.to_thread.run_sync(partial(olga.wait_until, lambda event: event.get("ref") == "join"))
        assert answer["type"] == "room:joined", answer
        await trio.to_thread.run_sync(partial(olga.wait_for, "block:charged", blockNo=2))


# Rooms that have a later owner


async def take_away(context: Context, channel: str) -> None:
    """Claim the room as another server would that has gone again meanwhile: a later epoch, and no lease."""
    await context.postgres.execute("UPDATE rooms SET epoch = epoch + 1, server_id = NULL WHERE channel = $1", channel)


async def test_both_parties_of_a_call_that_moved_are_informed_and_join_it_again(context: Context) -> None:
    fan, creator = await add_fan(context, 1000), await add_creator(context, 60)
    async with online(context, fan) as fans, online(context, creator) as creators:
        ring = await trio.to_thread.run_sync(partial(ring_and_join, fans, creators))
        await trio.to_thread.run_sync(partial(fans.wait_for, "block:charged", blockNo=1))
        await take_away(context, ring["channel"])

        def join_again() -> None:
            for phone in (fans, creators):
                assert phone.wait_for("room:closed")["reason"] == "moved"
                assert phone.all_events("call:ended") == []
            for phone in (fans, creators):
                join_until_in(phone, ring["channel"])
            fans.wait_for("call:resumed")
            creators.ask_ok({"type": "call:end", "callId": ring["callId"]})

        await trio.to_thread.run_sync(join_again)
    rows = await context.postgres.fetch(
        "SELECT block_no FROM journal WHERE room_id = $1 AND kind = 1 ORDER BY 1", UUID(ring["callId"])
    )
    assert [row["block_no"] for row in rows] == list(range(1, len(rows) + 1))


def join_until_in(phone: Phone, channel: str) -> dict[str, Any]:
    """Join, and retry as clients do after ROOM_STARTING."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        answer = phone.join(channel)
        if answer["type"] == "room:joined":
            return answer
        assert answer["error"] in ("OVERLOADED", "ROOM_STARTING") and time.monotonic() < deadline, answer
        time.sleep(0.1)


@pytest.mark.usefixtures("crash_on_bang")
async def test_members_overlays_and_waiting_commands_of_a_crashed_room_that_moved_are_informed(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 10)
    claim, waiting, go_on = context.leases.claim, trio.Event(), trio.Event()

    async def slow_claim(room_id: RoomId) -> Any:
        waiting.set()
        await go_on.wait()
        return await claim(room_id)

    async with online(context, creator) as cleo, online(context, creator) as scene, online(context, fan) as finn:

        def join() -> str:
            channel: str = go_live(cleo)["channel"]
            for phone in (cleo, finn):
                phone.join(channel)
            scene.ask({"type": "room:join", "channel": channel, "as": "overlay"})
            return channel

        channel = await trio.to_thread.run_sync(join)
        monkeypatch.setattr(context.leases, "claim", slow_claim)
        chat = {"type": "chat:send", "channel": channel}
        await trio.to_thread.run_sync(partial(finn.send, {**chat, "text": "bang"}))
        await waiting.wait()
        await trio.to_thread.run_sync(partial(finn.send, {**chat, "text": "too late", "ref": "waits"}))
        await trio.to_thread.run_sync(partial(finn.ask, {"type": "ping"}))
        other = uuid4()
        await context.postgres.execute("INSERT INTO servers (id, lease_expires_at) VALUES ($1, 'infinity')", other)
        await context.postgres.execute(
            "UPDATE rooms SET epoch = epoch + 1, server_id = $1 WHERE channel = $2", other, channel
        )
        go_on.set()

        def receive() -> None:
            for phone in (cleo, finn, scene):
                assert phone.wait_for("room:closed")["reason"] == "moved"
            assert finn.wait_until(lambda event: event.get("ref") == "waits")["error"] == "ROOM_STARTING"

        await trio.to_thread.run_sync(receive)


async def test_a_room_never_runs_under_an_epoch_that_another_server_has_claimed_meanwhile(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two servers under one epoch, the writes of both would be accepted."""
    creator = await add_creator(context, 60)
    async with online(context, creator) as cleo:
        stream = await trio.to_thread.run_sync(partial(go_live, cleo))
        room = context.registry.find_channel(stream["channel"])
        assert room is not None and room.stream is not None
        claim = context.leases.claim

        async def overtaken(room_id: RoomId) -> Any:
            claimed = await claim(room_id)
            await take_away(context, stream["channel"])
            return claimed

        monkeypatch.setattr(context.leases, "claim", overtaken)
        assert await context.stream_rooms.restart(room) is None
        assert room.stream is None, "nothing was built"
        del context.registry._rooms[room.id]
        await context.stream_rooms.adopt(room.id, 2)
        assert context.registry.find(room.id) is None, "a claim that is overtaken is worth nothing"
        context.registry._rooms[room.id] = room


@pytest.mark.usefixtures("crash_on_bang")
async def test_a_join_that_comes_as_the_room_ends_is_answered(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The join queries a viewer's access, and meanwhile the room ends."""
    asked, go_on = trio.Event(), trio.Event()

    async def slow(postgres: Postgres, room_id: RoomId, payer: UserId) -> StoredMeter:
        asked.set()
        await go_on.wait()
        return await open_viewing_session(postgres, room_id, payer)

    monkeypatch.setattr(room_commands, "open_viewing_session", slow)
    creator, fan = await add_creator(context, 60), await add_fan(context, 100)
    async with online(context, creator) as cleo, online(context, fan) as finn:
        stream = await trio.to_thread.run_sync(partial(go_live, cleo, type="private", rateTokensPerMin=60))
        await trio.to_thread.run_sync(
            partial(finn.send, {"type": "room:join", "channel": stream["channel"], "ref": "late"})
        )
        await asked.wait()
        await trio.to_thread.run_sync(partial(cleo.http.post, f"/streams/{stream['id']}/end"))
        go_on.set()
        answer = await trio.to_thread.run_sync(partial(finn.wait_until, lambda event: event.get("ref") == "late"))
        assert answer["error"] in ("OVERLOADED", "ROOM_STARTING", "STREAM_ENDED", "NOT_FOUND")
