"""When each of many clocks will next do something, the earliest first."""

from collections.abc import Hashable
from heapq import heappop, heappush
from typing import Generic, TypeVar

from domain.instant import Instant

K = TypeVar("K", bound=Hashable)


class TimerHeap(Generic[K]):
    """A heap in which what was planned otherwise meanwhile stays until its turn, and is then passed over."""

    def __init__(self) -> None:
        self._planned: dict[K, Instant] = {}
        self._heap: list[tuple[Instant, int, K]] = []
        self._count = 0  # of two at one moment, the one planned first comes first

    def plan(self, key: K, at: Instant | None) -> None:
        """From now on `key` does something at `at`, or nothing."""
        if at is None:
            self._planned.pop(key, None)
        elif self._planned.get(key) != at:
            self._planned[key] = at
            self._count += 1
            heappush(self._heap, (at, self._count, key))

    def first(self) -> tuple[Instant, K] | None:
        """What comes next; it stays planned."""
        while self._heap:
            at, _, key = self._heap[0]
            if self._planned.get(key) == at:
                return at, key
            heappop(self._heap)
        return None
