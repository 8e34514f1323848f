"""One payer's viewing session in a metered stream: its clock runs only while the payer watches a present owner."""

from domain.billing.funds_warning import FundsWarning
from domain.billing.meter import Meter
from domain.ids import MemberId
from domain.instant import Duration, Instant


class ViewingSession:
    """A payer's meter and connections, and the reasons for which the clock is stopped."""

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
        self.revoked = False  # evicted for lack of tokens; blocks under way still get their receipts
        self.waits_for_storage = False  # a receipt is overdue: the clock is stopped
        self._watching: set[MemberId] = set()  # responsive connections
        self._silent: set[MemberId] = set()  # silent connections, still members
        self._dropped_at: Instant | None = None  # since when all connections are silent
        self._is_absent = False  # all silent, and the grace or the paid block is over: the clock is stopped
        self._owner_is_here = owner_is_here
        self._payer_grace = payer_grace
        self._storage_grace = storage_grace

    def may_go_on(self, at: Instant) -> bool:
        """Return whether some paid time is left, or the next block can be paid."""
        return self.meter.left(at) > 0

    @property
    def is_watched(self) -> bool:
        """Whether some connection is responsive."""
        return bool(self._watching)

    @property
    def is_paused(self) -> bool:
        """Whether the clock is stopped for a reason other than the owner's absence."""
        return self.waits_for_storage or not (self._watching or self._runs_on)

    @property
    def _runs_on(self) -> bool:
        """Whether the clock runs on although all connections are silent: the payer may still receive media."""
        return self._dropped_at is not None and not self._is_absent

    def watch(self, member_id: MemberId, at: Instant) -> None:
        """A connection joined, or is responsive again."""
        self._watching.add(member_id)
        self._silent.discard(member_id)
        self._dropped_at, self._is_absent = None, False
        self._run_or_stand(at)

    def drop(self, member_id: MemberId, at: Instant, *, excused: bool = False) -> bool:
        """A connection fell silent; return whether that stopped the clock.

        `excused`: the server stalled and received nothing, so the clock stops without a grace.
        """
        if member_id in self._watching:
            self._watching.discard(member_id)
            self._silent.add(member_id)
            if not self._watching:
                self._dropped_at, self._is_absent = at, excused
        return self._run_or_stand(at)

    def leave(self, member_id: MemberId, at: Instant) -> bool:
        """A connection left for good; return whether that stopped the clock.

        The clock stops at once if it was the last responsive one, even while others are silent.
        """
        self._watching.discard(member_id)
        self._silent.discard(member_id)
        if not self._silent:  # no connection is left that time could run on for
            self._dropped_at, self._is_absent = None, False
        return self._run_or_stand(at)

    def note_absence(self, at: Instant) -> bool:
        """The grace is over, or a block falls due in silence; return whether that stopped the clock."""
        self._is_absent = True
        return self._run_or_stand(at)

    def note_owner_here(self, at: Instant) -> None:
        """The owner is present: the clock runs if nothing else stops it."""
        self._owner_is_here = True
        self._run_or_stand(at)

    def note_owner_away(self, last_received_at: Instant, at: Instant) -> bool:
        """The owner is absent since `last_received_at`; return whether the clock changed.

        Nobody pays for that time: it is taken back.
        """
        self._owner_is_here = False
        ran, taken_back = self.meter.clock.running, self.meter.set_back
        self.meter.payee_was_away(last_received_at, at)
        return ran or self.meter.set_back != taken_back

    def note_storage(self, away: bool, at: Instant) -> bool:
        """A receipt is overdue, or no block waits any more; return whether that stopped the clock."""
        self.waits_for_storage = away
        return self._run_or_stand(at)

    def stop(self, at: Instant) -> None:
        """Stop the clock for good."""
        self._watching.clear()
        self._silent.clear()
        self._dropped_at = None
        self._run_or_stand(at)

    def next_deadline(self) -> Instant | None:
        """Return when a block falls due, the payer's grace ends, or a receipt is overdue, whichever is first."""
        moments = (self.meter.due_at(), self._receipts_overdue_at(), self._absent_at())
        return min((at for at in moments if at is not None), default=None)

    def is_over_grace(self, at: Instant) -> bool:
        """Return whether the grace of a silent payer is over at `at`."""
        absent_at = self._absent_at()
        return absent_at is not None and absent_at <= at

    def _absent_at(self) -> Instant | None:
        return None if self._dropped_at is None or self._is_absent else self._dropped_at + self._payer_grace

    def receipts_overdue(self, at: Instant) -> bool:
        """Return whether the oldest waiting block has waited for longer than `storage_grace_seconds`."""
        overdue_at = self._receipts_overdue_at()
        return overdue_at is not None and overdue_at <= at

    def _receipts_overdue_at(self) -> Instant | None:
        """Return when the oldest waiting block is overdue, also while the clock is stopped.

        A stopped clock must not run again before an overdue receipt has arrived.
        """
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
