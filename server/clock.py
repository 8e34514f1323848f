"""One room's time: UTC in microseconds that never steps, however the machine's own clock is set meanwhile."""

import time

from domain.instant import Instant
from server.observability.stall_detector import StallWatch


class Clock:
    """Reads the wall clock once, and counts on from there by the time of a stall watch, which is monotonic.

    Each reading of the time is a look of the watch: nothing is stamped, and nothing falls due, past a stall that was
    not noticed.
    """

    __slots__ = ("_ahead", "stalls")

    def __init__(self, stalls: StallWatch | None = None) -> None:
        self.stalls = stalls or StallWatch()
        self._ahead = time.time() - self.stalls.look()

    def fork(self) -> "Clock":
        """A clock for one room: the same time now, and never set again."""
        other = Clock(self.stalls)
        other._ahead = self._ahead
        return other

    def follow(self) -> None:
        """Read the wall clock anew: two clocks drift apart by a second in a day. Rooms keep the one they have."""
        self._ahead = time.time() - self.stalls.look()

    def now(self) -> Instant:
        return self.at(self.stalls.look())

    def at(self, time_of_watch: float) -> Instant:
        """The moment at a time of the stall watch."""
        return int((time_of_watch + self._ahead) * 1_000_000)

    def at_trio(self, time_of_trio: float) -> Instant:
        """The moment at a time of trio's clock, if the machine was not suspended since."""
        return self.at(time_of_trio + self.stalls.suspended)

    def fell_in_stall(self, at: Instant) -> bool:
        """Whether that moment was in the last stall, which is over."""
        last = self.stalls.last
        return last is not None and self.at(last.began) <= at <= self.at(last.over)

    def trio_time(self, at: Instant) -> float:
        """When that moment comes, by trio's clock."""
        return at / 1_000_000 - self._ahead - self.stalls.suspended
