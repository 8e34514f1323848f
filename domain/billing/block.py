"""Blocks: which one is due, when, and at what price; and the clock of active time that decides it."""

from typing import Literal

import msgspec

from domain.instant import Duration, Instant

Rounding = Literal["up", "exact"]


class BlockPrice(msgspec.Struct, frozen=True):
    """The price that is fixed when a call or a viewing session begins.

    Tokens per minute, seconds per block, and how a fraction of a token is rounded: `up` rounds each block up, `exact`
    rounds the sum of all blocks so far.
    """

    rate_tokens_per_min: int
    block_seconds: int
    rounding: Rounding = "up"

    @property
    def block(self) -> Duration:
        """The length of a block in microseconds."""
        return self.block_seconds * 1_000_000

    def tokens(self, block_no: int) -> int:
        """Return the price of block `block_no` (1, 2, 3 …) in whole tokens (contract.md, Blocks)."""
        if self.rounding == "up":
            return self._rounded_up(1)
        return self._rounded_up(block_no) - self._rounded_up(block_no - 1)

    def affordable(self, balance: int, after_block: int) -> int:
        """Return for how many further blocks after block `after_block` a balance pays; 0 for a negative balance."""
        if balance < 0:
            return 0
        if self.rounding == "up":
            return balance // self._rounded_up(1)
        # Prices accumulate, so the last affordable block n is the largest with ceil(rate * seconds * n / 60) <= reach.
        reach = balance + self._rounded_up(after_block)
        return reach * 60 // (self.rate_tokens_per_min * self.block_seconds) - after_block

    def _rounded_up(self, blocks: int) -> int:
        return -(-self.rate_tokens_per_min * self.block_seconds * blocks // 60)


MOST_RUNS = 64  # remembered by a clock: silence is noticed within seconds, in which a clock runs a few times at most


class ActiveClock:
    """Counts the active time of one payer, which is what blocks are billed for.

    It runs while there is no hold, and keeps its count while it is stopped.
    """

    __slots__ = ("_counted", "_running_since", "_runs")

    def __init__(self, counted: Duration = 0) -> None:
        self._counted = counted
        self._running_since: Instant | None = None
        self._runs: tuple[tuple[Instant, Instant], ...] = ()  # the latest runs that are over: from, to

    @property
    def running(self) -> bool:
        """Whether the clock runs."""
        return self._running_since is not None

    def active(self, at: Instant) -> Duration:
        """Return the active time counted until `at`."""
        return self._counted if self._running_since is None else self._counted + at - self._running_since

    def reaches(self, active: Duration) -> Instant | None:
        """Return when the active time will be `active` if the clock runs on; None while it is stopped.

        Computed from the start of the run, so a late wake-up does not delay later deadlines.
        """
        return None if self._running_since is None else self._running_since + active - self._counted

    def start(self, at: Instant) -> None:
        """Run from `at`; do nothing if the clock runs already."""
        if self._running_since is None:
            self._running_since = at

    def stop(self, at: Instant) -> None:
        """Stop at `at`; do nothing if the clock is stopped already."""
        if self._running_since is not None:
            self._counted = self.active(at)
            self._runs = (*self._runs[1 - MOST_RUNS :], (self._running_since, at))
            self._running_since = None

    def cut(self, counted: Duration, at: Instant) -> None:
        """Stop, and drop the active time beyond `counted`, the latest first; it cannot be taken back a second time."""
        self.stop(at)
        excess, runs = max(0, self._counted - counted), self._runs
        self._counted -= excess
        while excess and runs:
            begun, over = runs[-1]
            ran = over - begun
            runs = runs[:-1] if ran <= excess else (*runs[:-1], (begun, over - excess))
            excess = max(0, excess - ran)
        self._runs = runs

    def stop_as_of(self, since: Instant, at: Instant) -> Duration:
        """Stop, and take back the time counted from `since` until now (`at`); return how much that was.

        Only the latest MOST_RUNS runs since a restart can be taken back.
        """
        self.stop(at)
        taken = sum(max(0, over - max(begun, since)) for begun, over in self._runs)
        self._counted -= taken
        self._runs = tuple((begun, min(over, since)) for begun, over in self._runs if begun < since)
        return taken
