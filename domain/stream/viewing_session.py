"""One payer's time in a metered stream: a clock that runs only while they watch and there is something to see."""

from domain.billing.funds_warning import FundsWarning
from domain.billing.meter import Meter
from domain.ids import MemberId
from domain.instant import Duration, Instant


class ViewingSession:
    """A meter, the connections that watch, and what keeps the clock from running."""

    __slots__ = (
        "_dropped_at",
        "_is_absent",
        "_owner_is_here",
        "_payer_grace",
        "_silent",
        "_storage_grace",
        "_watching",
        "meter",
        "revoked",
        "waits_for_storage",
        "warning",
    )

    def __init__(
        self, meter: Meter, channel: str, owner_is_here: bool, *, payer_grace: Duration, storage_grace: Duration
    ) -> None:
        self.meter = meter
        self.warning = FundsWarning(channel, meter)
        self.revoked = False  # put out for want of tokens; what is under way is still waited for
        self.waits_for_storage = False  # for longer than the grace: the clock stands
        self._watching: set[MemberId] = set()  # the connections that are heard
        self._silent: set[MemberId] = set()  # members still, but not heard
        self._dropped_at: Instant | None = None  # since when no connection is heard, of a payer who did not leave
        self._is_absent = False  # dropped, and the grace is over or the paid block is used up: the clock stands
        self._owner_is_here = owner_is_here
        self._payer_grace = payer_grace
        self._storage_grace = storage_grace

    def may_go_on(self, at: Instant) -> bool:
        """Something is left of what is paid, or the next block can be."""
        return self.meter.left(at) > 0

    @property
    def is_watched(self) -> bool:
        """Some connection is heard."""
        return bool(self._watching)

    @property
    def is_paused(self) -> bool:
        """The clock stands, and would even if the owner were here."""
        return self.waits_for_storage or not (self._watching or self._runs_on)

    @property
    def _runs_on(self) -> bool:
        """Nobody is heard, and time runs on all the same: the payer has dropped, and may be receiving media."""
        return self._dropped_at is not None and not self._is_absent

    def watch(self, member_id: MemberId, at: Instant) -> None:
        """A connection joined, or is heard again."""
        self._watching.add(member_id)
        self._silent.discard(member_id)
        self._dropped_at, self._is_absent = None, False
        self._run_or_stand(at)

    def drop(self, member_id: MemberId, at: Instant, *, excused: bool = False) -> bool:
        """A connection is not heard any more; True if that stopped the clock.

        Without a grace if it is `excused`: the server heard nobody.
        """
        if member_id in self._watching:
            self._watching.discard(member_id)
            self._silent.add(member_id)
            if not self._watching:
                self._dropped_at, self._is_absent = at, excused
        return self._run_or_stand(at)

    def leave(self, member_id: MemberId, at: Instant) -> bool:
        """A connection left for good, and the last that was heard stops the clock at once; True if it did."""
        self._watching.discard(member_id)
        self._silent.discard(member_id)
        if not self._silent:  # no connection is left that time could run on for
            self._dropped_at, self._is_absent = None, False
        return self._run_or_stand(at)

    def note_absence(self, at: Instant) -> bool:
        """The payer has been away for the whole grace, or a block falls due; True if that stopped the clock."""
        self._is_absent = True
        return self._run_or_stand(at)

    def note_owner_here(self, at: Instant) -> None:
        self._owner_is_here = True
        self._run_or_stand(at)

    def note_owner_away(self, last_received_at: Instant, at: Instant) -> bool:
        """Nobody pays for an empty stage, from the moment the owner was last heard; True if that stopped the clock."""
        self._owner_is_here = False
        ran, taken_back = self.meter.clock.running, self.meter.set_back
        self.meter.payee_was_away(last_received_at, at)
        return ran or self.meter.set_back != taken_back

    def note_storage(self, away: bool, at: Instant) -> bool:
        """A block has waited for too long, or none waits any more; True if that stopped the clock."""
        self.waits_for_storage = away
        return self._run_or_stand(at)

    def stop(self, at: Instant) -> None:
        """For good."""
        self._watching.clear()
        self._silent.clear()
        self._dropped_at = None
        self._run_or_stand(at)

    def next_deadline(self) -> Instant | None:
        """When a block falls due, the payer's grace is over, or the books have been away for too long."""
        moments = (self.meter.due_at(), self._receipts_overdue_at(), self._absent_at())
        return min((at for at in moments if at is not None), default=None)

    def is_over_grace(self, at: Instant) -> bool:
        absent_at = self._absent_at()
        return absent_at is not None and absent_at <= at

    def _absent_at(self) -> Instant | None:
        return None if self._dropped_at is None or self._is_absent else self._dropped_at + self._payer_grace

    def receipts_overdue(self, at: Instant) -> bool:
        overdue_at = self._receipts_overdue_at()
        return overdue_at is not None and overdue_at <= at

    def _receipts_overdue_at(self) -> Instant | None:
        """Also while the clock stands: it must not run again on the word of books that have been away for too long."""
        since = self.meter.waiting_since
        return None if since is None or self.waits_for_storage else since + self._storage_grace

    def _run_or_stand(self, at: Instant) -> bool:
        clock = self.meter.clock
        if self._owner_is_here and not self.is_paused:
            clock.start(at)
            return False
        ran = clock.running
        clock.stop(at)
        return ran
