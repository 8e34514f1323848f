"""The connections of a stream: joins, leaves, silence, evictions and changed rights, and what they do to the clocks."""

from domain.billing.meter import StoredMeter
from domain.ids import MemberId, UserId
from domain.instant import Instant
from domain.refusals import Code, Refusal, insufficient_tokens
from domain.room import effects, inputs
from domain.room.members import Member, RoomFull
from domain.stream.state import StreamState
from domain.stream.viewing_session import ViewingSession

TOO_MANY = Refusal(Code.OVERLOADED, "Too many connections in this stream, or too many of yours")
UNKNOWN_FUNDS = Refusal(Code.OVERLOADED, "Your balance could not be read in time; try again in a moment")
SETTLING = Refusal(Code.OVERLOADED, "Your last block is still being booked; try again in a moment")


class StreamMembership:
    """Admits connections to a stream and removes them, and notes which of them are silent.

    Each step changes the members, the payer's clock and the owner's presence together, and stores clocks that stop.
    """

    def __init__(self, state: StreamState) -> None:
        self._state = state
        self._members, self._access_policy, self._rules = state.members, state.access_policy, state.rules
        self._viewing_sessions, self._host_presence = state.viewing_sessions, state.host_presence

    def join(self, given: inputs.Joined, at: Instant) -> None:
        """Admit a connection, or answer the refusal.

        STREAM_ENDED or DRAINING once the stream is over, or a refusal of the access policy; for a payer also OVERLOADED
        if their funds are unknown or their last block is under way, and INSUFFICIENT_TOKENS; OVERLOADED past a limit of
        connections. A silent connection of the same user is replaced if the user's limit is reached.
        """
        refusal = self._state.termination.why_closed() or self._access_policy.refuse(given.user_id, given.is_operator)
        viewing = None
        if refusal is None and self._access_policy.pays(given.user_id, given.is_operator):
            viewing = None if given.viewing is None else self._viewing_sessions.open(given.user_id, given.viewing)
            refusal = UNKNOWN_FUNDS if viewing is None else self._refuse_watching(viewing, at)
        if refusal is None:
            refusal = self._admit(given, viewing, at)
        if refusal is not None:
            self._state.effects.append(effects.Answer(given.reply, refusal))

    def _refuse_watching(self, viewing: ViewingSession, at: Instant) -> Refusal | None:
        """Return why a payer may not watch now, or None."""
        if viewing.revoked:
            return SETTLING
        if viewing.may_go_on(at):
            return None
        return insufficient_tokens(viewing.meter.next_tokens, viewing.meter.spendable, "to watch this stream")

    def _admit(self, given: inputs.Joined, viewing: ViewingSession | None, at: Instant) -> Refusal | None:
        per_user = self._rules.connections_per_viewer if viewing is None else self._rules.connections_per_payer
        if (silent := self._members.yielding(given.member_id, given.user_id, per_user)) is not None:
            self.leave(silent, at)
            self._state.effects.append(effects.Disconnect(silent))
        try:
            self._state.effects += self._state.presence.join(given.member_id, given.user_id, per_user, at)
        except RoomFull:
            return TOO_MANY
        self._access_policy.note_rights(given.member_id, given.is_operator)
        if viewing is None:
            # A member that paid may join again without paying, as an operator.
            self._viewing_sessions.leave(given.user_id, given.member_id, at)
            self._state.save_stopped(at)
        self._note_responsive(given.member_id, given.user_id, viewing, at)
        self._state.viewers.note_joined(given.member_id, given.user_id, at)
        role = self._access_policy.role(given.user_id, given.is_operator)
        listed = self._state.presence.listed(self._state.facts.owner_id)
        welcome = self._state.events.room_joined(
            given.member_id, role, listed, self._state.room(), self._state.chat_and_tips.recent(), viewing, at
        )
        self._state.effects.append(effects.Admit(given.member_id, given.reply, welcome))
        return None

    def _note_responsive(
        self, member_id: MemberId, user_id: UserId, viewing: ViewingSession | None, at: Instant
    ) -> None:
        self._members.note_silence(member_id, False)
        if user_id == self._state.facts.owner_id and self._host_presence.enter(member_id, at):
            self._viewing_sessions.note_owner_here(at)
        if viewing is not None:
            viewing.warning.repeat()
            self._viewing_sessions.watch(viewing, member_id, at)

    def note_responsive(self, member_id: MemberId, at: Instant) -> None:
        """Note that bytes are received from a silent connection again."""
        member = self._members.find(member_id)
        if member is not None and not self._state.termination.over:
            is_operator = member_id in self._access_policy.operators
            viewing = None if is_operator else self._viewing_sessions.find(member.user_id)
            self._note_responsive(member_id, member.user_id, viewing, at)

    def note_silence(self, member_id: MemberId, last_received_at: Instant, at: Instant) -> None:
        """Note that nothing is received from a connection any more, after a last byte at `last_received_at`.

        Nobody pays or is paid for media that may not arrive.
        """
        self._members.note_silence(member_id, True)
        if member := self._members.find(member_id):
            self._viewing_sessions.drop(member.user_id, member_id, at)
            self._note_owner_absent(member_id, last_received_at, at)
            self._state.save_stopped(at)

    def _note_owner_absent(self, member_id: MemberId, last_received_at: Instant, at: Instant) -> None:
        if self._host_presence.leave(member_id, last_received_at, at):
            self._viewing_sessions.note_owner_away(self._host_presence.last_received_at, at)

    def note_stall(self, stalled: inputs.Stalled, at: Instant) -> None:
        """Extend every limit by a stall of the server, so that no limit ends because of it.

        If the stall was long enough for all connections to count as silent, nobody is billed for it.
        """
        self._viewing_sessions.excuse(stalled.until - at)
        self._host_presence.excuse(stalled.until - at, at)
        if stalled.all_silent and not self._state.termination.over:
            for member in self._members.listed():
                self._viewing_sessions.drop(member.user_id, member.member_id, at, excused=True)
                if self._host_presence.leave(member.member_id, at, at, empty_since=stalled.until):
                    self._viewing_sessions.note_owner_away(at, at)
            self._state.save_stopped(at)

    def leave(self, member_id: MemberId, at: Instant) -> None:
        """Remove a connection, as member and as overlay, and stop the clock that it kept running."""
        self._state.effects += self._state.chat_and_tips.overlays.leave(member_id)
        if member := self._members.find(member_id):
            self._access_policy.operators.discard(member_id)
            self._viewing_sessions.leave(member.user_id, member_id, at)
            self._note_owner_absent(member_id, at, at)
            self._state.effects += [effects.Remove(member_id), *self._state.presence.leave(member_id, at)]
            self._state.viewers.note_left(member_id, at)
            self._state.save_stopped(at)

    def evict(self, user_id: UserId, reason: str, at: Instant) -> None:
        """Remove all connections of a user and send `access:revoked` to the user; the room sees only that they left.

        An operator's connections stay, unless the owner removed the user.
        """
        connections = self._members.of(user_id)
        operators = () if reason == "removed" else self._access_policy.operators
        leaving = [member for member in connections if member.member_id not in operators]
        if leaving and len(leaving) == len(connections):
            for member in leaving:
                self.leave(member.member_id, at)
            self._state.effects.append(self._state.events.evict(user_id, reason))
        else:
            for member in leaving:
                self._evict_one(member.member_id, reason, at)

    def _evict_one(self, member_id: MemberId, reason: str, at: Instant) -> None:
        self.leave(member_id, at)
        self._state.effects.append(self._state.events.evict_one(member_id, reason))

    # Operator rights

    def change_rights(self, given: inputs.RightsChanged, at: Instant) -> None:
        """Note that a connection's user became an operator, or is one no longer.

        The clock of a payer who becomes an operator stops. A former operator stays, and pays, if any other user might;
        otherwise the connection is evicted.
        """
        member = self._members.find(given.member_id)
        if member is None or self._state.termination.over:
            return
        if given.is_operator is (given.member_id in self._access_policy.operators):
            return
        self._access_policy.note_rights(given.member_id, given.is_operator)
        if given.is_operator:
            self._viewing_sessions.leave(member.user_id, given.member_id, at)
            self._state.save_stopped(at)
        elif (reason := self._why_not_as_viewer(member, given.viewing, at)) is not None:
            self._evict_one(given.member_id, reason, at)

    def _why_not_as_viewer(self, member: Member, stored: StoredMeter | None, at: Instant) -> str | None:
        """Return why a former operator's connection is evicted, or None if it stays; its clock runs from then on."""
        if self._access_policy.refuse(member.user_id, False) is not None:
            return self._access_policy.why_evicted(member.user_id)
        if not self._access_policy.pays(member.user_id, False):
            return None
        paying = [one for one in self._members.of(member.user_id) if one.member_id not in self._access_policy.operators]
        if stored is None or len(paying) > self._rules.connections_per_payer:
            return "token_expired"
        viewing = self._viewing_sessions.open(member.user_id, stored)
        if self._refuse_watching(viewing, at) is not None:
            return "insufficient_funds"
        if not self._members.is_silent(member.member_id):
            self._note_responsive(member.member_id, member.user_id, viewing, at)
        return None
