"""Client pool: many calls at once, held by clients that share no code with the server and reconnect by themselves."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple, Self
from uuid import UUID

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from server.access.tokens import issue_token
from tests.support.processes import ServerProcess, eventually

RECONNECT_SECONDS = 0.05  # a client's pause between two tries
PATIENCE_SECONDS = 30.0


class Party(NamedTuple):
    """A user who takes part in a call, and their access token."""

    user_id: UUID
    token: str


class Caller:
    """One party of one call. It joins the call after each connect, and keeps every event that it receives."""

    def __init__(self, party: Party, websocket_port: int) -> None:
        self.party = party
        self.call_id = ""
        self.channel = ""
        self.events: list[dict[str, Any]] = []
        self.close_codes: list[int | None] = []
        self.sessions = 0
        self._url = f"ws://127.0.0.1:{websocket_port}/ws"

    def events_of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in list(self.events) if event["type"] == kind]

    def last_block(self) -> int:
        return max((event["blockNo"] for event in self.events_of("block:charged")), default=0)

    async def run(self) -> None:
        """Connect, and reconnect after each loss, until cancelled."""
        while True:
            with suppress(OSError, WebSocketException):
                async with connect(
                    self._url,
                    subprotocols=[Subprotocol("halfminute.v1.json")],
                    ping_interval=None,
                    close_timeout=1,
                    proxy=None,
                ) as socket:
                    await self._take_part(socket)
            await asyncio.sleep(RECONNECT_SECONDS)  # as a phone does; a server that is down wakes nobody

    async def _take_part(self, socket: ClientConnection) -> None:
        await _send(socket, type="session:open", token=self.party.token)
        try:
            async for message in socket:
                event = json.loads(message)
                self.events.append(event)
                await self._react(socket, event)
        finally:
            self.close_codes.append(socket.close_code)

    async def _react(self, socket: ClientConnection, event: dict[str, Any]) -> None:
        match event["type"]:
            case "session:ready":
                self.sessions += 1
                if self.channel:
                    await _send(socket, type="room:join", channel=self.channel, ref="join")
            case "call:ringing":
                self.call_id, channel = event["callId"], event["channel"]
                if event["creator"]["userId"] == str(self.party.user_id):
                    await _send(socket, type="call:accept", callId=self.call_id)
                await _send(socket, type="room:join", channel=channel, ref="join")
                self.channel = channel
            case "error" if event.get("ref") == "join":  # its call may be on its way back
                await asyncio.sleep(RECONNECT_SECONDS)  # no event marks its return
                await _send(socket, type="room:join", channel=self.channel, ref="join")


class Pair(NamedTuple):
    """The fan and the creator of one call, with the events that both received."""

    fan: Caller
    creator: Caller

    @property
    def call_id(self) -> UUID:
        return UUID(self.fan.call_id)

    @property
    def both(self) -> tuple[Caller, Caller]:
        return self.fan, self.creator

    def last_block(self) -> int:
        """Return the number of the last block that both parties received."""
        return min(caller.last_block() for caller in self.both)

    def running_seconds(self, stops: Iterable[float]) -> float:
        """Return the seconds of the meter according to the events, if it also stopped at `stops` (unix seconds)."""
        turns = {"call:started": 1, "call:resumed": 1, "call:paused": 0, "call:ended": 0}
        changes = [(moment(event["at"]), turns[event["type"]]) for event in self.fan.events if event["type"] in turns]
        running_since, total = None, 0.0
        for at, runs in sorted([*changes, *((stop, 0) for stop in stops)]):
            if running_since is not None:
                total += at - running_since
            running_since = at if runs else None
        return total


class ClientPool:
    """Pairs of callers, whose event loop runs in a thread.

    Entering it connects all of them; `ring` starts their calls.
    """

    def __init__(self, server: ServerProcess, parties: Sequence[tuple[Party, Party]]) -> None:
        self._server = server
        port = server.websocket_port
        self.pairs = [Pair(Caller(fan, port), Caller(creator, port)) for fan, creator in parties]
        self.callers = [caller for pair in self.pairs for caller in pair.both]
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._loop: asyncio.AbstractEventLoop
        self._stopped: asyncio.Event

    def __enter__(self) -> Self:
        self._thread.start()
        self.wait_all(lambda pair: all(caller.sessions for caller in pair.both), "everybody's session")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(PATIENCE_SECONDS)

    def ring(self) -> None:
        """Let every fan call and every creator accept; return once both parties of each call have received a block."""
        for pair in self.pairs:
            answer = self.init(pair)
            assert answer.status_code == 201, (answer.text, self._server.errors.all())
        self.wait_all(lambda pair: pair.last_block() > 0, "every call's first block")

    def init(self, pair: Pair) -> httpx.Response:
        body = {"creatorId": str(pair.creator.party.user_id)}
        return self._server.post("/api/calls/init", pair.fan.party.token, body)

    def wait_all(self, holds: Callable[[Pair], bool], what: str) -> None:
        eventually(lambda: all(holds(pair) for pair in self.pairs), what, PATIENCE_SECONDS)

    def wait_more_blocks(self, count: int = 1) -> None:
        """Wait until every call has charged `count` further blocks."""
        before = [pair.last_block() for pair in self.pairs]
        wanted = dict(zip((pair.call_id for pair in self.pairs), before, strict=True))
        self.wait_all(lambda pair: pair.last_block() >= wanted[pair.call_id] + count, "a further block of every call")

    async def _run(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        tasks = [asyncio.create_task(caller.run()) for caller in self.callers]
        await self._stopped.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def party(user_id: UUID, secret: str) -> Party:
    return Party(user_id, issue_token(secret, user_id, role=None, ttl_seconds=3600, now=time.time()))


def moment(text: str) -> float:
    """Return the unix seconds of an RFC 3339 timestamp."""
    return datetime.fromisoformat(text).timestamp()


async def _send(socket: ClientConnection, **message: Any) -> None:
    await socket.send(json.dumps(message))
