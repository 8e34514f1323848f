"""The timers of all rooms: one heap of times, with a single trio deadline."""

from heapq import heappop, heappush
from math import inf
from typing import Protocol

import trio


class TimerListener(Protocol):
    """An object that sets timers."""

    def on_timer(self, at: float) -> None:
        """Called once the time `at` of a timer has passed, also for a timer that a later one replaced."""
        ...


class RoomTimers:
    """A heap of times. `trio.move_on_at` for each wait would make up most of the cost of a room's meter."""

    def __init__(self) -> None:
        self._times: list[tuple[float, int, TimerListener]] = []
        self._count = 0  # orders the timers of one moment by the time they were set
        self._sleep = trio.CancelScope()

    def set(self, at: float, listener: TimerListener) -> None:
        """Call `on_timer` at time `at` of trio's clock. Earlier timers stay set; the client ignores outdated ones."""
        self._count += 1
        heappush(self._times, (at, self._count, listener))
        if at < self._sleep.deadline:
            self._sleep.deadline = at

    async def run(self) -> None:
        """Call the timers that are due, until cancelled."""
        while True:
            self._sleep = trio.CancelScope(deadline=self._times[0][0] if self._times else inf)
            with self._sleep:
                await trio.sleep_forever()
            now = trio.current_time()
            while self._times and self._times[0][0] <= now:
                at, _, listener = heappop(self._times)
                listener.on_timer(at)
