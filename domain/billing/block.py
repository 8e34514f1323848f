"""Which block is due, when, and at what price."""

from typing import Literal

import msgspec

from domain.instant import Duration, Instant

Rounding = Literal["up", "exact"]


class BlockPrice(msgspec.Struct, frozen=True):
    """What is locked into a call or stay as it begins: tokens a minute, seconds a block, and how a part is rounded."""

    rate_tokens_per_min: int
    block_seconds: int
    rounding: Rounding = "up"

    @property
    def block(self) -> Duration:
        return self.block_seconds * 1_000_000

    def tokens(self, block_no: int) -> int:
        """The price of block `block_no` (1, 2, 3 …) in whole tokens (CONTRACT §5, Blocks)."""
        if self.rounding == "up":
            return self._rounded_up(1)
        return self._rounded_up(block_no) - self._rounded_up(block_no - 1)

    def affordable(self, balance: int, after_block: int) -> int:
        """How many blocks after block `after_block` a balance pays for, one after the other."""
        if balance < 0:
            return 0
        if self.rounding == "up":
            return balance // self._rounded_up(1)
        # The largest last block whose cumulated price is within reach; prices are cumulated, so it can be solved.
        reach = balance + self._rounded_up(after_block)
        return reach * 60 // (self.rate_tokens_per_min * self.block_seconds) - after_block

    def _rounded_up(self, blocks: int) -> int:
        return -(-self.rate_tokens_per_min * self.block_seconds * blocks // 60)


MOST_RUNS = 64  # that a clock remembers: a payee's silence is noticed within seconds, and few runs fit into it


class ActiveClock:
    """Counts the time that is billed: it runs while no hold stands and keeps its count while stopped."""

    __slots__ = ("_counted", "_running_since", "_runs")

    def __init__(self, counted: Duration = 0) -> None:
        self._counted = counted
        self._running_since: Instant | None = None
        self._runs: tuple[tuple[Instant, Instant], ...] = ()  # the last ones that are over: from, to

    @property
    def running(self) -> bool:
        return self._running_since is not None

    def active(self, at: Instant) -> Duration:
        """The active time so far."""
        return self._counted if self._running_since is None else self._counted + at - self._running_since

    def reaches(self, active: Duration) -> Instant | None:
        """When the active time will be `active` if nothing stops the clock; None while it stands.

        Measured from when the clock was started, so a late wake-up never delays what comes after it.
        """
        return None if self._running_since is None else self._running_since + active - self._counted

    def start(self, at: Instant) -> None:
        if self._running_since is None:
            self._running_since = at

    def stop(self, at: Instant) -> None:
        if self._running_since is not None:
            self._counted = self.active(at)
            self._runs = (*self._runs[1 - MOST_RUNS :], (self._running_since, at))
            self._running_since = None

    def cut(self, counted: Duration, at: Instant) -> None:
        """Stop, and drop what was counted beyond `counted`: the latest time first, which can't be taken back again."""
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
        """Stop, and take back the time counted from `since` to `at`, which is now; returns how much that was.

        Only the last MOST_RUNS runs since a restart can be taken back.
        """
        self.stop(at)
        taken = sum(max(0, over - max(begun, since)) for begun, over in self._runs)
        self._counted -= taken
        self._runs = tuple((begun, min(over, since)) for begun, over in self._runs if begun < since)
        return taken
