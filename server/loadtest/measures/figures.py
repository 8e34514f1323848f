"""What a load run counts while it goes on, and what that comes to."""

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from server.loadtest.measures.plan import Plan


class LoadCounts:
    """The running counts of everybody in one run; milliseconds where it is about time."""

    def __init__(self) -> None:
        self.deliveries = 0  # sequenced events, each at each member
        self.errors: Counter[str] = Counter()
        self.reconnects = 0
        self.blocks = 0
        self.sent: Counter[str] = Counter()  # by command
        self.answered: Counter[str] = Counter()  # with ok
        self.round_trips = array("d")
        self.lateness = array("d")
        self.own_lateness = array("d")


class Spread(msgspec.Struct, frozen=True):
    """The percentiles that matter, by nearest rank: each is a value that occurred. All null if nothing did."""

    count: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    most: float | None = None


class Sample(msgspec.Struct, frozen=True):
    """A second of the run."""

    second: float  # of the talk, at its end
    deliveries: float  # a second, within it
    tips: float
    client_cpu_percent: float


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What `load.json` holds. What is said per second is of the time in which everybody talks."""

    plan: Plan
    began_at: str
    rooms: int  # that opened
    members: int
    connects_per_second: float  # handshake and session:ready
    seconds: float
    deliveries: int  # of the whole run, setting up and ending included
    deliveries_per_second: float
    commands: dict[str, int]
    tips_per_second: float
    round_trip_ms: Spread  # from tip:send to the sender's own tip:new
    blocks: int
    block_late_ms: Spread  # from due to booked
    lost: int
    doubled: int
    unanswered: int  # commands
    unheard_tips: int  # that were acknowledged
    reconnects: int
    errors: dict[str, int]
    client_cpu_percent: float  # of one core
    client_memory_mib: float
    client_late_ms: Spread  # how late this program's own clock woke it: what every round trip may hold of its own
    samples: list[Sample]
    round_trip_curve: list[float]  # percentiles 1 to 100
    lateness_curve: list[float]

    @property
    def faults(self) -> dict[str, int]:
        """What must not be: some delivery did not come, or came twice, or somebody was not answered."""
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
        if not self.faults:
            return "Every delivery came once and in order, and every command was answered."
        return f"FAILS: {', '.join(f'{count:,} {name}' for name, count in self.faults.items())}."


def spread(values: Iterable[float]) -> Spread:
    ordered = sorted(values)
    if not ordered:
        return Spread(0)
    return Spread(len(ordered), *(round(percentile(ordered, per_cent), 2) for per_cent in (50, 95, 99, 100)))


def percentile(ordered: Sequence[float], per_cent: int) -> float:
    """By nearest rank, in integers: 0.07 * 200 is more than 14."""
    return ordered[max(0, -(-per_cent * len(ordered) // 100) - 1)]


def curve(values: Iterable[float]) -> list[float]:
    """The percentiles from 1 to 100; none of nothing."""
    ordered = sorted(values)
    if not ordered:
        return []
    return [round(percentile(ordered, per_cent), 3) for per_cent in range(1, 101)]


class BlockClock:
    """How late one call's blocks are, by the server's own word: `at` of each against `nextAt` of the one before.

    Both are the server's clock, so the client's matters nothing, and `at` is when the books had the block: the figure
    holds the commit, which the histogram of /metrics does not, and is exact where a histogram knows buckets alone.
    """

    def __init__(self) -> None:
        self._due_at: str | None = None

    def take(self, event: dict[str, str | None]) -> float | None:
        """Milliseconds from due to booked, where an event tells it."""
        if event["type"] == "block:charged":
            due_at, self._due_at = self._due_at, event["nextAt"]
            return None if due_at is None else _milliseconds(due_at, event["at"] or "")
        if event["type"] in ("call:paused", "call:resumed"):  # the due time moves by as much as the clock stood
            self._due_at = None
        return None


def _milliseconds(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds() * 1000
