"""The result of the turns of the tips bench, and its comparison with the targets."""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from server.loadtest.measures.figures import Spread, spread
from tests.bench.disk import Fsync

GAP_SECONDS = 0.5  # less than the time between two sweeps, more than within one

Beside = Literal["nothing", "calls", "sweep"]


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one turn: some fans who tip one creator for some seconds, and the server's other work."""

    fans: int
    beside: Beside
    calls: int
    seconds: float
    tips: int
    tips_per_second: float
    round_trip_ms: Spread
    sweep_ms: Spread  # the same, of tips that were under way during a sweep
    deliveries: int
    blocks: int
    block_late_ms: Spread  # from due to booked, by the server's own clock
    server_us: float  # CPU time of the server per tip, other work included
    server_cpu_percent: float  # of the one core that it has
    kept_waiting: float  # the part of the turn in which the server was ready while other processes had its core
    postgres_cpu_percent: float  # of whichever core is free
    client_cpu_percent: float  # of all members in this program, on the other core
    load: float  # of the machine in the minute before, other programs included


class Target(msgspec.Struct, frozen=True):
    """A figure of the turns, and its bound."""

    sentence: str
    at_least: float | None = None
    at_most: float | None = None

    def holds(self, value: float) -> bool:
        return value <= self.at_most if self.at_most is not None else value >= (self.at_least or 0)


# Ten times the older system's 171 tips a second at 16 fans, a tenth of its 77 ms and 258 ms, on a similar machine.
TARGETS = {
    "tips_per_second_16": Target("16 fans, tips a second", at_least=1710),
    "p50_ms_16": Target("16 fans, p50 of a tip in ms", at_most=7.7),
    "p99_ms_16": Target("16 fans, p99 of a tip in ms", at_most=25.8),
    # Users notice a block that is a quarter of a second late.
    "block_late_ms": Target("calls evenly billed: the latest block in ms", at_most=250),
    "sweep_late_ms": Target("all due at once: the latest block in ms", at_most=250),
}


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `tips.json`."""

    figures: dict[str, float | None]
    viewers: int
    block_seconds: int
    cores: int
    fsync: Fsync  # a commit takes at least as long
    audit_holds: bool
    turns: list[Turn]


def figures_of(turns: Sequence[Turn]) -> dict[str, float | None]:
    """Return the figures by the targets' names; None for those that were not measured."""
    alone = next((turn for turn in turns if (turn.fans, turn.beside) == (16, "nothing")), None)
    return {
        "tips_per_second_16": None if alone is None else alone.tips_per_second,
        "p50_ms_16": None if alone is None else alone.round_trip_ms.p50,
        "p99_ms_16": None if alone is None else alone.round_trip_ms.p99,
        "block_late_ms": _latest_ms(turns, "calls"),
        "sweep_late_ms": _latest_ms(turns, "sweep"),
    }


def _latest_ms(turns: Sequence[Turn], beside: Beside) -> float | None:
    late = (turn.block_late_ms.most for turn in turns if turn.beside == beside)
    return max((ms for ms in late if ms is not None), default=None)


def during(trips: Iterable[tuple[float, float]], windows: Sequence[tuple[float, float]]) -> Spread:
    """Return, of pairs (sent at, milliseconds), those that were under way within a window."""
    return spread(
        ms for sent_at, ms in trips if any(begin < sent_at + ms / 1000 and sent_at < end for begin, end in windows)
    )


def sweeps(blocks: Iterable[tuple[float, float]], crowded: int) -> list[tuple[float, float]]:
    """Return, of (due at, booked at), the time from first due to last booked of each `crowded` run of blocks."""
    runs: list[list[tuple[float, float]]] = []
    for block in sorted(blocks):
        if not runs or block[0] - runs[-1][-1][0] > GAP_SECONDS:
            runs.append([])
        runs[-1].append(block)
    return [(run[0][0], max(booked_at for _, booked_at in run)) for run in runs if len(run) >= crowded]
