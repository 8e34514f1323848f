"""What time alone will do."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from domain.instant import Instant


class Deadline(NamedTuple):
    """What will happen, and when."""

    at: Instant
    happen: Callable[[Instant], None]


def first_of(deadlines: Iterable[Deadline]) -> Deadline | None:
    """The earliest; of two at one moment, the one named first."""
    return min(deadlines, key=lambda deadline: deadline.at, default=None)


def run_due(deadlines: Callable[[], Iterable[Deadline]], at: Instant) -> None:
    """Let everything happen that is due by `at`, in order; what happens may set further deadlines."""
    while (first := first_of(deadlines())) is not None and first.at <= at:
        first.happen(first.at)
