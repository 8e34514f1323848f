"""The records of one room: at most one is on its way to the database, and the next holds all that changed meanwhile."""

from collections.abc import Callable
from typing import Any

from domain.instant import Instant
from domain.room.effects import Effect, Save


class Records:
    """A record lists every viewer whose clock stopped, so it is not built anew for each change that cannot be sent."""

    __slots__ = ("_changed", "_make", "_under_way")

    def __init__(self, make: Callable[[Instant], Any]) -> None:
        self._make = make
        self._under_way = False
        self._changed = False  # since the record under way was made

    def save(self, at: Instant) -> list[Effect]:
        """Something that is to be stored has changed."""
        if self._under_way:
            self._changed = True
            return []
        self._under_way = True
        return [Save(self._make(at))]

    def note_saved(self, at: Instant) -> list[Effect]:
        """The record under way is stored."""
        self._under_way = False
        changed, self._changed = self._changed, False
        return self.save(at) if changed else []
