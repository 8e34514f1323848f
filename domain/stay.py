"""One payer's time in a metered stream: a clock that runs only while they watch and there is something to see."""

from domain.funds_warning import FundsWarning
from domain.ids import MemberId
from domain.instant import Duration, Instant
from domain.meter import Meter


class Stay:
    """A meter, the connections that watch, and what keeps the clock from running."""

    __slots__ = ("_grace", "_owner_is_here", "_watching", "meter", "revoked", "waits_for_books", "warning")

    def __init__(self, meter: Meter, channel: str, owner_is_here: bool, storage_grace: Duration) -> None:
        self.meter = meter
        self.warning = FundsWarning(channel, meter)
        self.revoked = False  # put out for want of tokens; what is under way is still waited for
        self.waits_for_books = False  # for longer than the grace: the clock stands
        self._watching: set[MemberId] = set()
        self._owner_is_here = owner_is_here
        self._grace = storage_grace

    def may_go_on(self, at: Instant) -> bool:
        """Something is left of what is paid, or the next block can be."""
        return self.meter.left(at) > 0

    @property
    def is_watched(self) -> bool:
        return bool(self._watching)

    def watch(self, member_id: MemberId, at: Instant) -> None:
        self._watching.add(member_id)
        self._run_or_stand(at)

    def unwatch(self, member_id: MemberId, at: Instant) -> bool:
        """Left, or not heard of; True if that stopped the clock."""
        self._watching.discard(member_id)
        return self._run_or_stand(at)

    def note_owner(self, is_here: bool, at: Instant) -> bool:
        """Nobody pays for an empty stage; True if that stopped the clock."""
        self._owner_is_here = is_here
        return self._run_or_stand(at)

    def note_books(self, away: bool, at: Instant) -> bool:
        """A block has waited for too long, or none waits any more; True if that stopped the clock."""
        self.waits_for_books = away
        return self._run_or_stand(at)

    def stop(self, at: Instant) -> None:
        """For good."""
        self._watching.clear()
        self._run_or_stand(at)

    def next_deadline(self) -> Instant | None:
        """When a block falls due, or the books have been away for too long."""
        moments = (self.meter.due_at(), self._books_overdue_at())
        return min((at for at in moments if at is not None), default=None)

    def books_overdue(self, at: Instant) -> bool:
        overdue_at = self._books_overdue_at()
        return overdue_at is not None and overdue_at <= at

    def _books_overdue_at(self) -> Instant | None:
        """Also while the clock stands: it must not run again on the word of books that have been away for too long."""
        since = self.meter.waiting_since
        return None if since is None or self.waits_for_books else since + self._grace

    def _run_or_stand(self, at: Instant) -> bool:
        clock = self.meter.clock
        if self._watching and self._owner_is_here and not self.waits_for_books:
            clock.start(at)
            return False
        ran = clock.running
        clock.stop(at)
        return ran
