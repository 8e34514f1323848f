"""The end of a room in steps: over, then nothing under way, then the last record stored, then settled."""

from collections.abc import Callable
from typing import Any

from domain.instant import Instant
from domain.refusals import DRAINING, Refusal, room_starting
from domain.room.chat import ChatAndTips
from domain.room.effects import Close, Effect, Save, Withdraw
from domain.room.members import Members

MOVED = room_starting()


class Termination:
    """How far a room has ended. It is over once it has ended, or while its server drains; no new deadlines run then."""

    def __init__(
        self,
        ended: Refusal,
        ended_at: Instant | None,
        reason: str | None,
        members: Members,
        chat_and_tips: ChatAndTips,
    ) -> None:
        """Continue from a stored record.

        `ended` is the refusal of requests after the end; `ended_at` and `reason` are None unless the room has ended.
        """
        self._ended = ended
        self._members = members
        self._chat_and_tips = chat_and_tips
        self.ended_at = ended_at
        self.reason = reason
        self.draining = False
        self._moved = False  # to a later owner, which alone knows whether the room has ended
        self.settled = False  # every receipt is in and the last record is stored
        self._last_record: Any = None  # set when it is sent

    @property
    def over(self) -> bool:
        """Whether the room has ended, or its server drains."""
        return self.ended_at is not None or self.draining

    def why_closed(self) -> Refusal | None:
        """Return the refusal of a request to a room that is over; None while it is not."""
        if self._moved:
            return MOVED
        return self._ended if self.ended_at is not None else DRAINING if self.draining else None

    def end(self, reason: str, at: Instant) -> bool:
        """Note the end and its reason; False if the room is over already."""
        if self.over:
            return False
        self.ended_at, self.reason = at, reason
        return True

    def drain(self) -> list[Effect]:
        """Stop here, to continue later from the database; postings that are not sent yet are withdrawn."""
        self.draining = True
        return [Withdraw()]

    def store(self, record: Callable[[], Any]) -> list[Effect]:
        """Store the last record if the room is over; once only. The caller has checked that nothing is under way."""
        if not self.over or self.settled or self._last_record is not None:
            return []
        self._last_record = record()
        return [Save(self._last_record)]

    def is_last(self, record: Any) -> bool:
        """Return whether this stored record is the last one, after which the room closes."""
        return record is self._last_record and not self.settled

    def settle(self) -> list[Effect]:
        """Close the room: its last record is stored, so nothing happens in it any more."""
        return self._close(moved=False)

    def disown(self) -> list[Effect]:
        """Stop here because another server owns the room: publish nothing more, and answer the tips under way.

        Nothing if the room is settled.
        """
        return [] if self.settled else [*self.drain(), *self._chat_and_tips.abandon(), *self._close(moved=True)]

    def _close(self, *, moved: bool) -> list[Effect]:
        self.settled, self._moved = True, moved
        self._members.clear()
        return [Close(moved)]
