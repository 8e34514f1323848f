"""The figures of one contestant in one turn."""

from collections.abc import Sequence
from statistics import median

import msgspec


class Turn(msgspec.Struct):
    """Postings booked within the seconds that count; milliseconds a batch, or a transaction; microseconds a posting."""

    contestant: str
    postings: int
    seconds: float
    p50_ms: float
    p99_ms: float
    client_us: float
    round: int = 0
    postgres_us: float = 0
    wal_bytes: float = 0
    load: float = 0  # of the machine in the minute before, other programs included

    @property
    def per_second(self) -> float:
        return self.postings / self.seconds


def percentile(values: Sequence[float], part: float) -> float:
    """Return a percentile by nearest rank, so that it is a value that occurred."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the least, the median and the greatest value."""
    return min(values), median(values), max(values)
