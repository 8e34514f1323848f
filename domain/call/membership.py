"""The connections of a call's parties: joins, leaves and silence, and their effect on the clock."""

from domain.call.holds import Holds
from domain.call.parties import Hold, Party, Role
from domain.call.state import CallState
from domain.ids import MemberId, UserId
from domain.instant import Instant
from domain.protocol import events as m
from domain.refusals import Code, Refusal
from domain.room import effects, inputs
from domain.room.members import RoomFull

NO_ROOM = Refusal(Code.NOT_FOUND, "No such room")
TOO_MANY = Refusal(Code.OVERLOADED, "Too many connections of yours in this call")


class CallMembership:
    """Admits connections of the two parties to a call and removes them, and notes when a party is absent or back."""

    def __init__(self, state: CallState, holds: Holds) -> None:
        self._state, self._holds = state, holds
        self._members, self._parties, self._setup = state.members, state.parties, state.setup

    def join(self, member_id: MemberId, user_id: UserId, reply: inputs.Reply, at: Instant) -> None:
        """Admit a connection of a party, or answer the refusal.

        NOT_FOUND to anybody else, CALL_ENDED, DRAINING, or OVERLOADED past the party's number of connections.
        A connection that is a member already receives the present state again.
        """
        party = self._parties.of(user_id)
        if refusal := NO_ROOM if party is None else self._state.termination.why_closed():
            self._state.effects.append(effects.Answer(reply, refusal))
        elif party is not None:
            try:
                self._admit(party, member_id, reply, at)
            except RoomFull:
                self._state.effects.append(effects.Answer(reply, TOO_MANY))

    def _admit(self, party: Party, member_id: MemberId, reply: inputs.Reply, at: Instant) -> None:
        state = self._state
        if member_id not in self._members:
            self._replace_silent(member_id, party, at)
            self._members.add(member_id, party.user_id, state.rules.connections_per_party)
            state.effects.append(state.events.publish(m.MemberJoined, at, member_id=member_id, user_id=party.user_id))
        welcome = state.events.room_joined(
            member_id, party.role, self._members.listed(), state.room(at), state.chat_and_tips.recent(), at
        )
        state.effects.append(effects.Admit(member_id, reply, welcome))
        self._note_return(party, member_id, at)

    def _replace_silent(self, member_id: MemberId, party: Party, at: Instant) -> None:
        """Remove the party's longest silent connection if a new one would exceed the limit."""
        silent = self._members.yielding(member_id, party.user_id, self._state.rules.connections_per_party)
        if silent is not None:
            self.leave(silent, at)
            self._state.effects.append(effects.Disconnect(silent))

    def leave(self, member_id: MemberId, at: Instant) -> None:
        """Remove a connection, as member and as overlay; a party whose last connection leaves is absent at once."""
        self._state.effects += self._state.chat_and_tips.overlays.leave(member_id)
        party, member = self._parties.with_member(member_id), self._members.remove(member_id)
        if party is not None and member is not None:
            left = self._state.events.publish(m.MemberLeft, at, member_id=member_id, user_id=member.user_id)
            self._state.effects += [effects.Remove(member_id), left]
            party.note_left(member_id, at)
            self._note_absence(party, at)

    def note_silence(self, member_id: MemberId, last_received_at: Instant, at: Instant) -> None:
        """Note that nothing is received from a connection any more, after a last byte at `last_received_at`."""
        self._members.note_silence(member_id, True)
        if party := self._parties.with_member(member_id):
            party.note_silent(member_id, at, last_received_at)
            self._note_absence(party, at)

    def _note_absence(self, party: Party, at: Instant) -> None:
        """Stop the clock if the payee has become absent, as of the last byte received from them.

        An absent payer's clock runs on for a grace, which is a deadline.
        """
        is_payee_gone = party.role is Role.CREATOR and not party.present and party.by_absence not in self._parties.holds
        if is_payee_gone and self._setup.started_at is not None and not self._state.termination.over:
            self._state.meter.payee_was_away(party.last_received_at, at)
            self._holds.hold(party.by_absence, at)
        else:
            self._state.save(at)

    def note_responsive(self, member_id: MemberId, at: Instant) -> None:
        """Note that bytes are received from a silent connection again."""
        if party := self._parties.with_member(member_id):
            self._note_return(party, member_id, at)

    def _note_return(self, party: Party, member_id: MemberId, at: Instant) -> None:
        if party.role is Role.FAN:
            self._state.events.repeat_warning()
        party.note_responsive(member_id)
        self._members.note_silence(member_id, False)
        self._holds.start_when_met(at)
        self._holds.lift({party.by_absence} if self._parties.absent() else {party.by_absence, Hold.RESTART}, at)

    def note_stall(self, stalled: inputs.Stalled, at: Instant) -> None:
        """Extend every limit by a stall of the server, so that no limit ends because of it.

        If the stall was long enough for all connections to count as silent, nobody is billed for it.
        """
        for waiting in (self._setup, self._parties, self._state.meter):
            waiting.excuse(stalled.until - at)
        if stalled.all_silent:
            self._parties.note_all_silent(stalled.until)
            for party in self._parties.both if self._setup.started_at is not None else ():
                self._holds.hold(party.by_absence, at)
