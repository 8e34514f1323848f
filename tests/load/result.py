"""The parameters and the result of a load run: printed as a table, stored as JSON."""

import msgspec

from tests.load.checks import Check
from tests.load.figures import Histogram, Spread


class Load(msgspec.Struct, frozen=True):
    """The parameters of a load run: its size, its length, and the bounds of lateness."""

    calls: int = 1000
    seconds: float = 120
    block_seconds: int = 30
    ramp_seconds: float = 30
    p99_ms: float = 50
    most_ms: float = 250
    profile_seconds: int = 0


class Worst(msgspec.Struct, frozen=True):
    """One of the latest blocks: how late, and how long after the first ring it was due."""

    call_id: str
    block_no: int
    late_ms: float
    due_after_seconds: float


class Result(msgspec.Struct, frozen=True):
    """Lateness in milliseconds; CPU in percent of one core, while all calls were up."""

    load: Load
    posted: Spread  # from due to the journal's clock
    posted_while_up: Spread  # the same, without the time of ringing and hanging up
    received: Spread  # from due to the event that the fan received
    handed_over: Histogram  # by the server: seconds from due to the actor's mailbox
    commit: Histogram  # by the server: seconds from sending a batch to its answer
    batches: Histogram  # postings in a batch
    cpu_percent: dict[str, float]
    profile: dict[str, float]  # the share of each package in percent, while the server was sampled
    memory_mib: dict[str, float]
    worst: list[Worst]
    checks: list[Check]

    @property
    def us_a_call_and_second(self) -> float:
        """Microseconds of the server's CPU time for one second of one call."""
        return self.cpu_percent["server"] / 100 * 1e6 / self.load.calls

    @property
    def failures(self) -> list[Check]:
        return [check for check in self.checks if check.failures]
