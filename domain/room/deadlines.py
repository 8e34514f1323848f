"""What time alone will do."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from domain.instant import Instant


class Deadline(NamedTuple):
    """What will happen, and when."""

    at: Instant
    happen: Callable[[Instant], None]


class DeadlineQueue:
    """A room's deadlines, and the first of them: looked for once an input, since there are many rooms."""

    __slots__ = ("_deadlines", "next_at")

    def __init__(self, deadlines: Callable[[], Iterable[Deadline]]) -> None:
        self._deadlines = deadlines
        self.look()

    def run(self, at: Instant) -> None:
        """Let everything happen that was due by `at`, as of the last look."""
        if self.next_at is not None and self.next_at <= at:
            self.catch_up(at)

    def catch_up(self, at: Instant) -> None:
        """Let everything happen that is due by `at`, in order; what happens may set further deadlines."""
        while (first := self._first()) is not None and first.at <= at:
            first.happen(first.at)

    def look(self) -> None:
        """Find out what comes next."""
        first = self._first()
        self.next_at: Instant | None = None if first is None else first.at

    def _first(self) -> Deadline | None:
        """The earliest; of two at one moment, the one named first."""
        return min(self._deadlines(), key=lambda deadline: deadline.at, default=None)
