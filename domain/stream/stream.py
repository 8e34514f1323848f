"""The life of a live stream: one creator, many viewers. `handle(input, at)` decides, the room's task carries out."""

from collections.abc import Iterable, Iterator
from functools import partial

from domain.billing.meter import LedgerDisagrees
from domain.billing.payee_end import blocks_given_back
from domain.billing.posting import Kind, Outcome, Receipt
from domain.ids import PostingKey, UserId, block_key
from domain.instant import Duration, Instant, duration
from domain.protocol import commands as c
from domain.protocol import events as m
from domain.refusals import Code, Refusal
from domain.room import effects, inputs
from domain.room.deadlines import Deadline, DeadlineQueue
from domain.room.members import RoomRules
from domain.stream.membership import StreamMembership
from domain.stream.record import StreamFacts, StreamHistory, StreamRecord, StreamRules, StreamView
from domain.stream.state import StreamState
from domain.stream.viewing_session import ViewingSession

TOO_MANY_SILENCED = Refusal(Code.OVERLOADED, "As many users as a stream takes are muted or removed")
OWNER_ENDS = ("ended", "owner_lost")  # reasons with which the owner ends a stream, by command or by staying away


class Stream:
    """The rules of one stream: live -> ended. Each payer has a clock of their own (contract.md, Metered streams).

    As with a call, deadlines due by `at` run before the input that arrived at `at`.
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
        """Start a stream, or continue one from its record and history after a restart; nobody is a member yet."""
        state = self._state = StreamState(facts, rules, room_rules, epoch, record, history, at)
        self.facts, self.rules, self.epoch, self.events = facts, rules, epoch, state.events
        self.members, self.access_policy, self.chat_and_tips = state.members, state.access_policy, state.chat_and_tips
        self.viewing_sessions, self.termination = state.viewing_sessions, state.termination
        self._membership = StreamMembership(state)
        self._deadline_queue = DeadlineQueue(self._deadlines)

    def open(self, at: Instant) -> list[effects.Effect]:
        """Return the first effects of the room: `stream:live`, and what a crash may have left undone.

        Removed users may still hold a ticket to refund, and earned tickets may still be in escrow.
        """
        live = [self.events.publish(m.StreamLive, at), self.chat_and_tips.overlays.publish(m.StreamLive, at)]
        owed = (effects.Refund(user_id) for user_id in self.access_policy.removed & self.access_policy.tickets.keys())
        return [*live, *owed, *self._state.release.open(at)]

    # Inputs and deadlines

    def handle(self, given: inputs.Input, at: Instant) -> list[effects.Effect]:
        """Decide what follows from an input that arrived at `at`; carry out the effects in their order.

        Raises LedgerDisagrees for a receipt that the rules hold impossible; the room must then restart from its rows.
        """
        self._deadline_queue.run(at)
        match given:
            case inputs.RoomAction():
                self._act_in_room(given, at)
            case inputs.Joined():
                self._membership.join(given, at)
            case inputs.RightsChanged():
                self._membership.change_rights(given, at)
            case inputs.OverlayJoined():
                self._state.effects += self.chat_and_tips.join_overlay(
                    given, self.termination.why_closed(), self._state.room()
                )
            case inputs.Left(member_id):
                self._membership.leave(member_id, at)
            case inputs.ConnectionSilent(member_id, last_received_at):
                self._membership.note_silence(
                    member_id, at if last_received_at is None else min(last_received_at, at), at
                )
            case inputs.ConnectionResponsive(member_id):
                self._membership.note_responsive(member_id, at)
            case inputs.OwnerConnected(member_id):
                self._state.viewers.catch_up(member_id, at)
            case inputs.PayerResumed(user_id):
                if viewing := self.viewing_sessions.find(user_id):
                    viewing.warning.resend()
                    self.viewing_sessions.touch(viewing)
            case inputs.Stalled():
                self._membership.note_stall(given, at)
            case inputs.Receipts(receipts):
                for receipt in receipts:
                    if not self.settled:  # an earlier receipt may say that another server owns it
                        self._settle(receipt, at)
            case inputs.Saved(record):
                self._note_saved(record, at)
            case inputs.Fenced():
                self._state.effects += self.termination.disown()
            case inputs.FundsChanged(user_id, funds):
                if viewing := self.viewing_sessions.find(user_id):
                    viewing.meter.update_funds(funds)
                    self.viewing_sessions.touch(viewing)
            case inputs.TicketSold(user_id, ticket_id):
                self.access_policy.tickets[user_id] = ticket_id
                if not self.access_policy.access(user_id).has_access:  # removed while the ticket was booked
                    self._state.effects.append(effects.Refund(user_id))
            case inputs.TicketRefunded(user_id, ticket_id):
                if self.access_policy.refund(user_id, ticket_id):
                    self._membership.evict(user_id, "ticket_refunded", at)
            case inputs.UserBlocked(user_id, blocked):
                self._set_blocked(user_id, blocked, at)
            case inputs.MessagesHidden(user_id):
                self.chat_and_tips.hide(user_id)
            case inputs.EndNow(reason):
                self._end(reason, at)
            case inputs.Drain():
                self._drain(at)
        self._deadline_queue.catch_up(at)  # a new deadline may be due at once, such as a viewer's first block
        for viewing in self.viewing_sessions.touched():
            self._review(viewing, at)
        if not self.termination.over:
            self._send_viewer_events(at)
        self._finish(at)
        self._deadline_queue.recompute()
        return self._state.take_effects()

    def next_deadline(self) -> Instant | None:
        """Return when `handle` must be called if no input arrives before; None if never."""
        return self._deadline_queue.next_at

    def _deadlines(self) -> Iterator[Deadline]:
        """Yield everything that time alone does; of two at one moment the first wins."""
        if self.termination.over:
            return
        if self._state.host_presence.empty_since is not None:
            limit = duration(self.rules.stream_drop_limit_seconds)
            yield Deadline(self._state.host_presence.empty_since + limit, partial(self._end, "owner_lost"))
        if (release_due_at := self._state.release.due_at()) is not None:
            yield Deadline(release_due_at, self._release_tickets)
        if (due := self.viewing_sessions.first()) is not None:
            yield Deadline(due[0], partial(self._serve, due[1]))
        if (count_due_at := self._state.presence.count_due_at()) is not None:
            yield Deadline(count_due_at, self._publish_count)
        if (viewers_due_at := self._state.viewers.due_at()) is not None:
            yield Deadline(viewers_due_at, self._send_viewer_events)

    def _release_tickets(self, _: Instant) -> None:
        self._state.effects += self._state.release.ask()

    def _publish_count(self, at: Instant) -> None:
        self._state.effects.append(self._state.presence.publish_count(at))

    def _send_viewer_events(self, at: Instant) -> None:
        self._state.effects += self._state.viewers.send_due(at)

    # Blocked users

    def _set_blocked(self, user_id: UserId, blocked: bool, at: Instant) -> None:
        """The creator blocks a user, or unblocks them; a user who was removed from this stream may not return."""
        if blocked:
            self.chat_and_tips.hide(user_id)
        elif user_id not in self.access_policy.removed:
            self.chat_and_tips.show(user_id)
        if self.access_policy.set_blocked(user_id, blocked):
            given_back = not self.termination.over and self._give_back([user_id], at)
            if given_back and (viewing := self.viewing_sessions.find(user_id)) is not None:
                self.viewing_sessions.use_up(viewing, at)  # an unblocked user starts with a new block
            self._membership.evict(user_id, "banned", at)

    # Chat, tips and moderation

    def _act_in_room(self, action: inputs.RoomAction, at: Instant) -> None:
        refusal = self.termination.why_closed() or self.access_policy.refuse_action(
            action, action.member_id in self.members
        )
        match action.command:
            case c.MemberMute(user_id=user_id) | c.MemberRemove(user_id=user_id) if (
                refusal is None and self._silences_too_many(action.command, UserId(user_id))
            ):
                self._state.effects.append(effects.Answer(action.reply, TOO_MANY_SILENCED))
            case c.MemberMute(user_id=user_id) if refusal is None:
                self.chat_and_tips.mute(UserId(user_id))
                self._obeyed(action, at)
            case c.MemberRemove(user_id=user_id) if refusal is None:
                self._remove(UserId(user_id), at)
                self._obeyed(action, at)
            case _:
                self._state.effects += self.chat_and_tips.take(action, refusal, at)

    def _silences_too_many(self, command: c.MemberCommand, user_id: UserId) -> bool:
        """Return whether one more user would be muted or removed than a record may hold."""
        silenced = self.chat_and_tips.muted if isinstance(command, c.MemberMute) else self.access_policy.removed
        return len(silenced) >= self.rules.silenced and user_id not in silenced

    def _remove(self, user_id: UserId, at: Instant) -> None:
        self.access_policy.removed.add(user_id)
        self.chat_and_tips.hide(user_id)
        self._give_back([user_id], at)
        self._membership.evict(user_id, "removed", at)
        self._state.effects.append(effects.Refund(user_id))

    def _obeyed(self, action: inputs.RoomAction, at: Instant) -> None:
        self._state.effects.append(effects.Answer(action.reply, {}))
        self._state.save(at)

    # Blocks and their receipts

    def _serve(self, viewing: ViewingSession, at: Instant) -> None:
        """Handle the deadline of a viewing session: an absence, an overdue receipt, or a block that falls due.

        No block is posted for a payer whose connections are all silent.
        """
        if viewing.is_over_grace(at) or (not viewing.is_watched and not viewing.receipts_overdue(at)):
            self.viewing_sessions.note_absence(viewing, at)
            self._state.save_stopped(at)
        elif viewing.receipts_overdue(at):
            self.viewing_sessions.note_storage(viewing, True, at)
        else:
            self._state.effects.append(effects.Post(viewing.meter.post_next(at)))
            self.viewing_sessions.touch(viewing)

    def _settle(self, receipt: Receipt, at: Instant) -> None:
        if receipt.posting.kind is Kind.TIP:
            self._state.effects += self.chat_and_tips.settle(receipt, at)
        else:
            self._settle_block(receipt, at)
        if receipt.room_is_lost:
            self._state.effects += self.termination.disown()

    def _settle_block(self, receipt: Receipt, at: Instant) -> None:
        viewing = self.viewing_sessions.find(UserId(receipt.posting.debit))
        assert viewing is not None, "a viewing session is kept while a block of it is under way"
        block = viewing.meter.settle(receipt)
        if receipt.paid:
            self._state.earned += block.tokens
            self._state.effects += self.events.block_charged(viewing, receipt, block.tokens, self._state.earned, at)
        elif receipt.outcome in (Outcome.INSUFFICIENT, Outcome.LIMITED):
            self._revoke(viewing, at)
        elif not receipt.room_is_lost and not (self.termination.over or viewing.revoked):
            raise LedgerDisagrees(f"block {block.block_no} in stream {self.facts.id}: {receipt.outcome.name}")
        if not viewing.meter.waiting:
            self.viewing_sessions.note_storage(viewing, False, at)
            if viewing.revoked:
                self.viewing_sessions.release(viewing, at)
        if receipt.paid and not viewing.meter.clock.running:
            self.viewing_sessions.note_paid(viewing)
            self._state.save(at)

    def _review(self, viewing: ViewingSession, at: Instant) -> None:
        """Send the owner whether the payer's clock is stopped, and a present payer whether their funds suffice."""
        for member in self.members.of(viewing.meter.payer):
            is_free = member.member_id in self.access_policy.operators
            self._state.viewers.note_paused(member.member_id, viewing.is_paused and not is_free, at)
        if viewing.is_watched and not viewing.meter.waiting and not self.termination.over:
            self._state.effects += self.events.funds(viewing, at)

    def _revoke(self, viewing: ViewingSession, at: Instant) -> None:
        """Evict a viewer who cannot pay; if they return, they continue after their last paid block."""
        viewing.revoked = True
        self.viewing_sessions.stop(viewing, at)
        self._state.effects.append(effects.Withdraw(viewing.meter.payer))
        self._membership.evict(viewing.meter.payer, "insufficient_funds", at)

    # End and termination

    def _end(self, reason: str, at: Instant) -> None:
        """End the stream: no block falls due from here on; those that did are still charged."""
        if self.termination.end(reason, at):
            self._give_back(self.viewing_sessions.payers(), at, by_owner=reason in OWNER_ENDS)
            self.viewing_sessions.stop_all(at)
            self._state.host_presence.close(at)

    def _give_back(self, payers: Iterable[UserId], at: Instant, *, by_owner: bool = True) -> bool:
        """Refund blocks that these payers hardly used (contract.md, A payee who ends); False if there are none.

        If the owner ends it (`by_owner`), present payers get back blocks used for less than `payee_end_seconds`.
        All other payers get only the blocks that fell due while the owner was absent.
        """
        blocks: list[PostingKey] = []
        for viewing in filter(None, map(self.viewing_sessions.find, payers)):
            meter = viewing.meter
            at_least = self.rules.payee_end_seconds if by_owner and self.members.of(meter.payer) else 0
            numbers = blocks_given_back(meter.price, meter.posted, meter.clock.active(at), duration(at_least))
            blocks += [block_key(self.facts.id, meter.payer, block_no) for block_no in numbers]
        if blocks:
            self._state.effects.append(effects.GiveBack(tuple(blocks)))
        return bool(blocks)

    def _drain(self, at: Instant) -> None:
        """Stop every clock because the server stops; the stream continues from its rows later."""
        if not self.termination.over:
            self.viewing_sessions.stop_all(at)
            self._state.host_presence.close(at)
            self._state.effects += self.termination.drain()

    def _finish(self, at: Instant) -> None:
        """Store the last record once the stream is over and nothing is under way."""
        if self.termination.over and not self.viewing_sessions.wait and not self.chat_and_tips.waits:
            self._state.effects += self.termination.store(partial(self.record, at))

    def _note_saved(self, record: StreamRecord, at: Instant) -> None:
        if not self.termination.over:
            # First, since this record also has the time of clocks that run again.
            self._state.effects += self._state.records.note_saved(at)
        self.viewing_sessions.note_stored(record.viewing_sessions, at)
        self._state.release.note_stored(record.present)
        if self.termination.is_last(record):
            if (reason := self.termination.reason) is not None:
                for publish in (self.events.publish, self.chat_and_tips.overlays.publish):
                    self._state.effects += [publish(kind, at, reason=reason) for kind in (m.StreamEnded, m.RoomClosed)]
            self._state.effects += self.termination.settle()

    # State for readers

    def view(self) -> StreamView:
        """Return the stream as anybody may see it now."""
        return self._state.view()

    def unreleased_presence(self, at: Instant) -> Duration | None:
        """Return how long the creator was live and present, while tickets wait for their release; else None."""
        return self._state.host_presence.present(at) if self._state.release.pending else None

    def record(self, at: Instant) -> StreamRecord:
        """Return the state to store."""
        return self._state.record(at)

    @property
    def over(self) -> bool:
        """Whether the stream has ended, or its server drains; receipts and records may still be under way."""
        return self.termination.over

    @property
    def settled(self) -> bool:
        """Whether the stream is over, every receipt is in, and the last record is stored."""
        return self.termination.settled
