"""Holds calls that are billed while tips are measured, in a process of their own, and collects what they received."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol

import msgspec
import trio

from domain.ids import UserId
from server.ids import new_uuid
from storage.postgres import Postgres
from tests.load import client_pool
from tests.load.client_pool import Milestone, Phase, Report
from tests.load.setup import Server, add_users, read_lines, start_client_pool

SPARE_SECONDS = 60.0  # of the calls, after the last turn: at most
PHASE_SECONDS_MAX = 600.0  # ten thousand sessions and five thousand calls take a minute each on an idle machine


class PostedBlock(NamedTuple):
    """A block as a fan received it (unix seconds of this machine), and how late it was by the server's clock."""

    due_at: float
    booked_at: float
    late_ms: float


class Times(Protocol):
    """The length of each phase in seconds."""

    @property
    def block_seconds(self) -> int: ...

    @property
    def ramp_seconds(self) -> float: ...

    @property
    def call_seconds(self) -> float: ...

    @property
    def sweep_seconds(self) -> float: ...


class Calls:
    """Calls under way in another process."""

    def __init__(self, stdin: trio.abc.SendStream) -> None:
        self._stdin = stdin
        self._reached: dict[Phase, trio.Event] = {}
        self._report = Report([])

    async def reached(self, phase: Phase) -> None:
        with trio.fail_after(PHASE_SECONDS_MAX):
            await self._event(phase).wait()

    async def go_on_to(self, phase: Phase) -> None:
        """End the present phase. Raises AssertionError if it has ended before, so that it lacked some of the turns."""
        assert not self._event(phase).is_set(), f"{phase} began before the turns were over"
        await self._stdin.send_all(b"\n")
        await self.reached(phase)

    async def end(self) -> list[PostedBlock]:
        """Return every block whose lateness is known. Raises AssertionError if a call received an unexpected event."""
        await self.reached("ended")
        faults = [fault for call in self._report.calls for party in (call.fan, call.creator) for fault in party.faults]
        assert not faults, faults[:5]
        return [
            PostedBlock(block.seen_at - block.late_ms / 1000, block.seen_at, block.late_ms)
            for call in self._report.calls
            for block in call.fan.blocks
            if block.late_ms is not None
        ]

    async def follow(self, stdout: trio.abc.ReceiveStream) -> None:
        """Read milestones until the report arrives."""
        async for line in read_lines(stdout):
            message = msgspec.json.decode(line, type=Milestone | Report)
            if isinstance(message, Report):
                self._report = message
                self._event("ended").set()
            elif message.phase != "ended":
                self._event(message.phase).set()

    def _event(self, phase: Phase) -> trio.Event:
        return self._reached.setdefault(phase, trio.Event())


@asynccontextmanager
async def hold_calls(server: Server, postgres: Postgres, count: int, times: Times) -> AsyncIterator[Calls]:
    """Ring evenly over the ramp; later each fan pauses, so that all blocks fall due at the same moment."""
    pairs = [(new_uuid(), new_uuid()) for _ in range(count)]
    await add_users(postgres, [UserId(fan) for fan, _ in pairs], [UserId(creator) for _, creator in pairs])
    plan = client_pool.Plan(
        http_port=server.http_port,
        websocket_port=server.websocket_port,
        jwt_secret=server.jwt_secret(),
        pairs=pairs,
        ramp_seconds=times.ramp_seconds,
        call_seconds=times.call_seconds,
        align_seconds=times.block_seconds,
        aligned_seconds=times.sweep_seconds + SPARE_SECONDS,
    )
    async with trio.open_nursery() as nursery:
        process = await nursery.start(start_client_pool)
        await process.stdin.send_all(msgspec.json.encode(plan) + b"\n")
        calls = Calls(process.stdin)
        nursery.start_soon(calls.follow, process.stdout)
        yield calls
