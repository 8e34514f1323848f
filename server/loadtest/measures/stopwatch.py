"""What a load run costs its own machine, and how its counts grow second by second."""

import resource
import time
from typing import NamedTuple

import trio

from server.loadtest.measures.figures import LoadCounts, Sample

SAMPLE_SECONDS = 1.0
OWN_CLOCK_SECONDS = 0.02
KIB_A_MIB = 1024


class Reading(NamedTuple):
    """Counts at one moment, or between two."""

    seconds: float
    deliveries: float
    tips: float
    cpu_seconds: float

    def since(self, before: "Reading") -> "Reading":
        return Reading(*(now - then for now, then in zip(self, before, strict=True)))

    def per_second(self, count: float) -> float:
        return round(count / self.seconds, 1)

    @property
    def cpu_percent(self) -> float:
        """Of one core."""
        return round(self.cpu_seconds / self.seconds * 100, 1)


def read(counts: LoadCounts) -> Reading:
    return Reading(trio.current_time(), counts.deliveries, len(counts.round_trips), time.process_time())


async def sample(counts: LoadCounts, samples: list[Sample]) -> None:
    """Once a second, until cancelled."""
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
    """How late this program itself is woken: a round trip can hold as much that is not the server's."""
    while True:
        due = trio.current_time() + OWN_CLOCK_SECONDS
        await trio.sleep_until(due)
        counts.own_lateness.append((trio.current_time() - due) * 1000)


def memory_mib() -> float:
    """Resident, at most so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_A_MIB, 1)


def raise_file_limit() -> None:
    """As many sockets as the system lets us have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
