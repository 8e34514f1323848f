"""Who is here, what stops the clock, and for how long."""

from collections.abc import Iterator
from enum import StrEnum

from domain.billing.block import ActiveClock
from domain.call.record import CallRecord, CallRules
from domain.ids import MemberId, UserId
from domain.instant import Duration, Instant, duration
from domain.token_bucket import Rate, TokenBucket


class Role(StrEnum):
    """A party's part in a call."""

    FAN = "fan"
    CREATOR = "creator"


class Hold(StrEnum):
    """A reason for which the clock stands. Each is lifted only by its own cause (CONTRACT §5, Holds)."""

    FAN = "fan"
    CREATOR = "creator"
    ABSENT_FAN = "absent:fan"
    ABSENT_CREATOR = "absent:creator"
    STORAGE = "storage"
    RESTART = "restart"


class Parties:
    """The two sides of a call, and every hold that stands. The clock runs while none does."""

    def __init__(self, fan: UserId, creator: UserId, rules: CallRules, clock: ActiveClock) -> None:
        resumes = Rate(rules.resumes_per_second, rules.resumes_burst)
        self.fan = Party(Role.FAN, fan, resumes)
        self.creator = Party(Role.CREATOR, creator, resumes)
        self.both = (self.fan, self.creator)
        self.holds: set[Hold] = set()
        self._rules = rules
        self._clock = clock

    def adopt(self, record: CallRecord, at: Instant) -> None:
        """After a restart: everybody is away since now, and what was paused by hand still is."""
        self.fan.paused_at, self.creator.paused_at = record.fan_paused_at, record.creator_paused_at
        self.fan.paused_before, self.creator.paused_before = record.fan_paused, record.creator_paused
        self.fan.dropped_at = self.creator.dropped_at = at
        self.holds = {Hold.RESTART} | {party.by_hand for party in self.both if party.paused_at is not None}

    def of(self, user_id: UserId) -> "Party | None":
        return next((party for party in self.both if party.user_id == user_id), None)

    def with_member(self, member_id: MemberId) -> "Party | None":
        return next((party for party in self.both if party.knows(member_id)), None)

    def absent(self) -> "list[Party]":
        return [party for party in self.both if not party.present]

    def names_of_holds(self) -> list[str]:
        """The holds as clients see them."""
        return sorted(self.holds)

    def hold(self, hold: Hold, at: Instant) -> bool:
        """Stop the clock for one reason more; False if it was held for this one already."""
        if hold in self.holds:
            return False
        self.holds.add(hold)
        self._clock.stop(at)
        return True

    def lift(self, holds: set[Hold], at: Instant) -> bool:
        """Take reasons away; the clock goes on when none is left. False if none of them stood."""
        if not self.holds & holds:
            return False
        self.holds -= holds
        if not self.holds:
            self._clock.start(at)
        return True

    @property
    def interrupted(self) -> bool:
        """Somebody has paused or is gone: what follows from it has deadlines."""
        return self.fan.interrupted or self.creator.interrupted

    def ends(self) -> "Iterator[tuple[Instant, str, Party]]":
        """When pauses or a drop will have lasted too long, with what reason that ends the call, and whose they are."""
        for party in self.both:
            if party.paused_at is not None:
                note_left = max(0, duration(self._rules.pause_limit_seconds) - party.paused_before)
                yield party.paused_at + party.pause_excused + note_left, "pause_limit", party
            if party.dropped_at is not None:
                lost_at = party.dropped_at + party.drop_excused + duration(self._rules.drop_limit_seconds)
                yield lost_at, "peer_lost", party

    def absences(self) -> Iterator[tuple[Instant, Hold]]:
        """When a drop will stop the clock; until then time runs on."""
        for party in self.both:
            if party.dropped_at is not None and party.by_absence not in self.holds:
                yield party.dropped_at + duration(self._rules.drop_grace_seconds), party.by_absence

    def excuse(self, stalled: Duration) -> None:
        """Let pauses and drops that stand last longer by a stall: nobody could come back meanwhile."""
        for party in self.both:
            party.excuse(stalled)

    def note_all_silent(self, at: Instant) -> None:
        """Every connection fell silent at once; until it is heard again, its party is absent."""
        for party in self.both:
            party.note_all_silent(at)


class Party:
    """One side of a call: present while at least one of its connections has joined and is heard."""

    __slots__ = (
        "_responsive",
        "_silent",
        "by_absence",
        "by_hand",
        "drop_excused",
        "dropped_at",
        "last_received_at",
        "pause_excused",
        "paused_at",
        "paused_before",
        "resumes",
        "role",
        "user_id",
    )

    def __init__(self, role: Role, user_id: UserId, resumes: Rate) -> None:
        self.role = role
        self.user_id = user_id
        self.by_hand = Hold(role)
        self.by_absence = Hold(f"absent:{role}")
        self.dropped_at: Instant | None = None  # since when it is gone, once it was here
        self.last_received_at: Instant = 0  # when it is gone: when any of its connections was heard last
        self.paused_at: Instant | None = None  # since when it holds the call by hand
        self.paused_before: Duration = 0  # for how long it did so before that
        self.resumes = TokenBucket(resumes)  # of pauses by hand: each pause and its end are told to both, and stored
        self.drop_excused: Duration = 0  # stalls of the server during this drop: its limit is longer by that
        self.pause_excused: Duration = 0  # … and during this pause
        self._responsive: set[MemberId] = set()
        self._silent: set[MemberId] = set()

    @property
    def interrupted(self) -> bool:
        """Paused, or gone."""
        return self.paused_at is not None or self.dropped_at is not None

    @property
    def present(self) -> bool:
        return bool(self._responsive)

    def note_responsive(self, member: MemberId) -> None:
        """A connection joined, or was heard again; a party that is back was not dropped."""
        self._silent.discard(member)
        self._responsive.add(member)
        self.dropped_at, self.drop_excused = None, 0

    def resume(self, at: Instant) -> None:
        """It holds the call by hand no longer; its pauses add up."""
        if self.paused_at is not None:
            self.resumes.spend(1, at)
            self.paused_before += max(0, at - self.paused_at - self.pause_excused)
        self.paused_at, self.pause_excused = None, 0

    def excuse(self, stalled: Duration) -> None:
        """The server did nothing for so long: a pause or drop that stands may last longer by that."""
        self.pause_excused += 0 if self.paused_at is None else stalled
        self.drop_excused += 0 if self.dropped_at is None else stalled

    def note_all_silent(self, at: Instant) -> None:
        """All of its connections fell silent at `at`; each may be heard again."""
        for member in list(self._responsive):
            self.note_silent(member, at, at)

    def note_silent(self, member: MemberId, at: Instant, last_received_at: Instant) -> None:
        """A connection fell silent, and was heard last at `last_received_at`; it may be heard again."""
        if member in self._responsive:
            self._responsive.discard(member)
            self._silent.add(member)
            self._note_drop(at, last_received_at)

    def note_left(self, member: MemberId, at: Instant) -> None:
        """A connection left for good. Leaving with the last one is an absence at once."""
        self._silent.discard(member)
        if member in self._responsive:
            self._responsive.discard(member)
            self._note_drop(at, at)

    def knows(self, member: MemberId) -> bool:
        return member in self._responsive or member in self._silent

    def _note_drop(self, at: Instant, last_received_at: Instant) -> None:
        self.last_received_at = max(self.last_received_at, last_received_at)
        if not self._responsive:
            self.dropped_at = at
