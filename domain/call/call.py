"""The life of a call between a fan and a creator: `handle(input, at)` decides, the room's task carries out."""

from collections.abc import Iterable, Iterator
from functools import partial

import msgspec

from domain.billing.meter import LedgerDisagrees, Meter
from domain.billing.payee_end import blocks_given_back
from domain.billing.posting import Kind, Outcome, Receipt
from domain.call.access import refuse_command, refuse_hurry
from domain.call.holds import Holds
from domain.call.membership import NO_ROOM, CallMembership
from domain.call.parties import Hold, Party, Role
from domain.call.record import CallFacts, CallRecord, CallRules, CallView
from domain.call.state import CallState
from domain.call.sweeps import Sweeps
from domain.ids import UserId
from domain.instant import Instant, duration
from domain.protocol import commands as c
from domain.protocol import events as m
from domain.refusals import Code, Refusal
from domain.room import effects, inputs
from domain.room.deadlines import Deadline, DeadlineQueue
from domain.room.members import RoomRules


class Call:
    """The rules of one call: ringing -> active <-> paused -> ended (contract.md, Call states).

    It is billed while there is no hold.

    `handle` first runs the deadlines due by `at`, in order, and then takes the input: an input that arrived before a
    deadline is handled before it, one that arrived at the deadline or later is handled after it. Times never go back.
    """

    def __init__(
        self,
        facts: CallFacts,
        rules: CallRules,
        meter: Meter,
        record: CallRecord,
        restarted_at: Instant | None = None,
        room_rules: RoomRules | None = None,
        tips: Iterable[m.HistoryTip] = (),
    ) -> None:
        """Start a call that rings, or continue one from its record.

        `restarted_at` is set for a call that continues after a restart; both parties count as absent since then.
        `tips` are its recent tips from the database, oldest first.
        """
        rules_of_room = room_rules or RoomRules()
        state = self._state = CallState(facts, rules, meter, record, restarted_at, rules_of_room, tips)
        self.facts, self.rules, self.meter, self.events = facts, rules, meter, state.events
        self.members, self.parties, self.chat_and_tips = state.members, state.parties, state.chat_and_tips
        self.setup, self.termination = state.setup, state.termination
        self._holds = Holds(state, self._catch_up)
        self._membership = CallMembership(state, self._holds)
        self._sweeps = Sweeps()
        self._deadline_queue = DeadlineQueue(self._deadlines)

    # Inputs and deadlines

    def handle(self, given: inputs.Input, at: Instant) -> list[effects.Effect]:
        """Decide what follows from an input that arrived at `at`; carry out the effects in their order.

        Raises LedgerDisagrees for a receipt that the rules hold impossible; the room must then restart from its rows.
        """
        posted_before = self.meter.posted
        self._deadline_queue.run(at)
        match given:
            case inputs.Elapsed():
                pass
            case inputs.CallAction(user_id, command, reply):
                self._answer(reply, self._act(user_id, command, at), at)
            case inputs.RoomAction():
                self._act_in_room(given, at)
            case inputs.Joined(member_id, user_id, reply):
                self._membership.join(member_id, user_id, reply, at)
            case inputs.OverlayJoined():
                self._state.effects += self.chat_and_tips.join_overlay(
                    given, self.termination.why_closed(), self._state.room(at)
                )
            case inputs.Left(member_id):
                self._membership.leave(member_id, at)
            case inputs.ConnectionSilent(member_id, last_received_at):
                self._membership.note_silence(
                    member_id, at if last_received_at is None else min(last_received_at, at), at
                )
            case inputs.ConnectionResponsive(member_id):
                self._membership.note_responsive(member_id, at)
            case inputs.PayerResumed(user_id):
                if user_id == self.meter.payer and self.setup.started_at is not None:
                    self.events.resend_funds()
            case inputs.Stalled():
                self._membership.note_stall(given, at)
            case inputs.Receipts(receipts):
                for receipt in receipts:
                    if not self.settled:  # an earlier receipt may say that another server owns it
                        self._settle(receipt, at)
            case inputs.BlockRefunded(refund):
                self.meter.note_refund(refund)
            case inputs.GivenBack():
                self._publish_end(at)
            case inputs.Saved(record):
                self._note_saved(record, at)
            case inputs.Fenced():
                self._state.effects += self.termination.disown()
            case inputs.FundsChanged(user_id, funds):
                if user_id == self.meter.payer:
                    self.meter.update_funds(funds)
            case inputs.UserBlocked(user_id, blocked=True):
                self._separate(user_id, at)
            case inputs.SettleDueBlocks(reply):
                self._sweeps.add(reply, range(posted_before + 1, self.meter.posted + 1))
            case inputs.EndNow(reason):
                self._end(reason, at)
            case inputs.Drain():
                self._drain(at)
        self._review_funds(at)
        self._finish(at)
        self._deadline_queue.recompute()
        return self._state.take_effects()

    def _catch_up(self, at: Instant) -> None:
        self._deadline_queue.catch_up(at)

    def next_deadline(self) -> Instant | None:
        """Return when `handle` must be called if no input arrives before; None if never."""
        return self._deadline_queue.next_at

    def _deadlines(self) -> Iterator[Deadline]:
        """Yield everything that time alone does; of two at one moment the first wins: ends, holds, blocks."""
        if self.termination.over:
            return
        if self.setup.started_at is None:
            at, reason = self.setup.fails()
            yield Deadline(at, partial(self._end, reason))
        else:
            if self.parties.interrupted:
                for at, reason, party in self.parties.ends():
                    yield Deadline(at, partial(self._end, reason, by=party))
                yield from (Deadline(at, partial(self._holds.hold, hold)) for at, hold in self.parties.absences())
            if self.meter.waiting_since is not None and Hold.STORAGE not in self.parties.holds:
                grace = duration(self.rules.storage_grace_seconds)
                yield Deadline(self.meter.waiting_since + grace, partial(self._holds.hold, Hold.STORAGE))
            if (due_at := self.meter.due_at()) is not None:
                yield Deadline(due_at, self._charge_block)

    # Commands

    def _act(self, user_id: UserId, command: c.CallCommand, at: Instant) -> Refusal | None:
        party = self.parties.of(user_id)
        if party is None:
            return Refusal(Code.NOT_FOUND, "No such call")
        if self.termination.draining:
            return self.termination.why_closed()
        refusal = refuse_command(command, party.role, self.record(at)) or refuse_hurry(command, party, at)
        if refusal is None:
            self._obey(party, command, at)
        return refusal

    def _obey(self, party: Party, command: c.CallCommand, at: Instant) -> None:
        match command:
            case c.CallAccept():
                self._accept(at)
            case c.CallPause():
                self._pause(party, at)
            case c.CallResume():
                party.resume(at)
                self._holds.lift({party.by_hand}, at)
            case c.CallDecline() | c.CallCancel() | c.CallEnd():
                self._hang_up(party, at)

    def _accept(self, at: Instant) -> None:
        self.setup.accept(at)
        self._state.effects += self.events.invitation(m.CallAccepted)
        self._state.save(at)
        self._holds.start_when_met(at)

    def _pause(self, party: Party, at: Instant) -> None:
        if party.paused_at is None:
            party.paused_at = at
            self._holds.hold(party.by_hand, at)
            self._deadline_queue.catch_up(at)  # earlier pauses may have used up the limit

    def _hang_up(self, party: Party, at: Instant) -> None:
        ringing, active = ("cancelled", "hangup") if party.role is Role.FAN else ("declined", "creator_ended")
        self._end(ringing if self.setup.ringing else active, at, by=party)

    def _separate(self, blocked: UserId, at: Instant) -> None:
        """End the call as if the party that has blocked the other had hung up."""
        for party in self.parties.both:
            if party.user_id != blocked and self.parties.of(blocked) is not None:
                self._hang_up(party, at)

    def _answer(self, reply: inputs.Reply, refusal: Refusal | None, at: Instant) -> None:
        self._state.effects.append(effects.Answer(reply, refusal or {"call": msgspec.to_builtins(self.view(at))}))

    # Chat and tips

    def _act_in_room(self, action: inputs.RoomAction, at: Instant) -> None:
        party = self.parties.of(UserId(action.person.user_id))
        outside = party is None or (action.member_id is not None and action.member_id not in self.members)
        self._state.effects += self.chat_and_tips.take(
            action, NO_ROOM if outside else self.termination.why_closed(), at
        )

    # Blocks

    def _charge_block(self, at: Instant) -> None:
        """Post the block that is due, unless a party is absent or it would exceed the fan's budget for this call."""
        if absent := self.parties.absent():
            for party in absent:
                self._holds.hold(party.by_absence, at)
        elif self._budget_spent():
            self._end("budget_reached", at)
        else:
            self._state.effects.append(effects.Post(self.meter.post_next(at)))

    def _settle(self, receipt: Receipt, at: Instant) -> None:
        if receipt.posting.kind is Kind.TIP:
            self._state.effects += self.chat_and_tips.settle(receipt, at)
        else:
            self._settle_block(receipt, at)
        if receipt.room_is_lost:
            self._state.effects += self.termination.disown()

    def _settle_block(self, receipt: Receipt, at: Instant) -> None:
        block = self.meter.settle(receipt)
        if receipt.paid:
            self._state.effects += self.events.block_charged(receipt, block.tokens, self.parties.names_of_holds(), at)
        elif receipt.outcome in (Outcome.INSUFFICIENT, Outcome.LIMITED):
            self._state.effects.append(effects.Withdraw(self.meter.payer))
            self._end("insufficient_funds" if receipt.outcome is Outcome.INSUFFICIENT else "budget_reached", at)
        elif not receipt.room_is_lost and not self.termination.over:
            raise LedgerDisagrees(f"block {block.block_no} of call {self.facts.id}: {receipt.outcome.name}")
        if not self.meter.waiting:
            self._holds.lift({Hold.STORAGE}, at)

    def _budget_spent(self) -> bool:
        return self.facts.max_tokens is not None and self.meter.promised_tokens > self.facts.max_tokens

    def _review_funds(self, at: Instant) -> None:
        if self.setup.started_at is not None and not self.termination.over and not self.meter.waiting:
            low = self.meter.cannot_pay_next and not self._budget_spent()
            self._state.effects += self.events.funds(low, at)

    # End and termination

    def _end(self, reason: str, at: Instant, by: Party | None = None) -> None:
        """End the call: no block falls due from here on.

        Blocks that fell due before are still charged; if the payee ends the call, hardly used ones are refunded.
        `by` is the party that ends it, by a command, by absence or by too long a pause.
        """
        if self.termination.end(reason, at):
            self.meter.clock.stop(at)
            self.parties.holds.clear()
            payee_end = duration(self.rules.payee_end_seconds) if by is self.parties.creator else 0
            active = self.meter.clock.active(at)
            self._state.to_give_back = blocks_given_back(self.meter.price, self.meter.posted, active, payee_end)

    def _drain(self, at: Instant) -> None:
        """Stop the clock because the server stops; the call continues from its rows later."""
        if not self.termination.over:
            self.meter.clock.stop(at)
            self._state.effects += self.termination.drain()

    def _finish(self, at: Instant) -> None:
        """Answer waiting sweeps once no block waits; store the last record once the call is over and no tip waits."""
        if self.meter.waiting and not self.settled:
            return
        self._state.effects += self._sweeps.answer(
            self.meter.committed, partial(self.events.swept, self.termination.reason)
        )
        if not self.chat_and_tips.waits:
            self._state.effects += self.termination.store(partial(self.record, at))

    def _note_saved(self, record: CallRecord, at: Instant) -> None:
        if self.termination.is_last(record):
            if record.given_back:
                self._state.effects.append(effects.GiveBack(record.given_back))
            else:
                self._publish_end(at)

    def _publish_end(self, at: Instant) -> None:
        """Publish the end: the last record is stored and the refunds are made."""
        if self.termination.reason is not None:
            active, members = self.meter.billed_active(at), self.members.listed()
            self._state.effects += self.events.ended(self.termination.reason, active, members, at)
        self._state.effects += self.termination.settle()

    # State for readers

    def view(self, at: Instant) -> CallView:
        """Return the call as its parties see it at `at`."""
        return self._state.view(at)

    def record(self, at: Instant) -> CallRecord:
        """Return the state to store."""
        return self._state.record(at)

    @property
    def ringing(self) -> bool:
        """Whether the creator has not answered yet."""
        return self.setup.ringing and not self.termination.over

    @property
    def over(self) -> bool:
        """Whether the call has ended, or its server drains; receipts and records may still be under way."""
        return self.termination.over

    @property
    def settled(self) -> bool:
        """Whether the call is over, every receipt is in, and the last record is stored."""
        return self.termination.settled
