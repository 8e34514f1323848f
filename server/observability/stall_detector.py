"""Notices that this process did nothing for a while: it was stopped, its machine was suspended, or its loop blocked."""

import time
from collections.abc import Callable
from math import inf
from typing import NamedTuple

import trio

STALL_SECONDS = 2.0  # between two looks: a shorter pause costs nobody more than the next block
LOOK_SECONDS = 0.25  # between two looks of an idle server, so how exactly the beginning of a stall is known


def seconds_suspended() -> float:
    """For how long this machine has been suspended since it booted; 0 where the system does not tell."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    return 0.0


class Stall(NamedTuple):
    """A time in which the process did nothing, by the watch's time."""

    began: float
    over: float


class StallWatch:
    """Compares the time at each look with that of the look before; a leap is a stall.

    From the moment in which a stall is noticed until `end`, it is *open*: what arrives counts as arrived in it, and
    rooms wait. The watch's time is trio's, plus the time for which the machine was suspended. Trio's clock is
    CLOCK_MONOTONIC, which stands still meanwhile; but people's time passes, they hang up and nobody hears it, and
    what rooms tell them in UTC has to stay true. So a suspension is a stall as any other, and for rooms, which never
    see the machine's wall clock, time passes in it.
    """

    def __init__(self, slept: Callable[[], float] = seconds_suspended) -> None:
        self.began: float | None = None  # of the stall that is open, by the watch's time
        self.last: Stall | None = None  # that was closed
        self.suspended = 0.0  # seconds that trio's clock does not know of
        # By trio's clock:
        self.noticed_at = -inf  # the stall that is open, or the last one
        self.over_at = -inf  # … closed
        self.silent_before = -inf  # a member that was not heard since then counts as silent
        self._seen = inf  # the last look, by the watch's time
        self._runs = False
        self._noticed = trio.Event()
        self._slept = slept
        self._slept_before = slept()

    def look(self) -> float:
        """The time now, in seconds. Notices a stall of the process."""
        now = trio.current_time() + self.suspended
        if now - self._seen > STALL_SECONDS:
            self._notice()
        self._seen = now
        return now

    def look_closely(self) -> bool:
        """Whether a stall is open. Notices also that the machine was suspended, which costs one system call more."""
        slept = self._slept() - self._slept_before
        if slept > STALL_SECONDS:
            self._notice()
            self._slept_before += slept
            self.suspended += slept
        self.look()
        return self.began is not None

    def stalled_since(self, trio_time: float) -> bool:
        """Whether a stall is open, or one was closed since then."""
        return self.look_closely() or self.over_at >= trio_time

    async def wait(self) -> None:
        """Look every `LOOK_SECONDS` until a stall is open. No stall is noticed before the first call."""
        if not self._runs:
            self._runs, self._seen = True, trio.current_time() + self.suspended
        while not self.look_closely():
            with trio.move_on_after(LOOK_SECONDS):
                await self._noticed.wait()

    def end(self, *, unheard: bool) -> None:
        """Close the stall. `unheard`: whoever was not heard since it was noticed counts as silent."""
        if unheard:
            self.silent_before = self.noticed_at
        if self.began is not None:
            self.last = Stall(self.began, self.look())
        self.began, self.over_at = None, trio.current_time()
        self._noticed = trio.Event()

    def _notice(self) -> None:
        if self._runs and self.began is None:
            self.began = self._seen
            self.noticed_at = trio.current_time()
            self._noticed.set()
