"""The clients of a load run, in a process of their own: each on a websocket, two of them a call.

Reads a plan (JSON) from standard input and writes a line as each phase begins, then one line with its report.
"""

import gc
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import httpx
import msgspec
import trio

from server.access.tokens import issue_token
from server.loadtest.measures.figures import BlockClock
from tests.load.connection import Connection, open_connection

TOKEN_SECONDS = 24 * 3600
OPENED_AT_ONCE = 32  # handshakes under way: enough to keep the server busy, too few to time out
REQUESTS_AT_ONCE = 8
ANSWER_SECONDS = 20.0
PATIENCE_SECONDS = 60.0  # for an expected event: a first block, an end

Phase = Literal["open", "ringing", "up", "aligning", "aligned", "over", "ended"]


class Plan(msgspec.Struct, frozen=True):
    """The pairs of callers, the server's ports, and the length of each phase in seconds."""

    http_port: int
    websocket_port: int
    jwt_secret: str
    pairs: list[tuple[UUID, UUID]]  # fan, creator
    ramp_seconds: float
    call_seconds: float  # at most: a line on standard input ends it, and the time below
    align_seconds: int = 0  # the length of a block, if all blocks are to fall due at the same moment after the calls …
    aligned_seconds: float = 0  # … and how long the calls last then


class Block(msgspec.Struct, frozen=True, array_like=True):
    """A block as a party received it, and when (unix seconds)."""

    block_no: int
    tokens: int
    seen_at: float
    late_ms: float | None = None  # from due to booked, by the server's own clock; None of a first one


class PartyReport(msgspec.Struct):
    """The events of a call that one party received."""

    blocks: list[Block] = []
    end_reason: str = ""
    end_blocks: int = 0
    end_tokens: int = 0
    faults: list[str] = []  # events and answers that the client did not expect


class CallReport(msgspec.Struct):
    """One call as both parties received it."""

    call_id: str
    fan: PartyReport
    creator: PartyReport


class Report(msgspec.Struct, tag="report"):
    """The last line of the process: every call of the plan."""

    calls: list[CallReport]


class Milestone(msgspec.Struct, frozen=True, tag="milestone"):
    """The line that marks the start of a phase."""

    phase: Phase


class Party:
    """One party of one call; the one with `answers` is called, the other one calls."""

    def __init__(self, token: str, *, answers: bool) -> None:
        self._token = token
        self._answers = answers
        self._connection: Connection
        self._seq = 0
        self._clock = BlockClock()
        self.due_at: float | None = None  # the next block
        self.may_pause = False
        self.call_id = ""
        self.report = PartyReport()
        self.ready, self.paid, self.over = trio.Event(), trio.Event(), trio.Event()

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    async def listen(self, port: int, limit: trio.CapacityLimiter) -> None:
        """Until the server closes the line, which it should not, or cancelled."""
        async with limit:
            self._connection = await open_connection(port, self._token)
            ready = await self._take_next()
        while ready and await self._take_next():
            pass
        self.report.faults.append(f"the server closed the connection: {self._connection.close_code}")
        self.ready.set()

    async def hang_up(self) -> None:
        await self._connection.send(type="call:end", callId=self.call_id)

    async def pause(self, seconds: float) -> None:
        """Every block from here on falls due so much later."""
        await self._connection.send(type="call:pause", callId=self.call_id)
        await trio.sleep(seconds)
        await self._connection.send(type="call:resume", callId=self.call_id)

    async def _take_next(self) -> bool:
        event = await self._connection.next_event()
        if event is not None:
            await self._take(event)
        return event is not None

    async def _take(self, event: dict[str, Any]) -> None:
        if "seq" in event:
            self._check_sequence(event)
        late_ms = self._clock.take(event)
        match event["type"]:
            case "session:ready":
                self.ready.set()
            case "call:ringing":
                self.call_id = event["callId"]
                if self._answers:
                    await self._connection.send(type="call:accept", callId=self.call_id)
            case "call:accepted":
                await self._connection.send(type="room:join", channel=event["channel"])
            case "block:charged":
                self.report.blocks.append(Block(event["blockNo"], event["tokens"], time.time(), late_ms))
                self.due_at = _moment(event["nextAt"])
                self.paid.set()
            case "call:ended":
                self._note_end(event)
            case "call:paused" if self.may_pause:
                pass
            case "error" | "call:paused" | "balance:low" | "call:missed":
                self.report.faults.append(msgspec.json.encode(event).decode())

    def _check_sequence(self, event: dict[str, Any]) -> None:
        if event["type"] == "room:joined":
            self._seq = event["seq"]
        elif event["seq"] == self._seq + 1:
            self._seq += 1
        else:
            self.report.faults.append(f"event {event['seq']} came after {self._seq}")

    def _note_end(self, event: dict[str, Any]) -> None:
        self.report.end_reason = event["reason"]
        self.report.end_blocks, self.report.end_tokens = event["blocks"], event["tokens"]
        self.over.set()


class ClientPool:
    """Everybody, and what they do one after the other."""

    def __init__(self, plan: Plan, http: httpx.AsyncClient) -> None:
        self._plan = plan
        self._http = http
        self._requests = trio.CapacityLimiter(REQUESTS_AT_ONCE)
        now = time.time()
        tokens = [[_token(plan, user, now) for user in pair] for pair in plan.pairs]
        self._calls = [(Party(fan, answers=False), Party(creator, answers=True)) for fan, creator in tokens]
        self._everybody = [party for call in self._calls for party in call]

    async def run(self) -> Report:
        """Open all connections, ring, hold the calls and hang up; print each phase."""
        async with trio.open_nursery() as lines:
            await self._open(lines)
            # Objects that exist now live to the end: collecting them would only take CPU time from the server.
            gc.freeze()
            _write(Milestone("ringing"))
            await self._ring_everybody()
            _write(Milestone("up"))
            await _hold(self._plan.call_seconds)
            if self._plan.align_seconds:
                _write(Milestone("aligning"))
                await self._align()
                _write(Milestone("aligned"))
                await _hold(self._plan.aligned_seconds)
            _write(Milestone("over"))
            await self._hang_up_everybody()
            _write(Milestone("ended"))
            lines.cancel_scope.cancel()
        return Report([self._call_report(index) for index in range(len(self._calls))])

    async def _open(self, lines: trio.Nursery) -> None:
        limit = trio.CapacityLimiter(OPENED_AT_ONCE)
        for party in self._everybody:
            lines.start_soon(party.listen, self._plan.websocket_port, limit)
        for party in self._everybody:
            with trio.fail_after(PATIENCE_SECONDS):
                await party.ready.wait()
        _write(Milestone("open"))

    async def _ring_everybody(self) -> None:
        """Start every call, and return when each has its first block."""
        await self._one_after_the_other(self._ring)
        with trio.move_on_after(PATIENCE_SECONDS):
            for fan, creator in self._calls:
                await fan.paid.wait()
                await creator.paid.wait()

    async def _ring(self, index: int) -> None:
        fan, _ = self._calls[index]
        key = {"Idempotency-Key": f"call {index}"}  # as an app sends it, which may have to repeat the request
        await self._ask("POST", "/calls/init", fan, {"creatorId": str(self._plan.pairs[index][1])}, key)

    async def _align(self) -> None:
        """Let each fan pause until its blocks fall due together with those of the first call."""
        first = self._calls[0][0].due_at
        for party in self._everybody:
            party.may_pause = True

        async def wait(index: int) -> None:
            fan, _ = self._calls[index]
            assert first is not None and fan.due_at is not None, "everybody has a block"
            await fan.pause((first - fan.due_at) % self._plan.align_seconds)

        await self._one_after_the_other(wait)

    async def _hang_up_everybody(self) -> None:
        await self._one_after_the_other(lambda index: self._calls[index][0].hang_up())
        with trio.move_on_after(PATIENCE_SECONDS):
            for party in self._everybody:
                await party.over.wait()

    async def _one_after_the_other(self, act: Callable[[int], Awaitable[None]]) -> None:
        """Run `act` per call, evenly over the ramp. Times count from its start: a late call never delays the next."""
        started = trio.current_time()
        pause = self._plan.ramp_seconds / len(self._calls)
        async with trio.open_nursery() as nursery:
            for index in range(len(self._calls)):
                await trio.sleep_until(started + index * pause)
                nursery.start_soon(act, index)

    async def _ask(
        self, method: str, path: str, party: Party, body: dict[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        async with self._requests:
            answer = await self._http.request(method, path, json=body, headers={**party.headers, **(headers or {})})
        if not answer.is_success:
            party.report.faults.append(f"{method} {path}: {answer.status_code} {answer.text}")

    def _call_report(self, index: int) -> CallReport:
        fan, creator = self._calls[index]
        return CallReport(fan.call_id, fan.report, creator.report)


async def main() -> None:
    """Run the plan in the first line of standard input."""
    plan = msgspec.json.decode(sys.stdin.buffer.readline(), type=Plan)
    address = f"http://127.0.0.1:{plan.http_port}/api"
    async with httpx.AsyncClient(base_url=address, timeout=ANSWER_SECONDS, verify=False) as http:
        _write(await ClientPool(plan, http).run())


async def _hold(seconds: float) -> None:
    """Wait so long, or until the next line of standard input."""
    with trio.move_on_after(seconds):
        if not await trio.to_thread.run_sync(sys.stdin.buffer.readline, abandon_on_cancel=True):
            await trio.sleep_forever()  # it is closed


def _moment(text: str | None) -> float | None:
    """Convert an RFC 3339 time to unix seconds."""
    return None if text is None else datetime.fromisoformat(text).timestamp()


def _token(plan: Plan, user_id: UUID, now: float) -> str:
    return issue_token(plan.jwt_secret, user_id, ttl_seconds=TOKEN_SECONDS, now=now)


def _write(line: Milestone | Report) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    trio.run(main)
