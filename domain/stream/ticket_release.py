"""The release of a stream's tickets from escrow to its creator (contract.md, Tickets)."""

from domain.instant import Duration, Instant, duration
from domain.room.effects import Effect, Release
from domain.stream.host_presence import HostPresence
from domain.stream.record import StreamFacts, StreamRecord, StreamRules


def are_earned(present: Duration, rules: StreamRules) -> bool:
    """Return whether a creator who was live and present for so long in total has earned the stream's tickets.

    Tickets that are not earned are all refunded when the stream ends.
    """
    return present >= duration(rules.ticket_release_seconds)


class TicketRelease:
    """Asks once for the release of a stream's tickets; never in a stream that sells none."""

    def __init__(
        self, facts: StreamFacts, rules: StreamRules, record: StreamRecord, host_presence: HostPresence
    ) -> None:
        self._rules = rules
        self._host_presence = host_presence
        self._stored = record.present
        self._was_released = record.released
        self.pending = facts.ticket_price_tokens is not None

    def open(self, at: Instant) -> list[Effect]:
        """Ask when the room opens if the tickets were earned before.

        It asks again after a release, since a crash may have left some tickets in escrow.
        """
        if self._was_released or are_earned(self._host_presence.present(at), self._rules):
            return self.ask()
        return []

    def due_at(self) -> Instant | None:
        """Return when the tickets are earned if the creator stays; None if they are absent or nothing is pending."""
        return self._host_presence.reaches(duration(self._rules.ticket_release_seconds)) if self.pending else None

    def ask(self) -> list[Effect]:
        """Ask for the release; nothing if that was done before."""
        asked, self.pending = self.pending, False
        return [Release()] if asked else []

    def has_unstored(self, at: Instant) -> bool:
        """Return whether the creator is absent and their presence so far is not stored yet."""
        return self.pending and not self._host_presence.counting and self._host_presence.present(at) > self._stored

    def note_stored(self, present: Duration) -> None:
        """Note that a record with this presence is stored."""
        self._stored = max(self._stored, present)
