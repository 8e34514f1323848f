"""A room that starts again has every member that it had, and answers every command that waited."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
import trio
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from domain import commands as c
from domain import inputs
from domain.call import Call
from domain.stream import Stream
from server.house import House
from tests.clients import PATIENCE_SECONDS, go_live, token_of
from tests.faults import PlantedFault, faults_at
from tests.houses import add_creator, online

VIEWERS = 400
AT_ONCE = 50  # that join together: more would be told to come again, as the room takes 256 commands at a time
WAITING = 40  # of these send a command right behind the one that crashes the room


def faulty_at(real: Callable[..., Any], text: str) -> Callable[..., Any]:
    """Rules that raise whenever somebody says this."""

    def handle(self: Any, given: inputs.Input, at: int) -> Any:
        if isinstance(given, inputs.Said) and isinstance(given.command, c.ChatSend) and given.command.text == text:
            raise PlantedFault
        return real(self, given, at)

    return handle


@pytest.fixture
def crash_on_bang(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever says "bang" crashes the room."""
    for rules in (Stream, Call):
        monkeypatch.setattr(rules, "handle", faulty_at(rules.handle, "bang"))


class Viewer:
    """One websocket in a room."""

    def __init__(self, socket: ClientConnection, channel: str) -> None:
        self._socket = socket
        self._channel = channel
        self._heard: list[dict[str, Any]] = []

    async def open(self) -> "Viewer":
        await self._send(type="session:open", token=token_of(uuid4()))
        await self._send(type="room:join", channel=self._channel)
        await self.hear(type="room:joined")
        return self

    async def say(self, text: str, ref: str) -> None:
        await self._send(type="chat:send", channel=self._channel, text=text, ref=ref)

    async def hear(self, **fields: Any) -> dict[str, Any]:
        """A message that has these fields, come already or still to come."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                for message in self._heard:
                    if all(message.get(name) == value for name, value in fields.items()):
                        return message
                self._heard.append(json.loads(await self._socket.recv()))

    async def close(self) -> None:
        await self._socket.close()

    async def _send(self, **message: Any) -> None:
        await self._socket.send(json.dumps(message))


async def connect_viewer(port: int, channel: str) -> Viewer:
    socket = await connect(f"ws://127.0.0.1:{port}/ws", subprotocols=[Subprotocol("halfminute.v1.json")], proxy=None)
    return await Viewer(socket, channel).open()


async def crash_among_many(port: int, channel: str) -> None:
    viewers: list[Viewer] = []
    for _ in range(VIEWERS // AT_ONCE):
        viewers += await asyncio.gather(*[connect_viewer(port, channel) for _ in range(AT_ONCE)])
    await viewers[0].say("bang", "bang")
    for number, viewer in enumerate(viewers[:WAITING]):
        await viewer.say("still there?", f"waiting {number}")
    await asyncio.gather(*[viewer.hear(type="room:joined", epoch=3) for viewer in viewers])
    answers = await asyncio.gather(
        *[viewer.hear(ref=f"waiting {number}") for number, viewer in enumerate(viewers[:WAITING])]
    )
    assert {answer.get("error", "none") for answer in answers} <= {"none", "RATE_LIMITED"}
    await viewers[-1].say("all of us", "last")
    await asyncio.gather(*[viewer.hear(type="chat:new", text="all of us") for viewer in viewers])
    await asyncio.gather(*[viewer.close() for viewer in viewers])


@pytest.mark.usefixtures("crash_on_bang")
async def test_all_400_viewers_of_a_crashed_stream_are_members_again_and_hear_on(house: House) -> None:
    creator = await add_creator(house, 60)
    async with online(house, creator) as cleo:
        stream = await trio.to_thread.run_sync(partial(go_live, cleo))
        port, channel = house.websocket_port, stream["channel"]
        await trio.to_thread.run_sync(lambda: asyncio.run(crash_among_many(port, channel)))
    assert faults_at(house, "room") == 1
