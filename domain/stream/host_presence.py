"""Whether a stream's creator is there, and how long: nobody pays on an empty stage, and after a while it is over."""

from collections import deque

from domain.billing.block import ActiveClock
from domain.ids import MemberId
from domain.instant import Duration, Instant

MOST_STALLS = 64  # that are remembered: silence is noticed within seconds, and few stalls fit into it


class HostPresence:
    """The creator's connections that are heard; empty at first, and again while there are none.

    `present`: for how long the creator was there before, in an earlier life of the room.
    """

    def __init__(self, at: Instant, present: Duration = 0) -> None:
        self.empty_since: Instant | None = at
        self.last_received_at = at  # when the creator was last heard, as far as it is known here
        self._responsive: set[MemberId] = set()
        self._clock = ActiveClock(present)
        self._stalls: deque[tuple[Instant, Instant]] = deque(maxlen=MOST_STALLS)  # while the creator was here: from, to

    def enter(self, member_id: MemberId, at: Instant) -> bool:
        """True for the first, with which the creator is there."""
        was_empty, self.empty_since = self.empty_since is not None, None
        self.last_received_at = max(self.last_received_at, at)
        self._responsive.add(member_id)
        self._clock.start(at)
        return was_empty

    def excuse(self, stalled: Duration, at: Instant) -> None:
        """The creator could not come back during a stall of the server, which began at `at`."""
        if self.empty_since is not None:
            self.empty_since += stalled
        else:
            self._stalls.append((at, at + stalled))

    def leave(
        self, member_id: MemberId, last_received_at: Instant, at: Instant, empty_since: Instant | None = None
    ) -> bool:
        """True for the last. The absence counts from when the creator was last heard, or from `empty_since`.

        The time since they were last heard does not count as presence.
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
        """A moment from which a limit counts, later by the stalls that came after it."""
        return since + sum(over - started for started, over in self._stalls if started >= since)

    def close(self, at: Instant) -> None:
        """The stream is over: the creator's presence counts no more."""
        self._clock.stop(at)

    @property
    def counting(self) -> bool:
        """The creator is present."""
        return self._clock.running

    def present(self, at: Instant) -> Duration:
        """For how long the creator was live and present, in total."""
        return self._clock.active(at)

    def reaches(self, present: Duration) -> Instant | None:
        """When the total will be `present` if the creator stays; None while they are away."""
        return self._clock.reaches(present)
