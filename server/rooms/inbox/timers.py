"""Wakes rooms when their time has come: one deadline of trio's for all of them."""

from heapq import heappop, heappush
from math import inf
from typing import Protocol

import trio


class TimerListener(Protocol):
    """Who wants to be woken."""

    def on_timer(self, at: float) -> None:
        """The time has come that was asked for; or it had been, before another one was."""
        ...


class RoomTimers:
    """A heap of times. A cancel scope a room and wait, as `trio.move_on_at` has it, is most of what a clock costs."""

    def __init__(self) -> None:
        self._times: list[tuple[float, int, TimerListener]] = []
        self._count = 0  # of two at one moment, who asked first is woken first
        self._sleep = trio.CancelScope()

    def set(self, at: float, sleeper: TimerListener) -> None:
        """Wake this one at `at`, by trio's clock. What was asked for before stays, too: sleepers know the latest."""
        self._count += 1
        heappush(self._times, (at, self._count, sleeper))
        if at < self._sleep.deadline:
            self._sleep.deadline = at

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._sleep = trio.CancelScope(deadline=self._times[0][0] if self._times else inf)
            with self._sleep:
                await trio.sleep_forever()
            now = trio.current_time()
            while self._times and self._times[0][0] <= now:
                at, _, sleeper = heappop(self._times)
                sleeper.on_timer(at)
