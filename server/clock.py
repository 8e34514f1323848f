"""One room's time: UTC in microseconds that never steps, however the machine's own clock is set meanwhile."""

import time

import trio

from domain.instant import Instant


class Clock:
    """Reads the wall clock once, and counts on from there by trio's monotonic clock."""

    __slots__ = ("_ahead",)

    def __init__(self) -> None:
        self._ahead = time.time() - trio.current_time()

    def fork(self) -> "Clock":
        """A clock for one room: the same time now, and never set again."""
        other = Clock()
        other._ahead = self._ahead
        return other

    def follow(self) -> None:
        """Read the wall clock anew: two clocks drift apart by a second in a day. Rooms keep the one they have."""
        self._ahead = time.time() - trio.current_time()

    def now(self) -> Instant:
        return int((trio.current_time() + self._ahead) * 1_000_000)

    def trio_time(self, at: Instant) -> float:
        """When that moment comes, by trio's clock."""
        return at / 1_000_000 - self._ahead
