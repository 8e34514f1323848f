"""The setup of a call: it rings, it is accepted, and both parties join."""

from domain.call.record import CallFacts, CallRecord, CallRules
from domain.instant import Duration, Instant, duration


class CallSetup:
    """When the call was accepted and started, and the deadlines until then. Ringing is free."""

    def __init__(self, facts: CallFacts, rules: CallRules, record: CallRecord, restarted_at: Instant | None) -> None:
        self._rings_until = facts.rings_until
        self._join_seconds = rules.join_seconds
        self._join_by = (restarted_at or record.accepted_at or 0) + duration(rules.join_seconds)
        self.accepted_at, self.started_at = record.accepted_at, record.started_at

    def accept(self, at: Instant) -> None:
        """The creator accepts; both parties must join within `join_seconds`."""
        self.accepted_at = at
        self._join_by = at + duration(self._join_seconds)

    def excuse(self, stalled: Duration) -> None:
        """Extend the deadlines by a stall of the server, in which nobody could answer or join."""
        self._rings_until += stalled
        self._join_by += stalled

    def start(self, at: Instant) -> None:
        """Start the call; this also accepts it, for a stored record that is older than its first paid block."""
        self.accepted_at, self.started_at = self.accepted_at or at, at

    @property
    def ringing(self) -> bool:
        """Whether the creator has not answered yet."""
        return self.accepted_at is None

    @property
    def waits_for_parties(self) -> bool:
        """Whether the call is accepted, and the parties have not both joined yet."""
        return self.accepted_at is not None and self.started_at is None

    def fails(self) -> tuple[Instant, str]:
        """Return when a call that has not started ends, and its end reason."""
        return (self._rings_until, "missed") if self.ringing else (self._join_by, "peer_lost")
