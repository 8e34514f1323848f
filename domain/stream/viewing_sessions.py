"""The viewing sessions of a metered stream: which does something next, and what to store of them."""

from collections.abc import Iterator

from domain.billing.meter import Meter, SetBack, StoredMeter
from domain.ids import MemberId, UserId
from domain.instant import Duration, Instant, duration
from domain.stream.record import StreamFacts, StreamRules
from domain.stream.viewing_session import ViewingSession
from domain.timer_heap import TimerHeap


class ViewingSessions:
    """The viewing sessions of one stream, one for each payer; a free stream has none."""

    def __init__(self, facts: StreamFacts, rules: StreamRules, epoch: int) -> None:
        self._facts = facts
        self._storage_grace = duration(rules.storage_grace_seconds)
        self._payer_grace = duration(rules.drop_grace_seconds)
        self._epoch = epoch
        self._viewing_sessions: dict[UserId, ViewingSession] = {}
        self._timer_heap: TimerHeap[UserId] = TimerHeap()
        self._unstored: dict[UserId, None] = {}  # payers whose clocks have stopped since they were stored
        self._touched: dict[UserId, None] = {}
        self._waiting: set[UserId] = set()  # payers with a block under way
        self._owner_is_here = False

    def find(self, user_id: UserId) -> ViewingSession | None:
        """Return this user's viewing session, or None."""
        return self._viewing_sessions.get(user_id)

    def open(self, user_id: UserId, stored: StoredMeter) -> ViewingSession:
        """Return this payer's viewing session; a new one starts from what the database has of their blocks."""
        viewing = self._viewing_sessions.get(user_id)
        if viewing is None:
            viewing = self._begin(self._meter(user_id, stored))
        viewing.meter.update_funds(stored.funds)
        self.touch(viewing)
        return viewing

    def payers(self) -> list[UserId]:
        """Return everybody who has a viewing session."""
        return list(self._viewing_sessions)

    def use_up(self, viewing: ViewingSession, at: Instant) -> None:
        """Drop the unused time of the blocks charged so far, since they are refunded."""
        viewing.meter.use_up(at)
        self._note_stop(viewing, True)

    def release(self, viewing: ViewingSession, at: Instant) -> None:
        """Replace the session of an evicted payer once no block is under way, so that they may join again.

        The meter is kept: what a returning payer's join read from the database may be older than the last receipt,
        and time in which the owner turns out to have been absent is still taken back.
        """
        viewing.meter.drop_unpaid(at)
        self.touch(self._begin(viewing.meter))

    def _meter(self, user_id: UserId, stored: StoredMeter) -> Meter:
        assert self._facts.price is not None, "only metered streams have viewing sessions"
        return Meter(
            room_id=self._facts.id,
            payer=user_id,
            payee=self._facts.owner_id,
            price=self._facts.price,
            epoch=self._epoch,
            funds=stored.funds,
            committed=stored.committed,
            tokens=stored.tokens,
            active=stored.active,
            set_back=stored.set_back,
        )

    def _begin(self, meter: Meter) -> ViewingSession:
        viewing = self._viewing_sessions[meter.payer] = ViewingSession(
            meter,
            self._facts.channel,
            self._owner_is_here,
            payer_grace=self._payer_grace,
            storage_grace=self._storage_grace,
        )
        return viewing

    # Clocks

    def watch(self, viewing: ViewingSession, member_id: MemberId, at: Instant) -> None:
        """A connection joined, or is responsive again."""
        viewing.watch(member_id, at)
        self.touch(viewing)

    def drop(self, user_id: UserId, member_id: MemberId, at: Instant, *, excused: bool = False) -> None:
        """A connection fell silent; without a grace if `excused` (see `ViewingSession.drop`)."""
        if viewing := self._viewing_sessions.get(user_id):
            self._note_stop(viewing, viewing.drop(member_id, at, excused=excused))

    def leave(self, user_id: UserId, member_id: MemberId, at: Instant) -> None:
        """A connection left for good, or does not pay any more."""
        if viewing := self._viewing_sessions.get(user_id):
            self._note_stop(viewing, viewing.leave(member_id, at))

    def note_absence(self, viewing: ViewingSession, at: Instant) -> None:
        """All connections of a payer have been silent for too long."""
        self._note_stop(viewing, viewing.note_absence(at))

    def note_owner_here(self, at: Instant) -> None:
        """The owner is present: all clocks may run."""
        self._owner_is_here = True
        for viewing in self._viewing_sessions.values():
            viewing.note_owner_here(at)
            self.touch(viewing)

    def note_owner_away(self, last_received_at: Instant, at: Instant) -> None:
        """The owner is absent since `last_received_at`: stop all clocks as of then."""
        self._owner_is_here = False
        for viewing in self._viewing_sessions.values():
            self._note_stop(viewing, viewing.note_owner_away(last_received_at, at))

    def excuse(self, stalled: Duration) -> None:
        """Extend the waiting time of blocks by a stall of the server."""
        for viewing in self._viewing_sessions.values():
            if viewing.meter.waiting:
                viewing.meter.excuse(stalled)
                self.touch(viewing)

    def note_storage(self, viewing: ViewingSession, away: bool, at: Instant) -> None:
        """A payer's receipt is overdue, or none is under way any more."""
        self._note_stop(viewing, viewing.note_storage(away, at))

    def note_paid(self, viewing: ViewingSession) -> None:
        """A block was booked after its clock had stopped, so more of the time before is paid, and has to be stored."""
        self._note_stop(viewing, not viewing.meter.clock.running)

    def stop(self, viewing: ViewingSession, at: Instant) -> None:
        """Stop this clock for good."""
        viewing.stop(at)
        self._note_stop(viewing, True)

    def stop_all(self, at: Instant) -> None:
        """Stop all clocks for good."""
        for viewing in self._viewing_sessions.values():
            self.stop(viewing, at)

    def _note_stop(self, viewing: ViewingSession, stopped: bool) -> None:
        if stopped:
            self._unstored[viewing.meter.payer] = None
        self.touch(viewing)

    # The next deadline

    def touch(self, viewing: ViewingSession) -> None:
        """Note that a session has changed: its deadline, or the funds of its payer."""
        self._touched[viewing.meter.payer] = None
        if viewing.meter.waiting:
            self._waiting.add(viewing.meter.payer)
        else:
            self._waiting.discard(viewing.meter.payer)
        self._timer_heap.plan(viewing.meter.payer, viewing.next_deadline())

    def touched(self) -> Iterator[ViewingSession]:
        """Return the sessions touched since the last call of this method."""
        touched, self._touched = self._touched, {}
        return (viewing for user_id in touched if (viewing := self._viewing_sessions.get(user_id)) is not None)

    def first(self) -> tuple[Instant, ViewingSession] | None:
        """Return the session with the earliest deadline, and when that is."""
        found = self._timer_heap.first()
        return None if found is None else (found[0], self._viewing_sessions[found[1]])

    @property
    def wait(self) -> bool:
        """Whether some block has no receipt yet."""
        return bool(self._waiting)

    # Active time to store

    @property
    def has_unstored(self) -> bool:
        """Whether some clock has stopped since it was last stored."""
        return bool(self._unstored)

    def unstored(self, at: Instant) -> tuple[tuple[UserId, Duration], ...]:
        """Return payer and billed active time of clocks that stopped since they were stored; some may run again."""
        return tuple((user_id, self._viewing_sessions[user_id].meter.billed_active(at)) for user_id in self._unstored)

    def set_backs(self) -> tuple[SetBack, ...]:
        """Return the set-backs of the same clocks, in the same order."""
        return tuple(self._viewing_sessions[user_id].meter.set_back for user_id in self._unstored)

    def note_stored(self, viewing_sessions: tuple[tuple[UserId, Duration], ...], at: Instant) -> None:
        """Note that a record with these active times is stored."""
        for user_id, active in viewing_sessions:
            meter = self._viewing_sessions[user_id].meter
            if meter.clock.running or meter.billed_active(at) == active:
                self._unstored.pop(user_id, None)

    def running(self) -> Iterator[Meter]:
        """Return the meters whose clocks run, for the periodic store of their active time."""
        return (viewing.meter for viewing in self._viewing_sessions.values() if viewing.meter.clock.running)
