"""Measures the load program itself: CPU, memory, its own lateness, and the counts of every second.

If the program is late by itself, or uses a whole core, its round trips say little about the server.
"""

import resource
import time
from typing import NamedTuple

import trio

from server.loadtest.measures.figures import LoadCounts, Sample

SAMPLE_SECONDS = 1.0
OWN_CLOCK_SECONDS = 0.02  # between two measurements of its own lateness
KIB_A_MIB = 1024


class Snapshot(NamedTuple):
    """Counts at one time, or the difference between two times."""

    seconds: float
    deliveries: float
    tips: float
    cpu_seconds: float

    def since(self, before: "Snapshot") -> "Snapshot":
        """Return the difference to an earlier reading."""
        return Snapshot(*(now - then for now, then in zip(self, before, strict=True)))

    def per_second(self, count: float) -> float:
        """Return a count divided by the seconds of this reading."""
        return round(count / self.seconds, 1)

    @property
    def cpu_percent(self) -> float:
        """Return the CPU time in percent of one core."""
        return round(self.cpu_seconds / self.seconds * 100, 1)


def read(counts: LoadCounts) -> Snapshot:
    """Return the present counts."""
    return Snapshot(trio.current_time(), counts.deliveries, len(counts.round_trips), time.process_time())


async def sample(counts: LoadCounts, samples: list[Sample]) -> None:
    """Append a sample every second, until cancelled."""
    first = before = read(counts)
    while True:
        await trio.sleep_until(first.seconds + (len(samples) + 1) * SAMPLE_SECONDS)
        now = read(counts)
        passed, before = now.since(before), now
        samples.append(
            Sample(
                second=round(now.since(first).seconds, 2),
                deliveries=passed.per_second(passed.deliveries),
                tips=passed.per_second(passed.tips),
                client_cpu_percent=passed.cpu_percent,
            )
        )


async def measure_own_lateness(counts: LoadCounts) -> None:
    """Measure how late this program is woken: a round trip may include that much that is not the server's delay."""
    while True:
        due = trio.current_time() + OWN_CLOCK_SECONDS
        await trio.sleep_until(due)
        counts.own_lateness.append((trio.current_time() - due) * 1000)


def memory_mib() -> float:
    """Return the peak resident memory in MiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_A_MIB, 1)


def raise_file_limit() -> None:
    """Raise the limit of open files to the hard limit: each member has a socket."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
