"""A server, the users who fuzz it, their rooms, and the state of these rooms."""

import itertools
import json
import secrets
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import UUID

import trio

from domain.protocol.commands import MAX_REF
from server.broadcast.codec import Encoding
from server.ids import new_uuid
from server.loadtest.measures.plan import LoadRefused
from server.loadtest.rest import RequestRefused, RestClient
from tests.fuzz.connection import LOST, FuzzedConnection, NotOpen
from tests.fuzz.document import Command, Field, close_codes, read_commands
from tests.fuzz.frames import Frame, Step, frame_of
from tests.fuzz.hostile import Written, written
from tests.storage.own_postgres import OwnPostgres
from tests.support.clients import token_of
from tests.support.honest_users import ask_if_possible, become_creator, give_tokens
from tests.support.json_schema import Json
from tests.support.processes import ServerProcess

STATES = ("active", "ringing", "paused", "ended", "away", "restarting", "draining")
ROLES = ("stranger", "fan", "creator", "streamer", "operator", "overlay")
ENDINGS = {"call:ended", "stream:ended", "room:closed", "access:revoked"}
MEMBERS = {"call": ("fan", "creator"), "stream": ("fan", "streamer", "operator")}
PLAYS_PER_ROOM = 8  # sequences; then its members are muted, removed or have left
ANSWER_SECONDS = 15.0  # for all commands of a sequence, even while the database reconnects
WARNED_OF = {"http.fault"}  # log events that count as errors at any level

in_thread = trio.to_thread.run_sync


class Fault(AssertionError):
    """Raised if the server did not behave as the contract requires."""


class World:
    """The server, users and rooms that sequences are played on; `arrange` restores them before each sequence."""

    def __init__(
        self, nursery: trio.Nursery, server: ServerProcess, postgres: OwnPostgres, keeper: ThreadPoolExecutor
    ) -> None:
        """`keeper` has one thread and outlives the world: PostgreSQL ends with the thread that started it."""
        self.server = server
        self.rest = RestClient(f"http://127.0.0.1:{server.http_port}")
        self.frames: Counter[str] = Counter()  # frames sent, by state
        self.answers: Counter[str] = Counter()
        self.ends: Counter[int] = Counter()
        self.commands: list[Command]
        self._documented: set[int]
        self._nursery = nursery
        self._postgres = postgres
        self._keeper = keeper
        self._users = {role: new_uuid() for role in ROLES}
        self._tokens = {
            role: token_of(user, role="operator" if role == "operator" else None, ttl_seconds=7200)
            for role, user in self._users.items()
        }
        self._connections: list[FuzzedConnection] = []
        self._refs = itertools.count(1)
        self._state = ""
        self._plays = 0
        self._call_id = str(new_uuid())
        self._channels = {"call": "nowhere", "stream": "nowhere", "none": secrets.token_urlsafe(16)}
        self._stream_id = ""
        self._log_lines = 0

    @property
    def operator(self) -> str:
        return self._tokens["operator"]

    async def begin(self) -> None:
        """Read the document that the server serves, and connect all users."""
        document: Json = await self.rest.ask("GET", "/asyncapi.json")
        self.commands, self._documented = read_commands(document), close_codes(document)
        for role in ("creator", "streamer"):
            await become_creator(self.rest, self._tokens[role])
        for role in ("fan", "stranger"):
            await self.rest.ask("GET", "/me", self._tokens[role])
            await give_tokens(self.rest, self.operator, self._users[role])
        made = await self.rest.ask("POST", "/overlay-tokens", self._tokens["streamer"], {"name": "scene"})
        tokens = self._tokens | {"overlay": made["secret"]}
        url = f"ws://127.0.0.1:{self.server.websocket_port}/ws"
        self._connections = [
            FuzzedConnection(self._nursery, url, role, tokens[role], encoding)
            for role in ROLES
            for encoding in Encoding
        ]

    # One sequence

    async def play(self, state: str, steps: list[Step]) -> None:
        """Set this state, send the frames of the steps, and check the server. Raises Fault."""
        await self.arrange(state)
        for connection in self._connections:
            connection.ends.clear()
        await self._change(state)
        for step in steps:
            await self._send(state, step)
        await self._change_back(state)
        for connection in self._connections:
            if not await connection.settle(ANSWER_SECONDS):
                raise Fault(
                    f"{connection.role} in {connection.encoding.name} was not answered: {connection.unanswered}"
                )
        if state != "draining":
            await self._wait_log_written()
        self._check(state)

    async def _send(self, state: str, step: Step) -> None:
        connection = self._connections[step.connection % len(self._connections)]
        if not connection.is_open:
            try:
                await connection.open()
            except NotOpen:
                return
        frame = self._frame(step)
        if self._command(step).name == "session:open" and step.target % 2:
            frame = await self._as_first_message(connection, frame)
        self.frames[state] += 1
        await connection.send(frame)

    def describe(self, step: Step) -> str:
        """Return a description of the step for the report of a fault, with the current refs and ids."""
        connection = self._connections[step.connection % len(self._connections)]
        return f"  {connection.role}, {connection.encoding.name}: {self._frame(step).payload[:300]!r}"

    def _command(self, step: Step) -> Command:
        return self.commands[step.command % len(self.commands)]

    def _frame(self, step: Step) -> Frame:
        connection, ref = self._connections[step.connection % len(self._connections)], f"f{next(self._refs)}"
        return frame_of(
            step, self._command(step), connection.encoding, lambda *of: self._usual(connection, step, *of), ref
        )

    async def _as_first_message(self, connection: FuzzedConnection, frame: Frame) -> Frame:
        """Send the frame as the first message of a new connection; the answer is `session:ready` or the end."""
        await connection.hang_up()
        with suppress(NotOpen):
            await connection.connect()
        return frame

    def _usual(self, connection: FuzzedConnection, step: Step, field: Field, value: int) -> Written:
        """Return a plausible value of the field, with ids and channels of rooms and members that exist."""
        members = [id_ for each in self._connections for id_ in each.member_ids.values()]
        room = ("call", "stream", "none")[step.target % 3]
        known: dict[str, Any] = {
            "channel": self._channels[room],
            "callId": self._call_id if step.target % 4 else str(new_uuid()),
            "to": members[value % len(members)] if members else str(new_uuid()),
            "userId": str(self._users[ROLES[value % len(ROLES)]]),
            "data": {"type": "offer", "sdp": "v=0\r\no=- 1 2 IN IP4 127.0.0.1"},
            "text": f"hello {value}",
            "message": "for the soup",
            "amountTokens": 1 + value % 3,
            "key": f"key {value % 50}",
            "token": connection.token,
            "sinceTipId": str(UUID(int=1)),
            "resume": {"sessionId": str(new_uuid()), "channels": []},
        }
        if field.allowed:
            return written(field.allowed[value % len(field.allowed)])
        by_kind = {"uuid": str(UUID(int=value)), "integer": value, "object": {}, "array": []}
        return written(known.get(field.name, by_kind.get(field.kind, "x" * min(value, MAX_REF))))

    # The state of the rooms

    async def arrange(self, state: str) -> None:
        if not self.server.running:
            await in_thread(self.server.start)
            self._log_lines = 0
            self._plays = 0
        async with trio.open_nursery() as nursery:
            for connection in self._connections:
                nursery.start_soon(self._restore, connection)
        if away := [
            f"{connection.role} in {connection.encoding.name}: {connection.ends}"
            for connection in self._connections
            if not connection.is_open
        ]:
            raise Fault(f"not let in any more, with {away[0]} and {len(away) - 1} others")
        self._plays += 1
        if state != self._state or self._plays >= PLAYS_PER_ROOM or (self._is_over() and state != "ended"):
            self._state, self._plays = state, 0
            await self._make_rooms()
            if state == "ringing":
                return
            await self._enter()
        if state == "paused":
            await self._as("fan", "call:pause", callId=self._call_id)
        if state == "ended" and self._plays == 0:
            await self._end_rooms()

    async def _restore(self, connection: FuzzedConnection) -> None:
        """Reopen a connection and settle it, so that the fault of one sequence is not found again in the next."""
        if connection.unanswered:
            await connection.hang_up()
        with trio.move_on_after(ANSWER_SECONDS):
            while not connection.is_open:
                try:
                    await connection.open()
                except NotOpen:
                    await trio.sleep(0.05)  # between two tries; a server that starts signals nothing

    def _is_over(self) -> bool:
        """Return whether an end of the room was received since the last call."""
        over = any(connection.events.keys() & ENDINGS for connection in self._connections)
        for connection in self._connections:
            connection.events.clear()
        return over

    async def _make_rooms(self) -> None:
        """Create a call that rings and a stream that is live."""
        await self._end_rooms()
        fan, streamer = self._tokens["fan"], self._tokens["streamer"]
        rung = await self._insist("/calls/init", fan, {"creatorId": str(self._users["creator"])})
        stream = (await self._insist("/streams", streamer, {"title": "What a day", "type": "public"}))["stream"]
        await self._insist(f"/streams/{stream['id']}/start", streamer)
        self._call_id, self._stream_id = rung["callId"], stream["id"]
        self._channels |= {"call": rung["channel"], "stream": stream["channel"]}

    async def _insist(self, path: str, token: str, body: Any = None) -> Any:
        """Repeat a request until it is granted: an earlier room may still be ending, or wait for its lease."""
        refusal: Exception | None = None
        with trio.move_on_after(ANSWER_SECONDS):
            while True:
                try:
                    return await self.rest.ask("POST", path, token, body)
                except (RequestRefused, LoadRefused) as refused:
                    refusal = refused
                await self._end_rooms()
                await trio.sleep(0.05)
        raise Fault(f"refused for {ANSWER_SECONDS:.0f} s: {refusal}")

    async def _end_rooms(self) -> None:
        await ask_if_possible(self.rest, "POST", f"/billing/{self._call_id}/stop", self._tokens["fan"])
        await ask_if_possible(self.rest, "POST", f"/streams/{self._stream_id}/end", self._tokens["streamer"])

    async def _enter(self) -> None:
        await ask_if_possible(self.rest, "POST", f"/calls/{self._call_id}/accept", self._tokens["creator"])
        for room, roles in MEMBERS.items():
            for role in roles:
                await self._as(role, "room:join", channel=self._channels[room])
        await self._as("overlay", "room:join", channel=self._channels["stream"], **{"as": "overlay"})
        for connection in self._connections:
            await connection.settle(ANSWER_SECONDS)

    async def _as(self, role: str, kind: str, **fields: Any) -> None:
        for connection in self._connections:
            if connection.role == role and connection.is_open:
                await connection.ask(kind, f"w{next(self._refs)}", **fields)

    async def _change(self, state: str) -> None:
        """Set this state just before the frames are sent."""
        match state:
            case "away":
                await in_thread(self._postgres.stop)
            case "restarting":
                await in_thread(self.server.kill)
                await in_thread(self.server.start)
                self._log_lines = 0
            case "draining":
                self.server.terminate()

    async def _change_back(self, state: str) -> None:
        match state:
            case "away":
                await in_thread(self._keeper.submit(self._postgres.start).result)
            case "draining":
                if (code := await in_thread(self.server.wait_exit)) != 0:
                    raise Fault(f"the server ended with {code}")

    # The checks

    def _check(self, state: str) -> None:
        if state != "draining" and not self.server.running:
            raise Fault(f"the server has ended: {self.server.errors.all()[-3:]}")
        self._check_log()
        gone = state in ("restarting", "draining")
        for connection in self._connections:
            for code in connection.ends:
                self.ends[code] += 1
                if code not in self._documented and not (code == LOST and gone):
                    raise Fault(f"{connection.role} in {connection.encoding.name} was put out with {code}")
            connection.ends.clear()
            self.answers.update(connection.refusals)
            connection.refusals.clear()

    async def _wait_log_written(self) -> None:
        """Wait until the log is written: it is complete when it has the line of a request that is made now."""
        await ask_if_possible(self.rest, "GET", "/config", self.operator)
        with trio.move_on_after(ANSWER_SECONDS):
            while not any('"/api/config"' in line for line in self.server.errors.all()[self._log_lines :]):  # noqa: ASYNC110  # reason: a thread reads it
                await trio.sleep(0.005)

    def _check_log(self) -> None:
        lines = self.server.errors.all()
        new, self._log_lines = lines[self._log_lines :], len(lines)
        for text in new:
            try:
                entry = json.loads(text)
            except ValueError:
                raise Fault(f"the server wrote {text!r}") from None
            if entry.get("level") in ("error", "critical") or entry.get("event") in WARNED_OF or "exception" in entry:
                raise Fault(f"the log says {text[:2000]}")

    def summary(self) -> str:
        frames = ", ".join(f"{count:,} {state}" for state, count in self.frames.items())
        return (
            f"{self.frames.total():,} frames ({frames})\n"
            f"refusals: {dict(self.answers.most_common())}\nends: {dict(sorted(self.ends.items()))}"
        )
