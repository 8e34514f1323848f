"""The presence of a stream's creator: nobody pays while the creator is absent, and a long absence ends the stream."""

from collections import deque

from domain.billing.block import ActiveClock
from domain.ids import MemberId
from domain.instant import Duration, Instant

MOST_STALLS = 64  # remembered stalls: silence is noticed within seconds, in which there are few


class HostPresence:
    """The creator's connections that are responsive, since when there is none, and how long the creator was present.

    `present` is the presence counted before the room was restarted. The creator is absent at first.
    """

    def __init__(self, at: Instant, present: Duration = 0) -> None:
        self.empty_since: Instant | None = at
        self.last_received_at = at  # when the creator's last byte was received, as far as known
        self._responsive: set[MemberId] = set()
        self._clock = ActiveClock(present)
        self._stalls: deque[tuple[Instant, Instant]] = deque(maxlen=MOST_STALLS)  # during presence: from, to

    def enter(self, member_id: MemberId, at: Instant) -> bool:
        """Note a responsive connection of the creator; True if it is the first one."""
        was_empty, self.empty_since = self.empty_since is not None, None
        self.last_received_at = max(self.last_received_at, at)
        self._responsive.add(member_id)
        self._clock.start(at)
        return was_empty

    def excuse(self, stalled: Duration, at: Instant) -> None:
        """Extend the limit of absence by a stall of the server that began at `at`: the creator could not come back."""
        if self.empty_since is not None:
            self.empty_since += stalled
        else:
            self._stalls.append((at, at + stalled))

    def leave(
        self, member_id: MemberId, last_received_at: Instant, at: Instant, empty_since: Instant | None = None
    ) -> bool:
        """Note that a connection left or fell silent; True if it was the creator's last responsive one.

        The absence counts from the last byte received from the creator, or from `empty_since`.
        Time since that last byte is not counted as presence.
        """
        if member_id not in self._responsive:
            return False
        self._responsive.discard(member_id)
        self.last_received_at = max(self.last_received_at, last_received_at)
        if self._responsive:
            return False
        self.empty_since = self._excused(self.last_received_at) if empty_since is None else empty_since
        self._clock.stop_as_of(self.last_received_at, at)
        return True

    def _excused(self, since: Instant) -> Instant:
        """Return the start of a limit, later by the stalls that came after it."""
        return since + sum(over - started for started, over in self._stalls if started >= since)

    def close(self, at: Instant) -> None:
        """Stop counting: the stream is over."""
        self._clock.stop(at)

    @property
    def counting(self) -> bool:
        """Whether the creator is present."""
        return self._clock.running

    def present(self, at: Instant) -> Duration:
        """Return for how long the creator was live and present in total."""
        return self._clock.active(at)

    def reaches(self, present: Duration) -> Instant | None:
        """Return when the total will be `present` if the creator stays; None while they are absent."""
        return self._clock.reaches(present)
