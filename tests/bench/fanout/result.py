"""The turns of a run and their ratios; each ratio compares turns of one round, so that a slow minute affects both."""

from collections.abc import Callable, Sequence

import msgspec

from tests.bench.fanout.ours import MIXED
from tests.bench.turn import spread

Spread = tuple[float, float, float]  # least, median, most


class Turn(msgspec.Struct):
    """One contestant's figures in one turn: events received by all members, microseconds of CPU time a delivery."""

    contestant: str
    members: int
    events_a_write: int
    deliveries: int
    bytes: int  # of frames, as counted by the members
    seconds: float  # from before the first event until the last member has received the last one
    server_us: float
    drainer_us: float  # of the process that runs all members
    kept_waiting: float  # the part of the turn in which the server was ready while other processes had its core
    deliveries_a_read: float  # more than one if the members did not keep up, or if several events shared a write
    round: int = 0
    load: float = 0  # of the machine in the minute before, other programs included

    @property
    def per_second(self) -> float:
        return self.deliveries / self.seconds


class Delay(msgspec.Struct):
    """How late a block of another room was beside a broadcast to so many members, in milliseconds."""

    members: int
    p99_ms: float
    most_ms: float


class Quiet(msgspec.Struct):
    """The figures of an idle server. KB are of 1,000 bytes; `bare_kb`: a connection of trio-websocket alone.

    `bare_core_percent`: the same calls without rooms, by one task with a heap of deadlines.
    """

    sessions: int
    kb_per_session: float
    bare_kb: float
    rooms: int
    core_percent: float
    p99_ms: float
    blocks: float
    bare_core_percent: float

    @property
    def clocks_vs_bare(self) -> float:
        """The CPU time of rooms with clocks, as a multiple of that of the rules alone."""
        return self.core_percent / self.bare_core_percent


class Target(msgspec.Struct):
    """A contestant's CPU time a delivery over ours, and how much it should be at least."""

    below: str
    members: int
    at_least: float

    def holds(self, value: float) -> bool:
        return value >= self.at_least


class Result(msgspec.Struct):
    """The content of `fanout.json`. `ratios`: the contestant's CPU time a delivery over ours, whichever other processes
    use the cores; `speed_ratios`: our deliveries a second over theirs, the same on a machine that does nothing else.
    """

    ratios: dict[str, float | None]
    kb_per_session: float | None  # of 1,000 bytes, for an idle session that joined a room
    clocks_core_percent: float | None  # of 10,000 calls whose clocks run
    clocks_p99_ms: float | None  # how late a block of theirs is
    clocks_vs_bare: float | None  # their CPU time over that of one task with a heap of the same calls' deadlines
    quiet: Quiet | None
    delays: list[Delay]
    ratio_spreads: dict[str, Spread]
    speed_ratios: dict[str, float]
    cores: int
    shared_core: bool  # whether server and members had to share a core
    skipped: list[str]
    runs: list[Turn]


OURS = "ours"
LEAST = {"c": 0.85, "ws": 1.45, "socketio": 1.9}  # their CPU time over ours, at one event per write
SIZES = (1000, 5000)
MOST = {"kb_per_session": 20.0, "clocks_core_percent": 10.0, "clocks_p99_ms": 20.0, "clocks_vs_bare": 1.8}
DELAY_MOST_MS = 20.0  # of a block in another room, by one broadcast to 5,000
TARGETS = {f"vs_{below}_{size}": Target(below, size, least) for size in SIZES for below, least in LEAST.items()}


def result_of(
    turns: Sequence[Turn],
    delays: list[Delay],
    quiet: Quiet | None,
    cores: int,
    shared_core: bool,
    skipped: list[str],
) -> Result:
    by_name = {f"vs_{below}_{members}": (below, members) for below, members in _rivals(turns)}
    spreads = {name: _ratio(turns, *rival, lambda turn: 1 / turn.server_us) for name, rival in by_name.items()}
    speeds = {name: _ratio(turns, *rival, lambda turn: turn.per_second) for name, rival in by_name.items()}
    return Result(
        ratios=dict.fromkeys(TARGETS) | {name: round(found[1], 3) for name, found in spreads.items()},
        kb_per_session=None if quiet is None else round(quiet.kb_per_session, 2),
        clocks_core_percent=None if quiet is None else round(quiet.core_percent, 2),
        clocks_p99_ms=None if quiet is None else round(quiet.p99_ms, 2),
        clocks_vs_bare=None if quiet is None else round(quiet.clocks_vs_bare, 2),
        quiet=quiet,
        delays=delays,
        ratio_spreads=spreads,
        speed_ratios={name: round(found[1], 3) for name, found in speeds.items()},
        cores=cores,
        shared_core=shared_core,
        skipped=skipped,
        runs=list(turns),
    )


def of(turns: Sequence[Turn], figure: Callable[[Turn], float]) -> Spread:
    """Return the least, the median and the greatest of a figure."""
    return spread([figure(turn) for turn in turns])


def grouped(turns: Sequence[Turn]) -> dict[tuple[int, str, int], list[Turn]]:
    """Return the rounds of each contestant by members, name and events per write."""
    groups: dict[tuple[int, str, int], list[Turn]] = {}
    for turn in turns:
        groups.setdefault((turn.members, turn.contestant, turn.events_a_write), []).append(turn)
    return groups


def _rivals(turns: Sequence[Turn]) -> list[tuple[str, int]]:
    """Return the contestants that can be compared with ours, at one event a write, and their numbers of members."""
    known = [(name, members) for members, name, events_a_write in grouped(turns) if events_a_write == 1]
    return [(name, members) for name, members in known if name not in (OURS, MIXED) and (OURS, members) in known]


def _ratio(turns: Sequence[Turn], below: str, members: int, figure: Callable[[Turn], float]) -> Spread:
    groups = grouped(turns)
    theirs = {turn.round: figure(turn) for turn in groups[members, below, 1]}
    return spread([figure(turn) / theirs[turn.round] for turn in groups[members, OURS, 1] if turn.round in theirs])
