"""The whole life of a call between a fan and a creator: `handle(input, at)` decides, the room's task carries out."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import msgspec

from domain.billing.meter import LedgerDisagrees, Meter
from domain.billing.payee_end import blocks_given_back
from domain.billing.posting import Kind, Outcome, Receipt
from domain.call.access import refuse_command, refuse_hurry
from domain.call.events import CallEvents
from domain.call.parties import Hold, Parties, Party, Role
from domain.call.record import CallFacts, CallRecord, CallRules, CallView, as_fields, view_call
from domain.call.setup import CallSetup
from domain.call.state import record_of
from domain.ids import MemberId, UserId, block_key
from domain.instant import Instant, duration
from domain.protocol import commands as c
from domain.protocol import events as m
from domain.refusals import Code, Refusal
from domain.room import effects, inputs
from domain.room.chat import RoomRef, Talk
from domain.room.deadlines import Deadline, DeadlineQueue
from domain.room.members import Members, RoomFull, RoomRules
from domain.room.sweeps import Sweeps
from domain.room.termination import Termination

ENDED = Refusal(Code.CALL_ENDED, "The call has ended")
NO_ROOM = Refusal(Code.NOT_FOUND, "No such room")


class Call:
    """ringing -> active <-> paused -> ended. It is billed only while no hold stands (CONTRACT §5).

    `handle` first lets everything happen that was due by `at`, in order, and then takes the input: what arrived
    before a deadline is handled before it, what arrived at it or later after it. Times never go back.
    """

    def __init__(
        self,
        facts: CallFacts,
        rules: CallRules,
        meter: Meter,
        record: CallRecord,
        restarted_at: Instant | None = None,
        room_rules: RoomRules | None = None,
        tips: Iterable[m.PastTip] = (),
    ) -> None:
        self.facts, self.rules, self.meter = facts, rules, meter
        self.events = CallEvents(facts, meter)
        self.members = Members(2 * rules.connections_per_party)
        room_ref = RoomRef(facts.id, facts.channel, meter.epoch, UserId(facts.creator.user_id), ENDED)
        self.talk = Talk(room_ref, self.members, self.events.publish, room_rules or RoomRules(), tips)
        self.parties = Parties(UserId(facts.fan.user_id), UserId(facts.creator.user_id), rules, meter.clock)
        self.beginning = CallSetup(facts, rules, record, restarted_at)
        self.termination = Termination(ENDED, record.ended_at, record.end_reason)
        self._sweeps = Sweeps()
        self._to_give_back = range(0)  # blocks, once it has ended; some may have no receipt yet
        self._effects: list[effects.Effect] = []
        if restarted_at is not None:
            self._adopt(record, restarted_at)
        self._deadline_queue = DeadlineQueue(self._deadlines)

    def _adopt(self, record: CallRecord, at: Instant) -> None:
        if self.meter.committed and self.beginning.started_at is None:
            self.beginning.start(at)  # a paid block proves more than an older record
        if self.beginning.started_at is not None:
            self.parties.adopt(record, at)

    # What arrives

    def handle(self, given: inputs.Input, at: Instant) -> list[effects.Effect]:
        """Decide what follows from an input that arrived at `at`; the effects are to be carried out in order."""
        posted_before = self.meter.posted
        self._deadline_queue.run(at)
        match given:
            case inputs.Elapsed():
                pass
            case inputs.Acted(user_id, command, reply):
                self._answer(reply, self._act(user_id, command, at), at)
            case inputs.Said():
                self._talk(given, at)
            case inputs.Joined(member_id, user_id, reply):
                self._join(member_id, user_id, reply, at)
            case inputs.OverlayJoined():
                self._effects += self.talk.join_overlay(given, self.termination.why_closed(), self._room(at))
            case inputs.Left(member_id):
                self._leave(member_id, at)
            case inputs.Unheard(member_id, heard_at):
                self.members.note_silence(member_id, True)
                self._note_silence(member_id, at if heard_at is None else min(heard_at, at), at)
            case inputs.Heard(member_id):
                self._note_sound(member_id, at)
            case inputs.Stalled():
                self._note_stall(given, at)
            case inputs.Receipts(receipts):
                for receipt in receipts:
                    if not self.settled:  # as it is from the moment on in which another server owns it
                        self._settle(receipt, at)
            case inputs.BlockRefunded(refund):
                self.meter.note_refund(refund)
            case inputs.GivenBack():
                self._tell_end(at)
            case inputs.Saved(record):
                self._note_saved(record, at)
            case inputs.Fenced():
                self._disown()
            case inputs.FundsChanged(user_id, funds):
                if user_id == self.meter.payer:
                    self.meter.learn(funds)
            case inputs.Barred(user_id, barred=True):
                self._separate(user_id, at)
            case inputs.SettleDueBlocks(reply):
                self._sweeps.add(reply, range(posted_before + 1, self.meter.posted + 1))
            case inputs.EndNow(reason):
                self._end(reason, at)
            case inputs.Drain():
                self._drain(at)
        self._review_funds(at)
        self._finish(at)
        self._deadline_queue.look()
        decided, self._effects = self._effects, []
        return decided

    def next_deadline(self) -> Instant | None:
        """When the call must be handled again if nothing arrives before."""
        return self._deadline_queue.next_at

    def _deadlines(self) -> Iterator[Deadline]:
        """All that time alone will do. Of two at one moment the first named wins: ends, holds, blocks."""
        if self.termination.over:
            return
        if self.beginning.started_at is None:
            at, reason = self.beginning.fails()
            yield Deadline(at, partial(self._end, reason))
        else:
            if self.parties.interrupted:
                for at, reason, party in self.parties.ends():
                    yield Deadline(at, partial(self._end, reason, by=party))
                yield from (Deadline(at, partial(self._hold, hold)) for at, hold in self.parties.absences())
            if self.meter.waiting_since is not None and Hold.STORAGE not in self.parties.holds:
                grace = duration(self.rules.storage_grace_seconds)
                yield Deadline(self.meter.waiting_since + grace, partial(self._hold, Hold.STORAGE))
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
                self._lift({party.by_hand}, at)
            case c.CallDecline() | c.CallCancel() | c.CallEnd():
                self._hang_up(party, at)

    def _accept(self, at: Instant) -> None:
        self.beginning.accept(at)
        self._effects += self.events.invitation(m.CallAccepted)
        self._save(at)
        self._start_when_met(at)

    def _pause(self, party: Party, at: Instant) -> None:
        if party.paused_at is None:
            party.paused_at = at
            self._hold(party.by_hand, at)
            self._deadline_queue.catch_up(at)  # the pauses before may have left nothing of the limit

    def _hang_up(self, party: Party, at: Instant) -> None:
        ringing, talking = ("cancelled", "hangup") if party.role is Role.FAN else ("declined", "creator_ended")
        self._end(ringing if self.beginning.ringing else talking, at, by=party)

    def _separate(self, blocked: UserId, at: Instant) -> None:
        """One party has blocked the other, which ends the call as if the one who blocked had hung up."""
        for party in self.parties.both:
            if party.user_id != blocked and self.parties.of(blocked) is not None:
                self._hang_up(party, at)

    def _answer(self, reply: inputs.Reply, refusal: Refusal | None, at: Instant) -> None:
        self._effects.append(effects.Answer(reply, refusal or {"call": as_fields(self.view(at))}))

    # Members and presence

    def _join(self, member_id: MemberId, user_id: UserId, reply: inputs.Reply, at: Instant) -> None:
        party = self.parties.of(user_id)
        if refusal := NO_ROOM if party is None else self.termination.why_closed():
            self._answer(reply, refusal, at)
        elif party is not None:
            try:
                self._admit(party, member_id, reply, at)
            except RoomFull:
                self._answer(reply, Refusal(Code.OVERLOADED, "Too many connections of yours in this call"), at)

    def _admit(self, party: Party, member_id: MemberId, reply: inputs.Reply, at: Instant) -> None:
        if member_id not in self.members:
            self._replace_silent(member_id, party, at)
            self.members.add(member_id, party.user_id, self.rules.connections_per_party)
            self._effects.append(self.events.publish(m.MemberJoined, at, member_id=member_id, user_id=party.user_id))
        welcome = self.events.room_joined(
            member_id, party.role, self.members.listed(), self._room(at), self.talk.recent(), at
        )
        self._effects.append(effects.Admit(member_id, reply, welcome))
        self._note_return(party, member_id, at)

    def _replace_silent(self, member_id: MemberId, party: Party, at: Instant) -> None:
        """Nobody is kept out of their call by connections of their own that are dead."""
        silent = self.members.yielding(member_id, party.user_id, self.rules.connections_per_party)
        if silent is not None:
            self._leave(silent, at)
            self._effects.append(effects.Disconnect(silent))

    def _talk(self, said: inputs.Said, at: Instant) -> None:
        party = self.parties.of(UserId(said.person.user_id))
        outside = party is None or (said.member_id is not None and said.member_id not in self.members)
        self._effects += self.talk.take(said, NO_ROOM if outside else self.termination.why_closed(), at)

    def _leave(self, member_id: MemberId, at: Instant) -> None:
        self._effects += self.talk.overlays.leave(member_id)
        party, member = self.parties.with_member(member_id), self.members.remove(member_id)
        if party is not None and member is not None:
            left = self.events.publish(m.MemberLeft, at, member_id=member_id, user_id=member.user_id)
            self._effects += [effects.Remove(member_id), left]
            party.left(member_id, at)
            self._note_absence(party, at)

    def _note_silence(self, member_id: MemberId, heard_at: Instant, at: Instant) -> None:
        if party := self.parties.with_member(member_id):
            party.unheard(member_id, at, heard_at)
            self._note_absence(party, at)

    def _note_absence(self, party: Party, at: Instant) -> None:
        """The payee's absence stops the clock as of when they were last heard; the payer's, after a grace."""
        is_payee_gone = party.role is Role.CREATOR and not party.present and party.by_absence not in self.parties.holds
        if is_payee_gone and self.beginning.started_at is not None and not self.termination.over:
            self.meter.payee_was_away(party.heard_until, at)
            self._hold(party.by_absence, at)
        else:
            self._save(at)

    def _note_sound(self, member_id: MemberId, at: Instant) -> None:
        if party := self.parties.with_member(member_id):
            self._note_return(party, member_id, at)

    def _note_return(self, party: Party, member_id: MemberId, at: Instant) -> None:
        if party.role is Role.FAN:
            self.events.repeat_warning()
        party.heard(member_id)
        self.members.note_silence(member_id, False)
        self._start_when_met(at)
        self._lift({party.by_absence} if self.parties.absent() else {party.by_absence, Hold.RESTART}, at)

    def _note_stall(self, stalled: inputs.Stalled, at: Instant) -> None:
        """No limit runs out because the server stood still, and nobody is billed for time in which nobody was heard."""
        for waiting in (self.beginning, self.parties, self.meter):
            waiting.excuse(stalled.until - at)
        if stalled.unheard:
            self.parties.lose_all(stalled.until)
            for party in self.parties.both if self.beginning.started_at is not None else ():
                self._hold(party.by_absence, at)

    def _start_when_met(self, at: Instant) -> None:
        """Both are here for the first time: the clock starts, and block 1 is due."""
        waits = self.beginning.waits_for_parties and not self.termination.over
        if waits and not self.parties.absent():
            self.beginning.start(at)
            self.meter.clock.start(at)
            self._save(at)
            self._deadline_queue.catch_up(at)

    # Holds

    def _hold(self, hold: Hold, at: Instant) -> None:
        if not self.termination.over and self.parties.hold(hold, at):
            self._announce(m.CallPaused, at)

    def _lift(self, holds: set[Hold], at: Instant) -> None:
        if not self.termination.over and self.parties.lift(holds, at):
            self._announce(m.CallPaused if self.parties.holds else m.CallResumed, at)
            self._deadline_queue.catch_up(at)

    def _announce(self, kind: type[m.CallStateChanged], at: Instant) -> None:
        self._save(at)
        self._effects += self.events.state(kind, self.parties.standing(), at)

    # Blocks

    def _charge_block(self, at: Instant) -> None:
        """A block falls due: not while a party is absent, and not past the fan's own budget."""
        if absent := self.parties.absent():
            for party in absent:
                self._hold(party.by_absence, at)
        elif self._budget_spent():
            self._end("budget_reached", at)
        else:
            self._effects.append(effects.Post(self.meter.post_next(at)))

    def _settle(self, receipt: Receipt, at: Instant) -> None:
        if receipt.posting.kind is Kind.TIP:
            self._effects += self.talk.settle(receipt, at)
        else:
            self._settle_block(receipt, at)
        if receipt.outcome in (Outcome.FENCED, Outcome.CLOSED):
            self._disown()

    def _settle_block(self, receipt: Receipt, at: Instant) -> None:
        block = self.meter.settle(receipt)
        if receipt.paid:
            self._effects += self.events.block_charged(receipt, block.tokens, self.parties.standing(), at)
        elif receipt.outcome in (Outcome.INSUFFICIENT, Outcome.LIMITED):
            self._effects.append(effects.Withdraw(self.meter.payer))
            self._end("insufficient_funds" if receipt.outcome is Outcome.INSUFFICIENT else "budget_reached", at)
        elif receipt.outcome not in (Outcome.FENCED, Outcome.CLOSED) and not self.termination.over:
            raise LedgerDisagrees(f"block {block.block_no} of call {self.facts.id}: {receipt.outcome.name}")
        if not self.meter.waiting:
            self._lift({Hold.STORAGE}, at)

    def _budget_spent(self) -> bool:
        return self.facts.max_tokens is not None and self.meter.promised_tokens > self.facts.max_tokens

    def _review_funds(self, at: Instant) -> None:
        if self.beginning.started_at is not None and not self.termination.over and not self.meter.waiting:
            low = self.meter.cannot_pay_next and not self._budget_spent()
            self._effects += self.events.funds(low, at)

    # The end

    def _end(self, reason: str, at: Instant, by: Party | None = None) -> None:
        """No block falls due from here on; those that did are still charged, and given back if they were hardly used.

        `by`: the party that ends it, be it by staying away or by pausing for too long.
        """
        if self.termination.end(reason, at):
            self.meter.clock.stop(at)
            self.parties.holds.clear()
            payee_end = duration(self.rules.payee_end_seconds) if by is self.parties.creator else 0
            active = self.meter.clock.active(at)
            self._to_give_back = blocks_given_back(self.meter.price, self.meter.posted, active, payee_end)

    def _drain(self, at: Instant) -> None:
        """The server stops: the clock stands, and the call goes on from its rows when it is back."""
        if not self.termination.over:
            self.meter.clock.stop(at)
            self._effects += self.termination.drain()

    def _disown(self) -> None:
        """Another server owns the call now: say nothing more about it."""
        if not self.settled:
            self._effects += [*self.termination.drain(), *self.talk.abandon()]
            self._close(moved=True)

    def _finish(self, at: Instant) -> None:
        """Once nothing waits: answer the sweeps, and when it is over as well, store the last record."""
        if self.meter.waiting and not self.settled:
            return
        self._effects += self._sweeps.answer(self.meter.committed, partial(self.events.swept, self.termination.reason))
        if not self.talk.waits:
            self._effects += self.termination.store(partial(self.record, at))

    def _note_saved(self, record: CallRecord, at: Instant) -> None:
        if self.termination.is_last(record):
            if record.given_back:
                self._effects.append(effects.GiveBack(record.given_back))
            else:
                self._tell_end(at)

    def _tell_end(self, at: Instant) -> None:
        """The last record is stored, and what was to be given back is."""
        if self.termination.reason is not None:
            active, members = self.meter.billed_active(at), self.members.listed()
            self._effects += self.events.ended(self.termination.reason, active, members, at)
        self._close()

    def _close(self, *, moved: bool = False) -> None:
        self.members.clear()
        self._effects += self.termination.settle(moved=moved)

    def _save(self, at: Instant) -> None:
        if not self.termination.over:
            self._effects.append(effects.Save(self.record(at)))

    # What others may know

    def view(self, at: Instant) -> CallView:
        """The call as its parties see it now."""
        return view_call(self.facts, self.record(at), self.meter.paid, self.meter.paid_through())

    def _room(self, at: Instant) -> dict[str, Any]:
        return {"kind": "call", **as_fields(self.view(at))}

    def record(self, at: Instant) -> CallRecord:
        """The state to store."""
        record = record_of(self.beginning, self.termination, self.parties, self.meter, at)
        given_back = [n for n in self._to_give_back if n <= self.meter.committed]
        if not given_back:
            return record
        keys = tuple(block_key(self.facts.id, self.meter.payer, n) for n in given_back)
        return msgspec.structs.replace(record, given_back=keys)

    @property
    def ringing(self) -> bool:
        """The creator has not answered yet."""
        return self.beginning.ringing and not self.termination.over

    @property
    def over(self) -> bool:
        """Ended, or left as its server drains; there may be receipts and records that it waits for."""
        return self.termination.over

    @property
    def settled(self) -> bool:
        """Over, with every receipt in and the last record stored."""
        return self.termination.settled
