"""How a room comes to its end: over, then with nothing under way, then stored, then settled."""

from collections.abc import Callable
from typing import Any

from domain.instant import Instant
from domain.refusals import Code, Refusal, room_starting
from domain.room.effects import Close, Effect, Save, Withdraw

DRAINING = Refusal(Code.DRAINING, "The server is shutting down")
MOVED = room_starting()


class Termination:
    """A room is over once it has ended, or while its server drains; nothing falls due then that did not before."""

    def __init__(self, ended: Refusal, ended_at: Instant | None, reason: str | None) -> None:
        self._ended = ended  # what is said to who comes too late
        self.ended_at = ended_at
        self.reason = reason
        self.draining = False
        self._moved = False  # to a later owner, which alone knows whether the room has ended
        self.settled = False  # every receipt is in and the last record is stored
        self._last_record: Any = None  # once it is sent

    @property
    def over(self) -> bool:
        return self.ended_at is not None or self.draining

    def why_closed(self) -> Refusal | None:
        """What is said to who wants something of a room that is over."""
        if self._moved:
            return MOVED
        return self._ended if self.ended_at is not None else DRAINING if self.draining else None

    def end(self, reason: str, at: Instant) -> bool:
        """False if it is over already."""
        if self.over:
            return False
        self.ended_at, self.reason = at, reason
        return True

    def drain(self) -> list[Effect]:
        """Go on another time, from the rows: what the books do not have yet is taken back."""
        self.draining = True
        return [Withdraw()]

    def store(self, record: Callable[[], Any]) -> list[Effect]:
        """The last record, once nothing is under way any more; only once."""
        if not self.over or self.settled or self._last_record is not None:
            return []
        self._last_record = record()
        return [Save(self._last_record)]

    def is_last(self, record: Any) -> bool:
        """The record that closes the room is stored."""
        return record is self._last_record and not self.settled

    def settle(self, *, moved: bool = False) -> list[Effect]:
        """`moved`: the room has a later owner, which alone may say what happens in it."""
        self.settled, self._moved = True, moved
        return [Close(moved)]
