"""When a stream's tickets leave escrow for its creator (CONTRACT §5, Tickets)."""

from domain.instant import Duration, Instant, duration
from domain.room.effects import Effect, Release
from domain.stream.host_presence import HostPresence
from domain.stream.record import StreamFacts, StreamRecord, StreamRules


def are_earned(present: Duration, rules: StreamRules) -> bool:
    """Whether a creator who was live and present for so long in total has earned the stream's tickets.

    If not, all of them are given back when the stream ends.
    """
    return present >= duration(rules.ticket_release_seconds)


class TicketRelease:
    """Asks for the release of a stream's tickets, once; a stream that sells none never asks."""

    def __init__(
        self, facts: StreamFacts, rules: StreamRules, record: StreamRecord, host_presence: HostPresence
    ) -> None:
        self._rules = rules
        self._host_presence = host_presence
        self._stored = record.present
        self._was_released = record.released
        self.pending = facts.ticket_price_tokens is not None

    def open(self, at: Instant) -> list[Effect]:
        """What was earned in an earlier life of the room; asked again, since a crash may have left some in escrow."""
        if self._was_released or are_earned(self._host_presence.present(at), self._rules):
            return self.ask()
        return []

    def due_at(self) -> Instant | None:
        """When the tickets are earned if the creator stays; None if that is not to be waited for."""
        return self._host_presence.reaches(duration(self._rules.ticket_release_seconds)) if self.pending else None

    def ask(self) -> list[Effect]:
        """Idempotent."""
        asked, self.pending = self.pending, False
        return [Release()] if asked else []

    def has_unstored(self, at: Instant) -> bool:
        """The creator has left, and how long they were there is not stored yet."""
        return self.pending and not self._host_presence.counting and self._host_presence.present(at) > self._stored

    def note_stored(self, present: Duration) -> None:
        self._stored = max(self._stored, present)
