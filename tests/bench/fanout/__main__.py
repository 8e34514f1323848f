"""Measures side by side, in one run and in turn, how fast a room's events reach all its members. It also
measures an idle server: the memory of sessions, and rooms whose clocks run.

`python -m tests.bench.fanout`. Each contestant's room stands for the whole run, its server on one core and its members
on another; only one of them works at a time.
"""

import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import cyclopts
import msgspec
import trio

from tests.bench.fanout.contestants import PEERS, Peer, build_drainer, open_peers
from tests.bench.fanout.plot import draw
from tests.bench.fanout.quiet import measure_quiet
from tests.bench.fanout.result import OURS, SIZES, Delay, Result, Turn, result_of
from tests.bench.fanout.room import Cores, OpenRoom, choose_cores, open_room
from tests.bench.fanout.table import show
from tests.bench.report import in_turn, save
from tests.load.costs import raise_file_limit

EVENTS_MIN = 4
EVENTS_MAX = 1000  # of 200 bytes: far below what a send queue holds for a slow reader
SPARE_FILES = 100  # that a server has open beside its members' sockets
TOGETHER = (2, 5, 10)  # events per write; halfminute only


class Plan(msgspec.Struct, frozen=True):
    """The size of a run: members, rounds and seconds."""

    members: tuple[int, ...]
    rounds: int
    turn_seconds: float
    install_seconds: float
    sessions: int  # idle sessions of the memory measurement
    rooms: int  # calls with a running clock
    clock_seconds: float
    peers: tuple[str, ...] = PEERS


class Contestant(msgspec.Struct, frozen=True):
    """One contestant and workload that has a turn in each round."""

    room: OpenRoom
    events: int
    events_a_write: int


class Found(msgspec.Struct, frozen=True):
    """The measurements so far, and the reasons for contestants that were skipped."""

    turns: list[Turn]
    delays: list[Delay]
    skipped: list[str]


FULL = Plan(SIZES, rounds=11, turn_seconds=0.5, install_seconds=120, sessions=2400, rooms=10_000, clock_seconds=33)
QUICK = Plan(SIZES[:1], rounds=3, turn_seconds=0.2, install_seconds=12, sessions=1000, rooms=10_000, clock_seconds=3)


def main(
    *,
    quick: bool = False,
    out: Path | None = None,
    rounds: int | None = None,
    members: str | None = None,
    turn_seconds: float | None = None,
    peers: str | None = None,
    sessions: int | None = None,
    rooms: int | None = None,
    clock_seconds: float | None = None,
) -> None:
    """Send events to many members with each contestant and at the limit; print medians, spread and ratios.

    Then open idle sessions and let the clocks of calls run; print their memory and CPU time.

    Args:
        quick: Rooms of 1,000, fewer rounds and seconds: done within 50 seconds.
        out: A directory for `fanout.json` and `fanout.svg`.
        rounds: How often each contestant has a turn.
        members: The numbers of members of a room, separated by commas.
        turn_seconds: How long a turn is, about.
        peers: The contestants, separated by commas: ours, mixed, c, ws, socketio, websockets, awaiting.
        sessions: How many sessions join a room, for the memory measurement; 0 to leave it out.
        rooms: How many calls have running clocks.
        clock_seconds: How long the clocks are watched.
    """
    sizes = None if members is None else tuple(map(int, members.split(",")))
    names = None if peers is None else tuple(peers.split(","))
    if unknown := set(names or ()) - set(PEERS):
        sys.exit(f"--peers: unknown: {', '.join(sorted(unknown))}; known: {', '.join(PEERS)}")
    wanted = {
        "rounds": rounds,
        "members": sizes,
        "turn_seconds": turn_seconds,
        "peers": names,
        "sessions": sessions,
        "rooms": rooms,
        "clock_seconds": clock_seconds,
    }
    changes = {name: value for name, value in wanted.items() if value is not None}
    plan = msgspec.structs.replace(QUICK if quick else FULL, **changes)
    raise_file_limit()
    result = trio.run(run, plan)
    show(result)
    if out is not None and result.runs:
        save(out, "fanout", result, draw(result))


async def run(plan: Plan) -> Result:
    """Build and install the contestants, then measure each size of room, and then an idle server."""
    scratch = Path(tempfile.mkdtemp(prefix="halfminute-bench-"))
    cores = choose_cores()
    found = Found([], [], [])
    try:
        await _measure_all(plan, scratch, cores, found)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    quiet = None
    if plan.sessions:
        quiet = await measure_quiet(plan.sessions, plan.rooms, plan.clock_seconds, cores)
    return result_of(found.turns, found.delays, quiet, os.cpu_count() or 1, cores.shared, found.skipped)


async def _measure_all(plan: Plan, scratch: Path, cores: Cores, found: Found) -> None:
    drainer, missing = await build_drainer(scratch)
    if missing:
        found.skipped.append(f"everybody: skipped, {missing}")
        return
    peers, skipped = await open_peers(scratch, plan.peers, plan.install_seconds)
    found.skipped.extend(skipped)
    for members in plan.members:
        if members + SPARE_FILES > (limit := resource.getrlimit(resource.RLIMIT_NOFILE)[0]):
            found.skipped.append(f"{members:,} members: skipped, a process may open no more than {limit:,} files")
            continue
        await _measure(peers, members, drainer, cores, plan, found)


async def _measure(peers: Sequence[Peer], members: int, drainer: str, cores: Cores, plan: Plan, found: Found) -> None:
    async with AsyncExitStack() as stack:
        rooms = [await stack.enter_async_context(open_room(peer, members, drainer, cores)) for peer in peers]
        contestants = [contestant for room in rooms for contestant in await _warmed_up(room, plan.turn_seconds)]
        found.turns.extend(await _take_turns(contestants, plan.rounds))
        for room, events, events_a_write in map(msgspec.structs.astuple, contestants):
            if room.peer.name == OURS and events_a_write == 1:
                found.delays.append(await room.delay(events))


async def _warmed_up(room: OpenRoom, turn_seconds: float) -> list[Contestant]:
    """Return the contestants of this room, each warmed up with as many events as fill a turn."""
    found = []
    for events_a_write in (1, *TOGETHER) if room.peer.name == OURS else (1,):
        events = EVENTS_MIN
        for _ in range(2):  # the first few events are not representative
            turn = await room.turn(events, events_a_write)
            events = round(turn_seconds * turn.per_second / room.members)
            events = min(max(events, EVENTS_MIN), EVENTS_MAX) // events_a_write * events_a_write or events_a_write
        found.append(Contestant(room, events, events_a_write))
    return found


async def _take_turns(contestants: list[Contestant], rounds: int) -> list[Turn]:
    turns: list[Turn] = []
    for round_no in range(1, rounds + 1):
        for room, events, events_a_write in map(msgspec.structs.astuple, in_turn(contestants, round_no)):
            turn = await room.turn(events, events_a_write)
            turns.append(msgspec.structs.replace(turn, round=round_no))
            what = f"{turn.contestant}, {turn.members} members, {events_a_write} a write"
            figures = f"{turn.per_second:,.0f}/s, {turn.server_us:.2f} us"
            print(f"round {round_no}: {what}: {figures}", file=sys.stderr, flush=True)
    return turns


if __name__ == "__main__":
    cyclopts.run(main)
