"""The deadlines of one room: decisions that follow from time alone."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from domain.instant import Instant


class Deadline(NamedTuple):
    """A moment, and the function that is called with it once it is reached."""

    at: Instant
    happen: Callable[[Instant], None]


class DeadlineQueue:
    """Runs a room's deadlines in order, and remembers the next one.

    The rules compute their deadlines anew at each input, so none has to be cancelled.
    """

    __slots__ = ("_deadlines", "next_at")

    def __init__(self, deadlines: Callable[[], Iterable[Deadline]]) -> None:
        """`deadlines()` returns all deadlines of the room in its present state; of equal ones the first wins."""
        self._deadlines = deadlines
        self.recompute()

    def run(self, at: Instant) -> None:
        """Run the deadlines due by `at`, if the next one as of the last `recompute` is due."""
        if self.next_at is not None and self.next_at <= at:
            self.catch_up(at)

    def catch_up(self, at: Instant) -> None:
        """Run all deadlines due by `at`, in order.

        One that runs may set further ones, which run too if they are due.
        """
        while (first := self._first()) is not None and first.at <= at:
            first.happen(first.at)

    def recompute(self) -> None:
        """Recompute `next_at`, when the room must be handled next without an input; None if never."""
        first = self._first()
        self.next_at: Instant | None = None if first is None else first.at

    def _first(self) -> Deadline | None:
        """Return the earliest deadline; of two at one moment, the one returned first."""
        return min(self._deadlines(), key=lambda deadline: deadline.at, default=None)
