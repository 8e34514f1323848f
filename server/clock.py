"""The time of rooms: UTC in microseconds that never steps, even if the machine's wall clock is set meanwhile."""

import time

from domain.instant import Instant
from server.observability.stall_detector import StallWatch


class Clock:
    """A wall clock that advances with the monotonic time of a stall watch.

    The offset between the two is read once, and again only by `follow`.
    Each reading also lets the stall watch detect a stall, so that no input is stamped, and no deadline passes, after a
    stall that was not detected.
    The server has one such clock for everything outside of rooms. Each room has a fork of it, since no block may become
    due, or be postponed, because the machine's clock was corrected.
    """

    __slots__ = ("_ahead", "stalls")

    def __init__(self, stalls: StallWatch | None = None) -> None:
        self.stalls = stalls or StallWatch()
        self._ahead = time.time() - self.stalls.check()

    def fork(self) -> "Clock":
        """A clock for one room: it shows the same time, and a later `follow` of this clock does not change it.

        Both share the stall watch, so a stall that one of them detects is open for the other as well.
        """
        other = Clock(self.stalls)
        other._ahead = self._ahead
        return other

    def follow(self) -> None:
        """Read the wall clock again, since the two drift apart by a second a day. Forked clocks are not changed.

        Afterwards `now` may return an earlier instant than before. Called by maintenance every CLOCK_SECONDS.
        """
        self._ahead = time.time() - self.stalls.check()

    def now(self) -> Instant:
        """The present time, in microseconds of UTC."""
        return self.at(self.stalls.check())

    def at(self, time_of_watch: float) -> Instant:
        """The UTC instant of a time (in seconds) of the stall watch."""
        return int((time_of_watch + self._ahead) * 1_000_000)

    def at_trio(self, time_of_trio: float) -> Instant:
        """The UTC instant of a time of trio's clock; right if the machine has not been suspended since that time."""
        return self.at(time_of_trio + self.stalls.suspended)

    def fell_in_stall(self, at: Instant) -> bool:
        """Whether an instant lies in the last stall that has ended; False if there was none yet.

        A token that expired in a stall is still accepted shortly after it: its client could not renew it in time.
        """
        last = self.stalls.last
        return last is not None and self.at(last.began) <= at <= self.at(last.over)

    def trio_time(self, at: Instant) -> float:
        """The time of trio's clock at which an instant is reached, for `trio.sleep_until`; the inverse of `at_trio`."""
        return at / 1_000_000 - self._ahead - self.stalls.suspended
