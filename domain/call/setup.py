"""How a call comes to its start: it rings, it is accepted, and both parties meet."""

from domain.call.record import CallFacts, CallRecord, CallRules
from domain.instant import Duration, Instant, duration


class CallSetup:
    """Nobody pays for ringing; the clock starts once both are here for the first time."""

    def __init__(self, facts: CallFacts, rules: CallRules, record: CallRecord, restarted_at: Instant | None) -> None:
        self._rings_until = facts.rings_until
        self._join_seconds = rules.join_seconds
        self._join_by = (restarted_at or record.accepted_at or 0) + duration(rules.join_seconds)
        self.accepted_at, self.started_at = record.accepted_at, record.started_at

    def accept(self, at: Instant) -> None:
        self.accepted_at = at
        self._join_by = at + duration(self._join_seconds)

    def excuse(self, stalled: Duration) -> None:
        """Give people as much longer as the server did nothing: nobody could answer, or join, meanwhile."""
        self._rings_until += stalled
        self._join_by += stalled

    def start(self, at: Instant) -> None:
        """Also where an older record does not say so, but a paid block does."""
        self.accepted_at, self.started_at = self.accepted_at or at, at

    @property
    def ringing(self) -> bool:
        """The creator has not answered yet."""
        return self.accepted_at is None

    @property
    def waits_for_parties(self) -> bool:
        return self.accepted_at is not None and self.started_at is None

    def fails(self) -> tuple[Instant, str]:
        """When a call that has not started will not, and the reason with which that ends it."""
        return (self._rings_until, "missed") if self.ringing else (self._join_by, "peer_lost")
