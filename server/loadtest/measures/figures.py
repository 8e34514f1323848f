"""The counts of a load run, and its result.

Every time is kept for its percentiles, since a histogram with fixed buckets would round the tail away.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from server.loadtest.measures.plan import Plan


class LoadCounts:
    """The running counts of all members of a run; times are in milliseconds.

    One object serves the whole run. All members add to it from one event loop, so it needs no lock.
    """

    def __init__(self) -> None:
        self.deliveries = 0  # sequenced events, counted at each member
        self.errors: Counter[str] = Counter()
        self.reconnects = 0
        self.blocks = 0
        self.sent: Counter[str] = Counter()  # by command
        self.answered: Counter[str] = Counter()  # with ok
        self.round_trips = array("d")
        self.lateness = array("d")
        self.own_lateness = array("d")


class Spread(msgspec.Struct, frozen=True):
    """Percentiles by nearest rank, so that each is a value that occurred; null without values."""

    count: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    most: float | None = None


class Sample(msgspec.Struct, frozen=True):
    """The figures of one second of the run."""

    second: float  # of the traffic phase, at its end
    deliveries: float  # per second
    tips: float
    client_cpu_percent: float


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `load.json`. Rates are of the traffic phase."""

    plan: Plan
    began_at: str
    rooms: int  # opened ones
    members: int
    connects_per_second: float  # handshake and session:ready
    seconds: float
    deliveries: int  # of the whole run, including setup and end
    deliveries_per_second: float
    commands: dict[str, int]
    tips_per_second: float
    round_trip_ms: Spread  # from tip:send to the sender's own tip:new
    blocks: int
    block_late_ms: Spread  # from due to booked
    lost: int
    doubled: int
    unanswered: int  # commands
    unheard_tips: int  # acknowledged tips without their event
    reconnects: int
    errors: dict[str, int]
    client_cpu_percent: float  # of one core
    client_memory_mib: float
    client_late_ms: Spread  # how late this program itself was woken, which a round trip may include
    samples: list[Sample]
    round_trip_curve: list[float]  # percentiles 1 to 100
    lateness_curve: list[float]

    @property
    def faults(self) -> dict[str, int]:
        """Return the non-zero counts of failures: lost or doubled deliveries, unanswered commands, unopened rooms."""
        counts = {
            "rooms not opened": self.plan.rooms - self.rooms,
            "deliveries lost": self.lost,
            "deliveries doubled": self.doubled,
            "commands unanswered": self.unanswered,
            "tips unheard": self.unheard_tips,
        }
        return {name: count for name, count in counts.items() if count}

    @property
    def verdict(self) -> str:
        """Return the result as a sentence, for the terminal and the page."""
        if not self.faults:
            return "Every delivery came once and in order, and every command was answered."
        return f"FAILS: {', '.join(f'{count:,} {name}' for name, count in self.faults.items())}."


def spread(values: Iterable[float]) -> Spread:
    """Return the percentiles of values, rounded to two decimals."""
    ordered = sorted(values)
    if not ordered:
        return Spread(0)
    return Spread(len(ordered), *(round(percentile(ordered, per_cent), 2) for per_cent in (50, 95, 99, 100)))


def percentile(ordered: Sequence[float], per_cent: int) -> float:
    """Return a percentile of sorted values, of which there is at least one, by nearest rank.

    The rank is computed in integers, since 0.07 * 200 exceeds 14 as a float.
    """
    return ordered[max(0, -(-per_cent * len(ordered) // 100) - 1)]


def curve(values: Iterable[float]) -> list[float]:
    """Return the percentiles from 1 to 100; an empty list without values."""
    ordered = sorted(values)
    if not ordered:
        return []
    return [round(percentile(ordered, per_cent), 3) for per_cent in range(1, 101)]


class BlockClock:
    """Measures how late the blocks of a call are: `at` of each block against `nextAt` of the one before.

    Both are times of the server's clock, and `at` is the time of the commit. So the figure includes the commit, unlike
    the histogram of /metrics, and is exact rather than in buckets.
    """

    def __init__(self) -> None:
        self._due_at: str | None = None

    def take(self, event: dict[str, str | None]) -> float | None:
        """Return the milliseconds from due to committed if this event ends such a span, else None."""
        if event["type"] == "block:charged":
            due_at, self._due_at = self._due_at, event["nextAt"]
            return None if due_at is None else _milliseconds(due_at, event["at"] or "")
        if event["type"] in ("call:paused", "call:resumed"):  # the due time moves by the duration of the pause
            self._due_at = None
        return None


def _milliseconds(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds() * 1000
