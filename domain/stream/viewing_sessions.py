"""All payers of a metered stream: who has a clock there, which of them does something next, what to store of them."""

from collections.abc import Iterator

from domain.billing.meter import Meter, SetBack, StoredMeter
from domain.ids import MemberId, UserId
from domain.instant import Duration, Instant, duration
from domain.stream.record import StreamFacts, StreamRules
from domain.stream.viewing_session import Stay
from domain.timer_heap import Schedule


class Stays:
    """The stays of one stream; a free stream has none."""

    def __init__(self, facts: StreamFacts, rules: StreamRules, epoch: int) -> None:
        self._facts = facts
        self._storage_grace = duration(rules.storage_grace_seconds)
        self._payer_grace = duration(rules.drop_grace_seconds)
        self._epoch = epoch
        self._stays: dict[UserId, Stay] = {}
        self._schedule: Schedule[UserId] = Schedule()
        self._unstored: dict[UserId, None] = {}  # clocks that have stopped since they were last stored
        self._touched: dict[UserId, None] = {}
        self._waiting: set[UserId] = set()  # payers with a block that has no receipt yet
        self._owner_is_here = False

    def find(self, user_id: UserId) -> Stay | None:
        return self._stays.get(user_id)

    def open(self, user_id: UserId, stored: StoredMeter) -> Stay:
        """This payer's stay; if it is new, from what the books say."""
        stay = self._stays.get(user_id)
        if stay is None:
            stay = self._begin(self._meter(user_id, stored))
        stay.meter.learn(stored.funds)
        self.touch(stay)
        return stay

    def payers(self) -> list[UserId]:
        """All who have a stay."""
        return list(self._stays)

    def use_up(self, stay: Stay, at: Instant) -> None:
        """Keep nothing of what was charged so far: it is given back."""
        stay.meter.use_up(at)
        self._note_stop(stay, True)

    def release(self, stay: Stay, at: Instant) -> None:
        """A payer who was put out, and for whom nothing is under way any more: they may come again.

        The meter is kept. A payer who returns may have read the books before the last receipt was in, and time in
        which the owner turns out to have been away is still taken back.
        """
        stay.meter.drop_unpaid(at)
        self.touch(self._begin(stay.meter))

    def _meter(self, user_id: UserId, stored: StoredMeter) -> Meter:
        assert self._facts.price is not None, "only metered streams have stays"
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

    def _begin(self, meter: Meter) -> Stay:
        stay = self._stays[meter.payer] = Stay(
            meter,
            self._facts.channel,
            self._owner_is_here,
            payer_grace=self._payer_grace,
            storage_grace=self._storage_grace,
        )
        return stay

    # Clocks

    def watch(self, stay: Stay, member_id: MemberId, at: Instant) -> None:
        stay.watch(member_id, at)
        self.touch(stay)

    def drop(self, user_id: UserId, member_id: MemberId, at: Instant, *, excused: bool = False) -> None:
        if stay := self._stays.get(user_id):
            self._note_stop(stay, stay.drop(member_id, at, excused=excused))

    def leave(self, user_id: UserId, member_id: MemberId, at: Instant) -> None:
        if stay := self._stays.get(user_id):
            self._note_stop(stay, stay.leave(member_id, at))

    def note_absence(self, stay: Stay, at: Instant) -> None:
        self._note_stop(stay, stay.note_absence(at))

    def note_owner_here(self, at: Instant) -> None:
        self._owner_is_here = True
        for stay in self._stays.values():
            stay.note_owner_here(at)
            self.touch(stay)

    def note_owner_away(self, heard_at: Instant, at: Instant) -> None:
        self._owner_is_here = False
        for stay in self._stays.values():
            self._note_stop(stay, stay.note_owner_away(heard_at, at))

    def excuse(self, stalled: Duration) -> None:
        """The time of a stall does not count as waiting for the books."""
        for stay in self._stays.values():
            if stay.meter.waiting:
                stay.meter.excuse(stalled)
                self.touch(stay)

    def note_books(self, stay: Stay, away: bool, at: Instant) -> None:
        self._note_stop(stay, stay.note_books(away, at))

    def note_paid(self, stay: Stay) -> None:
        """A block that is booked after its clock stopped pays for more of the time before."""
        self._note_stop(stay, not stay.meter.clock.running)

    def stop(self, stay: Stay, at: Instant) -> None:
        stay.stop(at)
        self._note_stop(stay, True)

    def stop_all(self, at: Instant) -> None:
        for stay in self._stays.values():
            self.stop(stay, at)

    def _note_stop(self, stay: Stay, stopped: bool) -> None:
        if stopped:
            self._unstored[stay.meter.payer] = None
        self.touch(stay)

    # What comes next

    def touch(self, stay: Stay) -> None:
        """Something about it has changed: its deadline, or what its payer should know."""
        self._touched[stay.meter.payer] = None
        if stay.meter.waiting:
            self._waiting.add(stay.meter.payer)
        else:
            self._waiting.discard(stay.meter.payer)
        self._schedule.plan(stay.meter.payer, stay.next_deadline())

    def touched(self) -> Iterator[Stay]:
        """Those touched since the last look."""
        touched, self._touched = self._touched, {}
        return (stay for user_id in touched if (stay := self._stays.get(user_id)) is not None)

    def first(self) -> tuple[Instant, Stay] | None:
        """Which stay does something next, and when."""
        found = self._schedule.first()
        return None if found is None else (found[0], self._stays[found[1]])

    @property
    def wait(self) -> bool:
        """Some block has no receipt yet."""
        return bool(self._waiting)

    # What to store

    @property
    def has_unstored(self) -> bool:
        """Some clock has stopped since it was last stored."""
        return bool(self._unstored)

    def unstored(self, at: Instant) -> tuple[tuple[UserId, Duration], ...]:
        """How far the clocks are that have stopped since they were last stored; some may run again."""
        return tuple((user_id, self._stays[user_id].meter.billed_active(at)) for user_id in self._unstored)

    def set_backs(self) -> tuple[SetBack, ...]:
        """Of the same clocks, in the same order."""
        return tuple(self._stays[user_id].meter.set_back for user_id in self._unstored)

    def note_stored(self, stays: tuple[tuple[UserId, Duration], ...], at: Instant) -> None:
        for user_id, active in stays:
            meter = self._stays[user_id].meter
            if meter.clock.running or meter.billed_active(at) == active:
                self._unstored.pop(user_id, None)

    def running(self) -> Iterator[Meter]:
        """The meters whose clocks run, to store how far they are."""
        return (stay.meter for stay in self._stays.values() if stay.meter.clock.running)
