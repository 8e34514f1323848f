"""The two parties of a call: who is present, which holds stop the clock, and for how long."""

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
    """A reason for which the clock is stopped. Each is lifted only by its own cause (contract.md, Holds)."""

    FAN = "fan"
    CREATOR = "creator"
    ABSENT_FAN = "absent:fan"
    ABSENT_CREATOR = "absent:creator"
    STORAGE = "storage"
    RESTART = "restart"


class Parties:
    """The two parties of a call and the holds that are set. The clock runs while none is set."""

    def __init__(self, fan: UserId, creator: UserId, rules: CallRules, clock: ActiveClock) -> None:
        resumes = Rate(rules.resumes_per_second, rules.resumes_burst)
        self.fan = Party(Role.FAN, fan, resumes)
        self.creator = Party(Role.CREATOR, creator, resumes)
        self.both = (self.fan, self.creator)
        self.holds: set[Hold] = set()
        self._rules = rules
        self._clock = clock

    def adopt(self, record: CallRecord, at: Instant) -> None:
        """Continue after a restart: both parties are absent since `at`, and manual pauses remain."""
        self.fan.paused_at, self.creator.paused_at = record.fan_paused_at, record.creator_paused_at
        self.fan.paused_before, self.creator.paused_before = record.fan_paused, record.creator_paused
        self.fan.dropped_at = self.creator.dropped_at = at
        self.holds = {Hold.RESTART} | {party.by_hand for party in self.both if party.paused_at is not None}

    def of(self, user_id: UserId) -> "Party | None":
        """Return the party of this user, or None."""
        return next((party for party in self.both if party.user_id == user_id), None)

    def with_member(self, member_id: MemberId) -> "Party | None":
        """Return the party that this connection belongs to, or None."""
        return next((party for party in self.both if party.knows(member_id)), None)

    def absent(self) -> "list[Party]":
        """Return the parties that are not present."""
        return [party for party in self.both if not party.present]

    def names_of_holds(self) -> list[str]:
        """Return the holds as clients see them, sorted."""
        return sorted(self.holds)

    def hold(self, hold: Hold, at: Instant) -> bool:
        """Stop the clock for one more reason; False if this hold is set already."""
        if hold in self.holds:
            return False
        self.holds.add(hold)
        self._clock.stop(at)
        return True

    def lift(self, holds: set[Hold], at: Instant) -> bool:
        """Lift these holds; the clock runs again when none is left. False if none of them was set."""
        if not self.holds & holds:
            return False
        self.holds -= holds
        if not self.holds:
            self._clock.start(at)
        return True

    @property
    def interrupted(self) -> bool:
        """Whether a party has paused or is absent, so that `ends` and `absences` have deadlines."""
        return self.fan.interrupted or self.creator.interrupted

    def ends(self) -> "Iterator[tuple[Instant, str, Party]]":
        """Yield when a pause or an absence will end the call, the end reason, and the party that causes it."""
        for party in self.both:
            if party.paused_at is not None:
                note_left = max(0, duration(self._rules.pause_limit_seconds) - party.paused_before)
                yield party.paused_at + party.pause_excused + note_left, "pause_limit", party
            if party.dropped_at is not None:
                lost_at = party.dropped_at + party.drop_excused + duration(self._rules.drop_limit_seconds)
                yield lost_at, "peer_lost", party

    def absences(self) -> Iterator[tuple[Instant, Hold]]:
        """Yield when an absence will stop the clock, and its hold; until then the clock runs."""
        for party in self.both:
            if party.dropped_at is not None and party.by_absence not in self.holds:
                yield party.dropped_at + duration(self._rules.drop_grace_seconds), party.by_absence

    def excuse(self, stalled: Duration) -> None:
        """Extend the limits of present pauses and absences by a stall, in which no party could return."""
        for party in self.both:
            party.excuse(stalled)

    def note_all_silent(self, at: Instant) -> None:
        """Note that every connection fell silent at `at`; a party is absent until one of them is responsive."""
        for party in self.both:
            party.note_all_silent(at)


class Party:
    """One party of a call. It is present while at least one of its connections has joined and is responsive."""

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
        self.dropped_at: Instant | None = None  # since when it is absent; None while present, and before it first joins
        self.last_received_at: Instant = 0  # when the last byte of a connection that fell silent or left came in
        self.paused_at: Instant | None = None  # since when it pauses the call
        self.paused_before: Duration = 0  # the sum of its earlier pauses
        self.resumes = TokenBucket(resumes)  # limits ends of pauses, each of which is published and stored
        self.drop_excused: Duration = 0  # stalls of the server during this absence, which extend its limit
        self.pause_excused: Duration = 0  # … and during this pause
        self._responsive: set[MemberId] = set()
        self._silent: set[MemberId] = set()

    @property
    def interrupted(self) -> bool:
        """Whether the party has paused or is absent."""
        return self.paused_at is not None or self.dropped_at is not None

    @property
    def present(self) -> bool:
        """Whether bytes are received from at least one of its connections."""
        return bool(self._responsive)

    def note_responsive(self, member: MemberId) -> None:
        """A connection joined, or is responsive again; the party is present."""
        self._silent.discard(member)
        self._responsive.add(member)
        self.dropped_at, self.drop_excused = None, 0

    def resume(self, at: Instant) -> None:
        """End the party's pause, if it has paused; the pauses add up."""
        if self.paused_at is not None:
            self.resumes.spend(1, at)
            self.paused_before += max(0, at - self.paused_at - self.pause_excused)
        self.paused_at, self.pause_excused = None, 0

    def excuse(self, stalled: Duration) -> None:
        """Extend a present pause or absence by the time of a stall."""
        self.pause_excused += 0 if self.paused_at is None else stalled
        self.drop_excused += 0 if self.dropped_at is None else stalled

    def note_all_silent(self, at: Instant) -> None:
        """All of its connections fell silent at `at`; each may be responsive again later."""
        for member in list(self._responsive):
            self.note_silent(member, at, at)

    def note_silent(self, member: MemberId, at: Instant, last_received_at: Instant) -> None:
        """A connection fell silent, and its last byte was received at `last_received_at`."""
        if member in self._responsive:
            self._responsive.discard(member)
            self._silent.add(member)
            self._note_drop(at, last_received_at)

    def note_left(self, member: MemberId, at: Instant) -> None:
        """A connection left for good. The party is absent at once if it was the last responsive one."""
        self._silent.discard(member)
        if member in self._responsive:
            self._responsive.discard(member)
            self._note_drop(at, at)

    def knows(self, member: MemberId) -> bool:
        """Return whether this connection belongs to the party."""
        return member in self._responsive or member in self._silent

    def _note_drop(self, at: Instant, last_received_at: Instant) -> None:
        self.last_received_at = max(self.last_received_at, last_received_at)
        if not self._responsive:
            self.dropped_at = at
