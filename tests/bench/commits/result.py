"""The turns of a run and their ratios; each ratio compares turns of one round, so that a slow minute affects both."""

from collections.abc import Callable, Sequence

import msgspec

from tests.bench.disk import Fsync
from tests.bench.turn import Turn, spread

Spread = tuple[float, float, float]  # least, median, most


class Result(msgspec.Struct):
    """The content of `commits.json`: medians, the turns they are from, and figures of the disk and the machine."""

    ratios: dict[str, float | None]
    ratio_spreads: dict[str, Spread]
    batch_p99_ms: float
    fsync: Fsync
    journal_rows: int
    cores: int
    skipped: list[str]
    runs: list[Turn]


class Target(msgspec.Struct):
    """A ratio of two contestants' postings per second, and how much it should be at least or at most."""

    above: str
    below: str
    at_least: float | None = None
    at_most: float | None = None

    def holds(self, value: float) -> bool:
        if self.at_most is not None:
            return value <= self.at_most
        return self.at_least is not None and value >= self.at_least


TARGETS = {
    "vs_node_c10": Target("rooms", "node_c10", at_least=28),
    "vs_node_c10_hot": Target("rooms_hot", "node_c10_hot", at_least=45),
    "vs_copy_update": Target("rooms", "copy_update", at_least=1.0),
    "vs_copy": Target("rooms", "copy", at_least=0.45),
    "lone_vs_insert": Target("insert", "lone", at_most=1.5),
}
BATCH_P99_MS_MAX = 40
BATCHED = ("rooms", "rooms_hot")


def result_of(turns: Sequence[Turn], fsync: Fsync, journal_rows: int, cores: int, skipped: list[str]) -> Result:
    spreads = {name: _ratio(turns, target) for name, target in TARGETS.items()}
    return Result(
        ratios={name: None if found is None else round(found[1], 3) for name, found in spreads.items()},
        ratio_spreads={name: found for name, found in spreads.items() if found is not None},
        batch_p99_ms=round(max(of(turns, name, lambda turn: turn.p99_ms)[1] for name in BATCHED), 2),
        fsync=fsync,
        journal_rows=journal_rows,
        cores=cores,
        skipped=skipped,
        runs=list(turns),
    )


def of(turns: Sequence[Turn], contestant: str, figure: Callable[[Turn], float]) -> Spread:
    """Return the least, the median and the greatest of one contestant's figure."""
    return spread([figure(turn) for turn in turns if turn.contestant == contestant])


def _ratio(turns: Sequence[Turn], target: Target) -> Spread | None:
    found = {(turn.contestant, turn.round): turn for turn in turns}
    ratios = [
        _speed(turn, target) / _speed(found[target.below, turn.round], target)
        for turn in turns
        if turn.contestant == target.above and (target.below, turn.round) in found
    ]
    return spread(ratios) if ratios else None


def _speed(turn: Turn, target: Target) -> float:
    """Return the contestant's speed; of single commits the median, since one that meets a checkpoint tells nothing."""
    return 1000 / turn.p50_ms if target.at_most is not None else turn.per_second
