"""The timers of all rooms: one heap of times, with a single trio deadline."""

from heapq import heappop, heappush
from math import inf
from typing import Protocol

import trio

# The least time between two wake-ups. A lone timer is exact. Of many, those due in this time are called together, and
# the blocks of their rooms are committed in one batch; each batch takes about a millisecond, however few it holds.
PAUSE_SECONDS = 0.015


class TimerListener(Protocol):
    """An object that sets timers."""

    def awaits(self, at: float) -> bool:
        """Return whether the timer for `at` is still needed; not if another one replaced it."""
        ...

    def on_timer(self, at: float) -> None:
        """Called once the time `at` of a timer has passed that this object awaits."""
        ...


class RoomTimers:
    """A heap of times. `trio.move_on_at` for each wait would make up most of the cost of a room's meter."""

    def __init__(self) -> None:
        self._times: list[tuple[float, int, TimerListener]] = []
        self._count = 0  # orders the timers of one moment by the time they were set
        self._sleep = trio.CancelScope()
        self._rests_until = -inf  # no wake-up before it

    def set(self, at: float, listener: TimerListener) -> None:
        """Call `on_timer` at time `at` of trio's clock. A timer that is not awaited any more is dropped."""
        self._count += 1
        heappush(self._times, (at, self._count, listener))
        if at < self._sleep.deadline:
            self._sleep.deadline = max(at, self._rests_until)

    async def run(self) -> None:
        """Call the timers that are due, each at most PAUSE_SECONDS after its time, until cancelled."""
        while True:
            self._sleep = trio.CancelScope(deadline=max(self._next_at(), self._rests_until))
            with self._sleep:
                await trio.sleep_forever()
            now = trio.current_time()
            self._rests_until = now + PAUSE_SECONDS
            while self._next_at() <= now:
                at, _, listener = heappop(self._times)
                listener.on_timer(at)

    def _next_at(self) -> float:
        """Return the earliest time that is awaited; inf if none is. Outdated times before it are dropped.

        Each call leaves one or two outdated times behind, from its ringing. To wake for them would double the wake-ups.
        """
        while self._times and not self._times[0][2].awaits(self._times[0][0]):
            heappop(self._times)
        return self._times[0][0] if self._times else inf
