"""Detects stalls: the process was stopped, its machine was suspended, or its event loop was blocked.

While a process stands still its clients continue: they send a hang-up, or disconnect. If deadlines simply ran after
the stall, blocks would be charged that nobody used. So rooms wait until what arrived in the stall has been read (see
`server/sessions/stall_recovery.py`).
"""

import time
from collections.abc import Callable
from math import inf
from typing import NamedTuple

import trio

STALL_SECONDS = 2.0  # between two checks: a shorter pause delays at most the next block
CHECK_SECONDS = 0.25  # between two checks of an idle server: how exactly the start of a stall is known


def seconds_suspended() -> float:
    """Return for how many seconds this machine was suspended since boot; 0 if the system does not report it."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    return 0.0


class Stall(NamedTuple):
    """The start and end of a stall, in the watch's time."""

    began: float
    over: float


class StallWatch:
    """Compares the time of each check with that of the one before; a jump is a stall.

    A stall is *open* from its detection until `end`: input that arrives counts as arrived in the stall, and rooms wait.
    The watch's time is trio's clock plus the time for which the machine was suspended. Trio's clock is CLOCK_MONOTONIC,
    which stands still during a suspension, while clients disconnect and the UTC times of rooms must remain correct. So
    a suspension is handled like any other stall, and rooms, which never read the wall clock, see time pass in it.
    """

    def __init__(self, slept: Callable[[], float] = seconds_suspended) -> None:
        self.began: float | None = None  # start of the open stall, in the watch's time
        self.last: Stall | None = None  # the last closed stall
        self.suspended = 0.0  # seconds that trio's clock does not include
        # In trio's time:
        self.noticed_at = -inf  # detection of the open stall, or of the last one
        self.over_at = -inf  # end of the last closed stall
        self.silent_before = -inf  # a member without a sign of life since then counts as silent
        self._seen = inf  # time of the last check, in the watch's time
        self._runs = False
        self._noticed = trio.Event()
        self._slept = slept
        self._slept_before = slept()

    def check(self) -> float:
        """Return the watch's time in seconds. Detects a stall of the process, but no suspension of the machine."""
        now = trio.current_time() + self.suspended
        if now - self._seen > STALL_SECONDS:
            self._notice()
        self._seen = now
        return now

    def check_for_suspension(self) -> bool:
        """Return whether a stall is open. Also detects a suspension, at the cost of two system calls."""
        slept = self._slept() - self._slept_before
        if slept > STALL_SECONDS:
            self._notice()
            self._slept_before += slept
            self.suspended += slept
        self.check()
        return self.began is not None

    def stalled_since(self, trio_time: float) -> bool:
        """Return whether a stall is open or was closed since `trio_time`, by trio's clock.

        A deadline that passed in between may have passed because of the stall, and is extended by its owner.
        """
        return self.check_for_suspension() or self.over_at >= trio_time

    async def wait(self) -> None:
        """Check every CHECK_SECONDS until a stall is open. No stall is detected before the first call.

        The start of the server may block the event loop for seconds, and then has no clients yet.
        """
        if not self._runs:
            self._runs, self._seen = True, trio.current_time() + self.suspended
        while not self.check_for_suspension():
            with trio.move_on_after(CHECK_SECONDS):
                await self._noticed.wait()

    def end(self, *, all_silent: bool) -> None:
        """Close the stall, so that rooms handle inputs and deadlines again.

        With `all_silent`, a member without a sign of life since its detection counts as silent.
        """
        if all_silent:
            self.silent_before = self.noticed_at
        if self.began is not None:
            self.last = Stall(self.began, self.check())
        self.began, self.over_at = None, trio.current_time()
        self._noticed = trio.Event()

    def _notice(self) -> None:
        if self._runs and self.began is None:
            self.began = self._seen
            self.noticed_at = trio.current_time()
            self._noticed.set()
