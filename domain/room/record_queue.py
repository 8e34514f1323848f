"""The writes of one room's record: at most one is under way, and the next one holds all changes meanwhile."""

from collections.abc import Callable
from typing import Any

from domain.instant import Instant
from domain.room.effects import Effect, Save


class Records:
    """Decides when a room's record is stored.

    A record is built only when it can be sent, since it lists every viewer whose clock has stopped.
    """

    __slots__ = ("_changed", "_make", "_under_way")

    def __init__(self, make: Callable[[Instant], Any]) -> None:
        """`make(at)` builds the record of the present state."""
        self._make = make
        self._under_way = False
        self._changed = False  # something changed since the record under way was built

    def save(self, at: Instant) -> list[Effect]:
        """The state has changed: store it now, or once the record under way is stored."""
        if self._under_way:
            self._changed = True
            return []
        self._under_way = True
        return [Save(self._make(at))]

    def note_saved(self, at: Instant) -> list[Effect]:
        """The record under way is stored; store a new one if the state has changed meanwhile."""
        self._under_way = False
        changed, self._changed = self._changed, False
        return self.save(at) if changed else []
