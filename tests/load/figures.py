"""Reads the figures of a load run: lateness from the journal, and the server's own histograms."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from storage.postgres import Postgres

BLOCKS = """
    SELECT c.id::text AS call_id, j.block_no, j.tokens,
           extract(epoch FROM c.started_at)::float8 + (j.block_no - 1) * c.block_seconds AS due_at,
           extract(epoch FROM j.created_at)::float8 AS posted_at
      FROM journal j JOIN calls c ON c.id = j.room_id WHERE j.kind = 1 ORDER BY c.id, j.block_no
"""

# A block is due at the start of each block_seconds of a call that was never paused, the first at once.
CALLS = """
    SELECT id::text AS call_id, end_reason,
           floor(extract(epoch FROM ended_at - started_at) / block_seconds)::int + 1 AS due_blocks
      FROM calls ORDER BY id
"""


class PostedBlock(NamedTuple):
    """A block in the journal; times are unix seconds by the clocks of this one machine."""

    call_id: str
    block_no: int
    tokens: int
    due_at: float
    posted_at: float

    @property
    def late_ms(self) -> float:
        return (self.posted_at - self.due_at) * 1000


class StoredCall(NamedTuple):
    """A call that is over, and the number of blocks that its length requires."""

    call_id: str
    end_reason: str | None
    due_blocks: int | None


async def read_blocks(postgres: Postgres) -> list[PostedBlock]:
    return [PostedBlock(*row.values()) for row in await postgres.fetch(BLOCKS)]


async def read_calls(postgres: Postgres) -> list[StoredCall]:
    return [StoredCall(*row.values()) for row in await postgres.fetch(CALLS)]


class Spread(msgspec.Struct, frozen=True):
    """Milliseconds at the printed percentiles."""

    count: int
    p50: float
    p99: float
    p999: float
    most: float


def spread(values: Iterable[float]) -> Spread:
    """Return percentiles by nearest rank, so that each figure is a value that occurred."""
    ordered = sorted(values)
    if not ordered:
        return Spread(0, math.nan, math.nan, math.nan, math.nan)
    return Spread(len(ordered), *(round(_at(ordered, part), 2) for part in (0.5, 0.99, 0.999, 1)))


def _at(ordered: Sequence[float], part: float) -> float:
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


class Histogram(msgspec.Struct, frozen=True):
    """A histogram of the server: for each bound the number of values up to it and above the one before."""

    count: int
    total: float
    buckets: dict[str, int]

    def bound(self, part: float) -> str:
        """Return the bound below which this share of all values lies."""
        seen = 0
        for bound, count in self.buckets.items():
            seen += count
            if seen >= part * self.count:
                return bound
        return "+Inf"


def read_histogram(exposition: str, name: str) -> Histogram:
    """Parse a histogram from Prometheus' text; it is empty if it is not there."""
    samples = [
        sample
        for metric in text_string_to_metric_families(exposition)
        if metric.name == name
        for sample in metric.samples
    ]
    buckets, before = {}, 0
    for sample in samples:
        if sample.name == f"{name}_bucket":
            buckets[sample.labels["le"]] = int(sample.value) - before
            before = int(sample.value)
    totals = {sample.name: sample.value for sample in samples if not sample.labels}
    return Histogram(int(totals.get(f"{name}_count", 0)), totals.get(f"{name}_sum", 0.0), buckets)
