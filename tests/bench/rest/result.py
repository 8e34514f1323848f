"""The turns of a run and their ratios; each ratio compares turns of one round, so that a slow minute affects both."""

from collections.abc import Callable, Sequence

import msgspec

from tests.bench.turn import spread

Spread = tuple[float, float, float]  # least, median, most

OURS = "halfminute"
FEW, MANY = 16, 200  # connections


class Turn(msgspec.Struct, frozen=True):
    """One contestant's figures in one turn: microseconds of the server's CPU time for a request, and latencies."""

    contestant: str
    route: str
    connections: int
    requests: int
    seconds: float
    server_us: float
    client_us: float
    p50_ms: float
    p99_ms: float
    most_ms: float
    kept_waiting: float  # the part of the turn in which the server was ready while other processes had its core
    round: int = 0
    load: float = 0  # of the machine in the minute before, other programs included

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


class Reads(msgspec.Struct, frozen=True):
    """The CPU microseconds of a one-row read, through `storage.postgres` and of asyncpg alone, in one round."""

    halfminute_us: float
    asyncpg_us: float


class Rival(msgspec.Struct, frozen=True):
    """A ratio: our CPU time for a request at a route over that of another contestant for one of its own."""

    route: str
    contestant: str
    their_route: str
    at_most: float | None = None


QUART = {"healthz": 1.15, "config": None, "wallet": 1.5, "me": 1.6, "ledger": 2.0, "streams": 2.0, "tip": 2.3}
RIVALS = {f"{route}_vs_quart": Rival(route, "quart", "plain", most) for route, most in QUART.items()} | {
    f"{route}_vs_{peer}": Rival(route, peer, route) for peer in ("express", "starlette") for route in ("wallet", "tip")
}
READ_AT_MOST = 1.25


class Result(msgspec.Struct):
    """The content of `rest.json`. `ratios`: our CPU time over the other's, at 16 connections; less is better.

    `many_ratios` are the same at 200 connections, and `speed_ratios` our requests per second over theirs, at 16.
    """

    ratios: dict[str, float | None]
    ratio_spreads: dict[str, Spread]
    many_ratios: dict[str, float]
    speed_ratios: dict[str, float]
    read_us: Reads | None  # medians
    cores: int
    shared_core: bool  # whether servers and clients had to share a core
    skipped: list[str]
    runs: list[Turn]


def result_of(
    turns: Sequence[Turn], reads: Sequence[Reads], cores: int, shared_core: bool, skipped: list[str]
) -> Result:
    spreads = _spreads(turns, FEW, lambda ours, theirs: ours.server_us / theirs.server_us)
    if reads:
        spreads["read_vs_asyncpg"] = spread([each.halfminute_us / each.asyncpg_us for each in reads])
    return Result(
        ratios=dict.fromkeys((*RIVALS, "read_vs_asyncpg")) | _medians(spreads),
        ratio_spreads=spreads,
        many_ratios=_medians(_spreads(turns, MANY, lambda ours, theirs: ours.server_us / theirs.server_us)),
        speed_ratios=_medians(_spreads(turns, FEW, lambda ours, theirs: ours.per_second / theirs.per_second)),
        read_us=_median_reads(reads) if reads else None,
        cores=cores,
        shared_core=shared_core,
        skipped=skipped,
        runs=list(turns),
    )


def at_most(name: str) -> float | None:
    """Return the target of a ratio, or None if it has none."""
    return READ_AT_MOST if name == "read_vs_asyncpg" else RIVALS[name].at_most


def of(turns: Sequence[Turn], figure: Callable[[Turn], float]) -> Spread:
    """Return the least, the median and the greatest of a figure."""
    return spread([figure(turn) for turn in turns])


def grouped(turns: Sequence[Turn]) -> dict[tuple[str, str, int], list[Turn]]:
    """Return the rounds by contestant, route and connections."""
    groups: dict[tuple[str, str, int], list[Turn]] = {}
    for turn in turns:
        groups.setdefault((turn.contestant, turn.route, turn.connections), []).append(turn)
    return groups


def _spreads(turns: Sequence[Turn], connections: int, ratio: Callable[[Turn, Turn], float]) -> dict[str, Spread]:
    groups = grouped(turns)
    found = {}
    for name, rival in RIVALS.items():
        theirs = {turn.round: turn for turn in groups.get((rival.contestant, rival.their_route, connections), ())}
        ours = groups.get((OURS, rival.route, connections), ())
        if pairs := [(turn, theirs[turn.round]) for turn in ours if turn.round in theirs]:
            found[name] = spread([ratio(*pair) for pair in pairs])
    return found


def _medians(spreads: dict[str, Spread]) -> dict[str, float]:
    return {name: round(median, 3) for name, (_, median, _) in spreads.items()}


def _median_reads(reads: Sequence[Reads]) -> Reads:
    return Reads(
        spread([each.halfminute_us for each in reads])[1],
        spread([each.asyncpg_us for each in reads])[1],
    )
