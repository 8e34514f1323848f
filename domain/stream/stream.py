"""The life of a live stream: one creator, many viewers. `handle(input, at)` decides, the room's task carries out."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import msgspec

from domain.billing.meter import LedgerDisagrees, StoredMeter
from domain.billing.payee_end import blocks_given_back
from domain.billing.posting import Kind, Outcome, Receipt
from domain.ids import MemberId, PostingKey, UserId, block_key
from domain.instant import Duration, Instant, duration
from domain.protocol import commands as c
from domain.protocol import events as m
from domain.refusals import Code, Refusal, insufficient_tokens
from domain.room import effects, inputs
from domain.room.chat import RoomRef, Talk
from domain.room.deadlines import Deadline, DeadlineQueue
from domain.room.members import Member, Members, RoomFull, RoomRules
from domain.room.presence import Presence
from domain.room.record_queue import Records
from domain.room.termination import Termination
from domain.stream.access_policy import AccessPolicy
from domain.stream.events import StreamEvents
from domain.stream.host_presence import HostPresence
from domain.stream.record import (
    StreamFacts,
    StreamHistory,
    StreamRecord,
    StreamRules,
    StreamView,
    as_fields,
    view_stream,
)
from domain.stream.ticket_release import TicketRelease
from domain.stream.viewer_events import Viewers
from domain.stream.viewing_session import ViewingSession
from domain.stream.viewing_sessions import ViewingSessions

ENDED = Refusal(Code.STREAM_ENDED, "The stream has ended")
NO_ROOM = Refusal(Code.NOT_FOUND, "No such room")
TOO_MANY = Refusal(Code.OVERLOADED, "Too many connections in this stream, or too many of yours")
UNKNOWN_FUNDS = Refusal(Code.OVERLOADED, "What you have could not be looked up in time; try again in a moment")
TOO_MANY_SILENCED = Refusal(Code.OVERLOADED, "As many users as a stream takes are muted or removed")
OWNER_ENDS = ("ended", "owner_lost")  # reasons with which the owner ends a stream, by command or by staying away
SETTLING = Refusal(Code.OVERLOADED, "Your last block is still being booked; try again in a moment")


class Stream:
    """live -> ended. Each payer of a metered stream has a clock of their own (CONTRACT §5, Metered streams).

    As with a call, everything that was due by `at` happens before the input that arrived at `at`.
    """

    def __init__(
        self,
        facts: StreamFacts,
        rules: StreamRules,
        room_rules: RoomRules,
        epoch: int,
        record: StreamRecord,
        history: StreamHistory,
        at: Instant,
    ) -> None:
        self.facts, self.rules, self.epoch = facts, rules, epoch
        self.events = StreamEvents(facts, epoch)
        self.members = Members(rules.members)
        self.viewing_sessions = ViewingSessions(facts, rules, epoch)
        self.access_policy = AccessPolicy(facts, history.tickets, history.blocked, record.removed)
        self.termination = Termination(ENDED, record.ended_at, record.end_reason)
        self._presence = Presence(self.members, self.events.publish, room_rules.presence_limit)
        room_ref = RoomRef(facts.id, facts.channel, epoch, facts.owner_id, ENDED)
        hidden = (*record.removed, *history.blocked)
        self.talk = Talk(
            room_ref,
            self.members,
            self.events.publish,
            room_rules,
            history.tips,
            record.muted,
            hidden,
            self._clock_stands,
        )
        self._viewers = Viewers(facts, rules)
        self._started_at = record.started_at
        self._earned = history.earned
        self._host_presence = HostPresence(at, record.present)
        self._release = TicketRelease(facts, rules, record, self._host_presence)
        self._records = Records(self.record)
        self._effects: list[effects.Effect] = []
        self._deadline_queue = DeadlineQueue(self._deadlines)

    def open(self, at: Instant) -> list[effects.Effect]:
        """The first event of the room; and what a crash may have left undone."""
        live = [self.events.publish(m.StreamLive, at), self.talk.overlays.publish(m.StreamLive, at)]
        owed = (effects.Refund(user_id) for user_id in self.access_policy.removed & self.access_policy.tickets.keys())
        return [*live, *owed, *self._release.open(at)]

    # What arrives

    def handle(self, given: inputs.Input, at: Instant) -> list[effects.Effect]:
        """Decide what follows from an input that arrived at `at`; the effects are to be carried out in order."""
        self._deadline_queue.run(at)
        match given:
            case inputs.Said():
                self._talk(given, at)
            case inputs.Joined():
                self._join(given, at)
            case inputs.RightsChanged():
                self._change_rights(given, at)
            case inputs.OverlayJoined():
                self._effects += self.talk.join_overlay(given, self.termination.why_closed(), self._room())
            case inputs.Left(member_id):
                self._leave(member_id, at)
            case inputs.Unheard(member_id, heard_at):
                self.members.note_silence(member_id, True)
                self._note_silence(member_id, at if heard_at is None else min(heard_at, at), at)
            case inputs.Heard(member_id):
                self._note_sound(member_id, at)
            case inputs.OwnerConnected(member_id):
                self._viewers.catch_up(member_id, at)
            case inputs.Stalled():
                self._note_stall(given, at)
            case inputs.Receipts(receipts):
                for receipt in receipts:
                    if not self.settled:  # as it is from the moment on in which another server owns it
                        self._settle(receipt, at)
            case inputs.Saved(record):
                self._note_saved(record, at)
            case inputs.Fenced():
                self._disown()
            case inputs.FundsChanged(user_id, funds):
                if viewing := self.viewing_sessions.find(user_id):
                    viewing.meter.learn(funds)
                    self.viewing_sessions.touch(viewing)
            case inputs.TicketSold(user_id, ticket_id):
                self.access_policy.tickets[user_id] = ticket_id
                if not self.access_policy.access(user_id).has_access:  # put out while the ticket was under way
                    self._effects.append(effects.Refund(user_id))
            case inputs.TicketRefunded(user_id, ticket_id):
                if self.access_policy.refund(user_id, ticket_id):
                    self._evict(user_id, "ticket_refunded", at)
            case inputs.Barred(user_id, barred):
                self._bar(user_id, barred, at)
            case inputs.WordsHidden(user_id):
                self.talk.hide(user_id)
            case inputs.EndNow(reason):
                self._end(reason, at)
            case inputs.Drain():
                self._drain(at)
        self._deadline_queue.catch_up(at)  # what was decided may be due at once: the first block of a stay, or a count
        for viewing in self.viewing_sessions.touched():
            self._review(viewing, at)
        if not self.termination.over:
            self._tell_of_viewers(at)
        self._finish(at)
        self._deadline_queue.look()
        decided, self._effects = self._effects, []
        return decided

    def next_deadline(self) -> Instant | None:
        """When the stream must be handled again if nothing arrives before."""
        return self._deadline_queue.next_at

    def _deadlines(self) -> Iterator[Deadline]:
        """All that time alone will do. Of two at one moment the first named wins."""
        if self.termination.over:
            return
        if self._host_presence.empty_since is not None:
            limit = duration(self.rules.stream_drop_limit_seconds)
            yield Deadline(self._host_presence.empty_since + limit, partial(self._end, "owner_lost"))
        if (release_due_at := self._release.due_at()) is not None:
            yield Deadline(release_due_at, self._release_tickets)
        if (due := self.viewing_sessions.first()) is not None:
            yield Deadline(due[0], partial(self._serve, due[1]))
        if (count_due_at := self._presence.count_due_at()) is not None:
            yield Deadline(count_due_at, self._tell_count)
        if (viewers_due_at := self._viewers.due_at()) is not None:
            yield Deadline(viewers_due_at, self._tell_of_viewers)

    def _release_tickets(self, _: Instant) -> None:
        self._effects += self._release.ask()

    def _tell_count(self, at: Instant) -> None:
        self._effects.append(self._presence.tell_count(at))

    def _tell_of_viewers(self, at: Instant) -> None:
        self._effects += self._viewers.tell(at)

    # Coming and going

    def _join(self, given: inputs.Joined, at: Instant) -> None:
        refusal = self.termination.why_closed() or self.access_policy.refuse(given.user_id, given.is_operator)
        viewing = None
        if refusal is None and self.access_policy.pays(given.user_id, given.is_operator):
            viewing = None if given.viewing is None else self.viewing_sessions.open(given.user_id, given.viewing)
            refusal = UNKNOWN_FUNDS if viewing is None else self._why_not_watch(viewing, at)
        if refusal is None:
            refusal = self._admit(given, viewing, at)
        if refusal is not None:
            self._effects.append(effects.Answer(given.reply, refusal))

    def _why_not_watch(self, viewing: ViewingSession, at: Instant) -> Refusal | None:
        if viewing.revoked:
            return SETTLING
        if viewing.may_go_on(at):
            return None
        return insufficient_tokens(viewing.meter.next_tokens, viewing.meter.spendable, "to watch this stream")

    def _admit(self, given: inputs.Joined, viewing: ViewingSession | None, at: Instant) -> Refusal | None:
        per_user = self.rules.connections_per_viewer if viewing is None else self.rules.connections_per_payer
        if (silent := self.members.yielding(given.member_id, given.user_id, per_user)) is not None:
            self._leave(silent, at)
            self._effects.append(effects.Disconnect(silent))
        try:
            self._effects += self._presence.join(given.member_id, given.user_id, per_user, at)
        except RoomFull:
            return TOO_MANY
        self.access_policy.note_rights(given.member_id, given.is_operator)
        if viewing is None:
            self.viewing_sessions.leave(
                given.user_id, given.member_id, at
            )  # it may have paid until it joined once more
            self._save_stopped(at)
        self._hear(given.member_id, given.user_id, viewing, at)
        self._viewers.note_joined(given.member_id, given.user_id, at)
        role = self.access_policy.role(given.user_id, given.is_operator)
        listed = self._presence.listed(self.facts.owner_id)
        welcome = self.events.room_joined(given.member_id, role, listed, self._room(), self.talk.recent(), viewing, at)
        self._effects.append(effects.Admit(given.member_id, given.reply, welcome))
        return None

    def _hear(self, member_id: MemberId, user_id: UserId, viewing: ViewingSession | None, at: Instant) -> None:
        self.members.note_silence(member_id, False)
        if user_id == self.facts.owner_id and self._host_presence.enter(member_id, at):
            self.viewing_sessions.note_owner_here(at)
        if viewing is not None:
            viewing.warning.repeat()
            self.viewing_sessions.watch(viewing, member_id, at)

    def _note_sound(self, member_id: MemberId, at: Instant) -> None:
        member = self.members.find(member_id)
        if member is not None and not self.termination.over:
            viewing = None if member_id in self.access_policy.operators else self.viewing_sessions.find(member.user_id)
            self._hear(member_id, member.user_id, viewing, at)

    def _note_silence(self, member_id: MemberId, heard_at: Instant, at: Instant) -> None:
        """Not heard of since then: nobody pays, or is paid, for what may not arrive."""
        if member := self.members.find(member_id):
            self.viewing_sessions.drop(member.user_id, member_id, at)
            self._note_owner_gone(member_id, heard_at, at)
            self._save_stopped(at)

    def _note_owner_gone(self, member_id: MemberId, heard_at: Instant, at: Instant) -> None:
        if self._host_presence.leave(member_id, heard_at, at):
            self.viewing_sessions.note_owner_away(self._host_presence.heard_at, at)

    def _note_stall(self, stalled: inputs.Stalled, at: Instant) -> None:
        """No limit runs out because the server stood still, and nobody is billed for time in which nobody was heard."""
        self.viewing_sessions.excuse(stalled.until - at)
        self._host_presence.excuse(stalled.until - at, at)
        if stalled.unheard and not self.termination.over:
            for member in self.members.listed():
                self.viewing_sessions.drop(member.user_id, member.member_id, at, excused=True)
                if self._host_presence.leave(member.member_id, at, at, empty_since=stalled.until):
                    self.viewing_sessions.note_owner_away(at, at)
            self._save_stopped(at)

    def _leave(self, member_id: MemberId, at: Instant) -> None:
        self._effects += self.talk.overlays.leave(member_id)
        if member := self.members.find(member_id):
            self.access_policy.operators.discard(member_id)
            self.viewing_sessions.leave(member.user_id, member_id, at)
            self._note_owner_gone(member_id, at, at)
            self._effects += [effects.Remove(member_id), *self._presence.leave(member_id, at)]
            self._viewers.note_left(member_id, at)
            self._save_stopped(at)

    def _bar(self, user_id: UserId, barred: bool, at: Instant) -> None:
        """The creator blocks a user, or does so no longer; whoever was removed from this stream stays out."""
        if barred:
            self.talk.hide(user_id)
        elif user_id not in self.access_policy.removed:
            self.talk.show(user_id)
        if self.access_policy.bar(user_id, barred):
            given_back = not self.termination.over and self._give_back([user_id], at)
            if given_back and (viewing := self.viewing_sessions.find(user_id)) is not None:
                self.viewing_sessions.use_up(
                    viewing, at
                )  # a user who is allowed again begins with a block of their own
            self._evict(user_id, "banned", at)

    def _evict(self, user_id: UserId, reason: str, at: Instant) -> None:
        """All connections of a user; said to the user alone, while the room only sees them leave.

        An operator's connections stay, unless the owner removed the user.
        """
        connections = self.members.of(user_id)
        leaving = [
            one for one in connections if reason == "removed" or one.member_id not in self.access_policy.operators
        ]
        if leaving and len(leaving) == len(connections):
            for member in leaving:
                self._leave(member.member_id, at)
            self._effects.append(self.events.evict(user_id, reason))
        else:
            for member in leaving:
                self._evict_one(member.member_id, reason, at)

    def _evict_one(self, member_id: MemberId, reason: str, at: Instant) -> None:
        self._leave(member_id, at)
        self._effects.append(self.events.evict_one(member_id, reason))

    # Rights

    def _change_rights(self, given: inputs.RightsChanged, at: Instant) -> None:
        """The clock of a payer who becomes an operator stops; who is one no longer stays, and pays, as anybody may."""
        member = self.members.find(given.member_id)
        if (
            member is None
            or self.termination.over
            or given.is_operator is (given.member_id in self.access_policy.operators)
        ):
            return
        self.access_policy.note_rights(given.member_id, given.is_operator)
        if given.is_operator:
            self.viewing_sessions.leave(member.user_id, given.member_id, at)
            self._save_stopped(at)
        elif (reason := self._why_not_as_anybody(member, given.viewing, at)) is not None:
            self._evict_one(given.member_id, reason, at)

    def _why_not_as_anybody(self, member: Member, stored: StoredMeter | None, at: Instant) -> str | None:
        """The reason to put out a connection that is no operator's any more; None if it stays, and its clock runs."""
        if self.access_policy.refuse(member.user_id, False) is not None:
            return self.access_policy.why_evicted(member.user_id)
        if not self.access_policy.pays(member.user_id, False):
            return None
        paying = [one for one in self.members.of(member.user_id) if one.member_id not in self.access_policy.operators]
        if stored is None or len(paying) > self.rules.connections_per_payer:
            return "token_expired"
        viewing = self.viewing_sessions.open(member.user_id, stored)
        if self._why_not_watch(viewing, at) is not None:
            return "insufficient_funds"
        if not self.members.is_silent(member.member_id):
            self._hear(member.member_id, member.user_id, viewing, at)
        return None

    # Talking

    def _talk(self, said: inputs.Said, at: Instant) -> None:
        refusal = self.termination.why_closed() or self.access_policy.refuse_act(said, said.member_id in self.members)
        match said.command:
            case c.MemberMute(user_id=user_id) | c.MemberRemove(user_id=user_id) if (
                refusal is None and self._silences_too_many(said.command, UserId(user_id))
            ):
                self._effects.append(effects.Answer(said.reply, TOO_MANY_SILENCED))
            case c.MemberMute(user_id=user_id) if refusal is None:
                self.talk.mute(UserId(user_id))
                self._obeyed(said, at)
            case c.MemberRemove(user_id=user_id) if refusal is None:
                self._remove(UserId(user_id), at)
                self._obeyed(said, at)
            case _:
                self._effects += self.talk.take(said, refusal, at)

    def _silences_too_many(self, command: c.RoomAct, user_id: UserId) -> bool:
        """Each record of the stream holds all who are muted or removed."""
        silenced = self.talk.muted if isinstance(command, c.MemberMute) else self.access_policy.removed
        return len(silenced) >= self.rules.silenced and user_id not in silenced

    def _remove(self, user_id: UserId, at: Instant) -> None:
        self.access_policy.removed.add(user_id)
        self.talk.hide(user_id)
        self._give_back([user_id], at)
        self._evict(user_id, "removed", at)
        self._effects.append(effects.Refund(user_id))

    def _obeyed(self, said: inputs.Said, at: Instant) -> None:
        self._effects.append(effects.Answer(said.reply, {}))
        self._save(at)

    # Blocks

    def _serve(self, viewing: ViewingSession, at: Instant) -> None:
        """A stay's deadline: a block falls due, which nobody pays who is away, or the time of something is over."""
        if viewing.is_over_grace(at) or (not viewing.is_watched and not viewing.receipts_overdue(at)):
            self.viewing_sessions.note_absence(viewing, at)
            self._save_stopped(at)
        elif viewing.receipts_overdue(at):
            self.viewing_sessions.note_storage(viewing, True, at)
        else:
            self._effects.append(effects.Post(viewing.meter.post_next(at)))
            self.viewing_sessions.touch(viewing)

    def _settle(self, receipt: Receipt, at: Instant) -> None:
        if receipt.posting.kind is Kind.TIP:
            self._effects += self.talk.settle(receipt, at)
        else:
            self._settle_block(receipt, at)
        if receipt.outcome in (Outcome.FENCED, Outcome.CLOSED):
            self._disown()

    def _settle_block(self, receipt: Receipt, at: Instant) -> None:
        viewing = self.viewing_sessions.find(UserId(receipt.posting.debit))
        assert viewing is not None, "a stay is kept while a block of it is under way"
        block = viewing.meter.settle(receipt)
        if receipt.paid:
            self._earned += block.tokens
            self._effects += self.events.block_charged(viewing, receipt, block.tokens, self._earned, at)
        elif receipt.outcome in (Outcome.INSUFFICIENT, Outcome.LIMITED):
            self._revoke(viewing, at)
        elif receipt.outcome not in (Outcome.FENCED, Outcome.CLOSED) and not (self.termination.over or viewing.revoked):
            raise LedgerDisagrees(f"block {block.block_no} of a stay in {self.facts.id}: {receipt.outcome.name}")
        if not viewing.meter.waiting:
            self.viewing_sessions.note_storage(viewing, False, at)
            if viewing.revoked:
                self.viewing_sessions.release(viewing, at)
        if receipt.paid and not viewing.meter.clock.running:
            self.viewing_sessions.note_paid(viewing)
            self._save(at)

    def _review(self, viewing: ViewingSession, at: Instant) -> None:
        """Tell the owner whether the clock stands, and a payer who is here what they have left once it is known."""
        for member in self.members.of(viewing.meter.payer):
            is_free = member.member_id in self.access_policy.operators
            self._viewers.note_paused(member.member_id, viewing.is_paused and not is_free, at)
        if viewing.is_watched and not viewing.meter.waiting and not self.termination.over:
            self._effects += self.events.funds(viewing, at)

    def _clock_stands(self, member_id: MemberId) -> bool:
        """Whether a member pays by the block, and does not do so now."""
        member = self.members.find(member_id)
        viewing = None if member is None else self.viewing_sessions.find(member.user_id)
        return viewing is not None and member_id not in self.access_policy.operators and not viewing.meter.clock.running

    def _revoke(self, viewing: ViewingSession, at: Instant) -> None:
        """A viewer who cannot pay is put out; whoever comes back later goes on after the last paid block."""
        viewing.revoked = True
        self.viewing_sessions.stop(viewing, at)
        self._effects.append(effects.Withdraw(viewing.meter.payer))
        self._evict(viewing.meter.payer, "insufficient_funds", at)

    # The end

    def _end(self, reason: str, at: Instant) -> None:
        """No block falls due from here on; those that did are still charged."""
        if self.termination.end(reason, at):
            self._give_back(self.viewing_sessions.payers(), at, by_owner=reason in OWNER_ENDS)
            self.viewing_sessions.stop_all(at)
            self._host_presence.close(at)

    def _give_back(self, payers: Iterable[UserId], at: Instant, *, by_owner: bool = True) -> bool:
        """Refund blocks that a payer had little or nothing of (CONTRACT §5, A payee who ends); False if there are none.

        Payers who left before the owner ended it get back only what fell due while the owner was away.
        """
        blocks: list[PostingKey] = []
        for viewing in filter(None, map(self.viewing_sessions.find, payers)):
            meter = viewing.meter
            at_least = self.rules.payee_end_seconds if by_owner and self.members.of(meter.payer) else 0
            numbers = blocks_given_back(meter.price, meter.posted, meter.clock.active(at), duration(at_least))
            blocks += [block_key(self.facts.id, meter.payer, block_no) for block_no in numbers]
        if blocks:
            self._effects.append(effects.GiveBack(tuple(blocks)))
        return bool(blocks)

    def _drain(self, at: Instant) -> None:
        """The server stops: every clock stands, and the stream goes on from its rows when it is back."""
        if not self.termination.over:
            self.viewing_sessions.stop_all(at)
            self._host_presence.close(at)
            self._effects += self.termination.drain()

    def _disown(self) -> None:
        """Another server owns the stream now: say nothing more about it."""
        if not self.settled:
            self._effects += [*self.termination.drain(), *self.talk.abandon()]
            self._close(moved=True)

    def _finish(self, at: Instant) -> None:
        """Once it is over and nothing is under way, store the last record."""
        if self.termination.over and not self.viewing_sessions.wait and not self.talk.waits:
            self._effects += self.termination.store(partial(self.record, at))

    def _note_saved(self, record: StreamRecord, at: Instant) -> None:
        if not self.termination.over:
            self._effects += self._records.note_saved(at)  # first: it also says how far clocks are that run again
        self.viewing_sessions.note_stored(record.viewing_sessions, at)
        self._release.note_stored(record.present)
        if self.termination.is_last(record):
            if (reason := self.termination.reason) is not None:
                for publish in (self.events.publish, self.talk.overlays.publish):
                    self._effects += [publish(kind, at, reason=reason) for kind in (m.StreamEnded, m.RoomClosed)]
            self._close()

    def _close(self, *, moved: bool = False) -> None:
        self.members.clear()
        self._effects += self.termination.settle(moved=moved)

    def _save_stopped(self, at: Instant) -> None:
        if self.viewing_sessions.has_unstored or self._release.has_unstored(at):
            self._save(at)

    def _save(self, at: Instant) -> None:
        if not self.termination.over:
            self._effects += self._records.save(at)

    # What others may know

    def view(self) -> StreamView:
        """The stream as anybody may see it now."""
        return view_stream(self.facts, self._state(), len(self.members))

    def unreleased_presence(self, at: Instant) -> Duration | None:
        """For how long the creator was live and present, where its tickets wait for that; None elsewhere."""
        return self._host_presence.present(at) if self._release.pending else None

    def record(self, at: Instant) -> StreamRecord:
        """The state to store."""
        return msgspec.structs.replace(
            self._state(),
            viewing_sessions=self.viewing_sessions.unstored(at),
            set_backs=self.viewing_sessions.set_backs(),
            present=self._host_presence.present(at),
        )

    def _state(self) -> StreamRecord:
        return StreamRecord(
            status="live" if self.termination.ended_at is None else "ended",
            started_at=self._started_at,
            ended_at=self.termination.ended_at,
            end_reason=self.termination.reason,
            muted=tuple(self.talk.muted),
            removed=tuple(self.access_policy.removed),
        )

    def _room(self) -> dict[str, Any]:
        return {"kind": "stream", **as_fields(self.view())}

    @property
    def over(self) -> bool:
        """Ended, or left as its server drains; there may be receipts and records that it waits for."""
        return self.termination.over

    @property
    def settled(self) -> bool:
        """Over, with every receipt in and the last record stored."""
        return self.termination.settled
