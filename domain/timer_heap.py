"""The deadlines of many timers, the earliest first."""

from collections.abc import Hashable
from heapq import heappop, heappush
from typing import Generic, TypeVar

from domain.instant import Instant

K = TypeVar("K", bound=Hashable)


class TimerHeap(Generic[K]):
    """A heap with one deadline for each key.

    A replaced deadline stays in the heap until it comes first, and is then skipped: no heap entry is ever searched for.
    """

    def __init__(self) -> None:
        self._planned: dict[K, Instant] = {}
        self._heap: list[tuple[Instant, int, K]] = []
        self._count = 0  # breaks ties: of two deadlines at one moment, the earlier planned comes first

    def plan(self, key: K, at: Instant | None) -> None:
        """Set the deadline of `key` to `at`, in place of an earlier one; None removes it."""
        if at is None:
            self._planned.pop(key, None)
        elif self._planned.get(key) != at:
            self._planned[key] = at
            self._count += 1
            heappush(self._heap, (at, self._count, key))

    def first(self) -> tuple[Instant, K] | None:
        """Return the earliest deadline and its key, or None; the deadline stays in the heap."""
        while self._heap:
            at, _, key = self._heap[0]
            if self._planned.get(key) == at:
                return at, key
            heappop(self._heap)
        return None
