"""The whole life of a call between a fan and a creator: `handle(input, at)` decides, the room's task carries out."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from domain import effects, inputs
from domain import messages as m
from domain.access import refuse_command
from domain.call_news import CallNews
from domain.call_record import CallFacts, CallRecord, CallRules, CallView, Status, as_fields, view_call
from domain.ids import MemberId, UserId
from domain.instant import Instant, duration
from domain.meter import BooksDisagree, Meter
from domain.posting import Outcome, Receipt
from domain.presence import Hold, Parties, Party, Role
from domain.refusals import Code, Refusal
from domain.room import Members, RoomFull


class Deadline(NamedTuple):
    """What time alone will do, and when."""

    at: Instant
    happen: Callable[[Instant], None]


class Call:
    """ringing -> active <-> paused -> ended. It is billed only while no hold stands (CONTRACT §5).

    `handle` first lets everything happen that was due by `at`, in order, and then takes the input: what arrived
    before a deadline is handled before it, what arrived at it or later after it. Times never go back.
    """

    def __init__(
        self, facts: CallFacts, rules: CallRules, meter: Meter, record: CallRecord, restarted_at: Instant | None = None
    ) -> None:
        self.facts, self.rules, self.meter = facts, rules, meter
        self.news = CallNews(facts, meter)
        self.members = Members(2 * rules.connections_per_party, rules.connections_per_party)
        self.parties = Parties(UserId(facts.fan.user_id), UserId(facts.creator.user_id), rules, meter.clock)
        self.accepted_at, self.started_at = record.accepted_at, record.started_at
        self.ended_at, self.end_reason = record.ended_at, record.end_reason
        self.settled = False  # over, with every receipt in and the record stored
        self._join_by = (restarted_at or record.accepted_at or 0) + duration(rules.join_seconds)
        self._draining = False
        self._last_record: CallRecord | None = None  # the one that closes the call, once it is sent
        self._sweeps: list[tuple[inputs.Reply, range]] = []  # who waits, and for which blocks
        self._effects: list[effects.Effect] = []
        if restarted_at is not None:
            self._take_up(record, restarted_at)

    def _take_up(self, record: CallRecord, at: Instant) -> None:
        if self.meter.committed and self.started_at is None:  # a paid block proves more than an older record
            self.accepted_at, self.started_at = self.accepted_at or at, at
        if self.started_at is not None:
            self.parties.take_up(record, at)

    # What arrives

    def handle(self, given: inputs.Input, at: Instant) -> list[effects.Effect]:
        """Decide what follows from an input that arrived at `at`; the effects are to be carried out in order."""
        posted_before = self.meter.posted
        self._run_deadlines(at)
        match given:
            case inputs.Elapsed():
                pass
            case inputs.Acted(user_id, command, reply):
                self._answer(reply, self._act(user_id, command, at), at)
            case inputs.Joined(member_id, user_id, reply):
                self._join(member_id, user_id, reply, at)
            case inputs.Left(member_id):
                self._leave(member_id, at)
            case inputs.Unheard(member_id):
                self._note_silence(member_id, at)
            case inputs.Heard(member_id):
                self._note_sound(member_id, at)
            case inputs.Receipts(receipts):
                for receipt in receipts:
                    self._settle(receipt, at)
            case inputs.Saved(record):
                self._note_saved(record, at)
            case inputs.Fenced():
                self._disown()
            case inputs.FundsChanged(user_id, funds):
                if user_id == self.meter.payer:
                    self.meter.learn(funds)
            case inputs.Sweep(reply):
                self._sweeps.append((reply, range(posted_before + 1, self.meter.posted + 1)))
            case inputs.EndNow(reason):
                self._end(reason, at)
            case inputs.Drain():
                self._drain(at)
        self._review_funds(at)
        self._finish(at)
        decided, self._effects = self._effects, []
        return decided

    def next_deadline(self) -> Instant | None:
        """When the call must be handled again if nothing arrives before."""
        first = self._first_deadline()
        return None if first is None else first.at

    def _run_deadlines(self, at: Instant) -> None:
        while (first := self._first_deadline()) is not None and first.at <= at:
            first.happen(first.at)

    def _first_deadline(self) -> Deadline | None:
        return min(self._deadlines(), key=lambda deadline: deadline.at, default=None)

    def _deadlines(self) -> Iterator[Deadline]:
        """All that time alone will do. Of two at one moment the first named wins: ends, holds, blocks."""
        if self._over:
            return
        if self.accepted_at is None:
            yield Deadline(self.facts.rings_until, partial(self._end, "missed"))
        elif self.started_at is None:
            yield Deadline(self._join_by, partial(self._end, "peer_lost"))
        else:
            yield from (Deadline(at, partial(self._end, reason)) for at, reason in self.parties.ends())
            yield from (Deadline(at, partial(self._hold, hold)) for at, hold in self.parties.absences())
            if self.meter.waiting_since is not None and Hold.STORAGE not in self.parties.holds:
                grace = duration(self.rules.storage_grace_seconds)
                yield Deadline(self.meter.waiting_since + grace, partial(self._hold, Hold.STORAGE))
            if (due_at := self.meter.due_at()) is not None:
                yield Deadline(due_at, self._charge_block)

    # Commands

    def _act(self, user_id: UserId, command: m.CallCommand, at: Instant) -> Refusal | None:
        party = self.parties.of(user_id)
        if party is None:
            return Refusal(Code.NOT_FOUND, "No such call")
        if self._draining:
            return Refusal(Code.DRAINING, "The server is shutting down")
        refusal = refuse_command(command, party.role, self.record(at))
        if refusal is None:
            self._obey(party, command, at)
        return refusal

    def _obey(self, party: Party, command: m.CallCommand, at: Instant) -> None:
        match command:
            case m.CallAccept():
                self._accept(at)
            case m.CallPause():
                self._pause(party, at)
            case m.CallResume():
                party.paused_at = None
                self._lift({party.by_hand}, at)
            case m.CallDecline() | m.CallCancel() | m.CallEnd():
                self._hang_up(party, at)

    def _accept(self, at: Instant) -> None:
        self.accepted_at = at
        self._join_by = at + duration(self.rules.join_seconds)
        self._effects += self.news.invitation(m.CallAccepted)
        self._save(at)
        self._start_when_met(at)

    def _pause(self, party: Party, at: Instant) -> None:
        if party.paused_at is None:
            party.paused_at = at
            self._hold(party.by_hand, at)

    def _hang_up(self, party: Party, at: Instant) -> None:
        ringing, talking = ("cancelled", "hangup") if party.role is Role.FAN else ("declined", "creator_ended")
        self._end(ringing if self.accepted_at is None else talking, at)

    def _answer(self, reply: inputs.Reply, refusal: Refusal | None, at: Instant) -> None:
        self._effects.append(effects.Answer(reply, refusal or {"call": as_fields(self.view(at))}))

    # Members and presence

    def _join(self, member_id: MemberId, user_id: UserId, reply: inputs.Reply, at: Instant) -> None:
        party = self.parties.of(user_id)
        if party is None:
            self._answer(reply, Refusal(Code.NOT_FOUND, "No such room"), at)
        elif self.ended_at is not None:
            self._answer(reply, Refusal(Code.CALL_ENDED, "The call has ended"), at)
        elif self._draining:
            self._answer(reply, Refusal(Code.DRAINING, "The server is shutting down"), at)
        else:
            try:
                self._admit(party, member_id, reply, at)
            except RoomFull:
                self._answer(reply, Refusal(Code.OVERLOADED, "Too many connections of yours in this call"), at)

    def _admit(self, party: Party, member_id: MemberId, reply: inputs.Reply, at: Instant) -> None:
        if member_id not in self.members:
            self.members.add(member_id, party.user_id)
            self._effects.append(self.news.publish(m.MemberJoined, at, member_id=member_id, user_id=party.user_id))
        welcome = self.news.room_joined(member_id, party.role, self.members.listed(), self.view(at), at)
        self._effects.append(effects.Admit(member_id, reply, welcome))
        self._note_return(party, member_id, at)

    def _leave(self, member_id: MemberId, at: Instant) -> None:
        party, member = self.parties.with_member(member_id), self.members.remove(member_id)
        if party is not None and member is not None:
            left = self.news.publish(m.MemberLeft, at, member_id=member_id, user_id=member.user_id)
            self._effects += [effects.Remove(member_id), left]
            party.left(member_id, at)
            self._save(at)

    def _note_silence(self, member_id: MemberId, at: Instant) -> None:
        if party := self.parties.with_member(member_id):
            party.unheard(member_id, at)
            self._save(at)

    def _note_sound(self, member_id: MemberId, at: Instant) -> None:
        if party := self.parties.with_member(member_id):
            self._note_return(party, member_id, at)

    def _note_return(self, party: Party, member_id: MemberId, at: Instant) -> None:
        if party.role is Role.FAN:
            self.news.warn_again()
        party.heard(member_id)
        self._start_when_met(at)
        self._lift({party.by_absence} if self.parties.absent() else {party.by_absence, Hold.RESTART}, at)

    def _start_when_met(self, at: Instant) -> None:
        """Both are here for the first time: the clock starts, and block 1 is due."""
        waits = self.accepted_at is not None and self.started_at is None and not self._over
        if waits and not self.parties.absent():
            self.started_at = at
            self.meter.clock.start(at)
            self._save(at)
            self._run_deadlines(at)

    # Holds

    def _hold(self, hold: Hold, at: Instant) -> None:
        if not self._over and self.parties.hold(hold, at):
            self._announce(m.CallPaused, at)

    def _lift(self, holds: set[Hold], at: Instant) -> None:
        if not self._over and self.parties.lift(holds, at):
            self._announce(m.CallPaused if self.parties.holds else m.CallResumed, at)
            self._run_deadlines(at)

    def _announce(self, kind: type[m.CallStateChanged], at: Instant) -> None:
        self._save(at)
        self._effects += self.news.state(kind, self.parties.standing(), at)

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
        block = self.meter.settle(receipt)
        if receipt.paid:
            self._effects += self.news.block_charged(receipt, block.tokens, self.parties.standing(), at)
        elif receipt.outcome is Outcome.INSUFFICIENT:
            self._effects.append(effects.Withdraw())
            self._end("insufficient_funds", at)
        elif receipt.outcome in (Outcome.FENCED, Outcome.CLOSED):
            self._disown()
        elif not self._over:
            raise BooksDisagree(f"block {block.block_no} of call {self.facts.id}: {receipt.outcome.name}")
        if not self.meter.waiting:
            self._lift({Hold.STORAGE}, at)

    def _budget_spent(self) -> bool:
        return self.facts.max_tokens is not None and self.meter.promised_tokens > self.facts.max_tokens

    def _review_funds(self, at: Instant) -> None:
        if self.started_at is not None and not self._over and not self.meter.waiting:
            low = self.meter.cannot_pay_next and not self._budget_spent()
            self._effects += self.news.funds(low, at)

    # The end

    def _end(self, reason: str, at: Instant) -> None:
        """No block falls due from here on; those that did are still charged."""
        if not self._over:
            self.ended_at, self.end_reason = at, reason
            self.meter.clock.stop(at)
            self.parties.holds.clear()

    def _drain(self, at: Instant) -> None:
        """The server stops: the clock stands, and the call goes on from its rows when it is back."""
        if not self._over:
            self._draining = True
            self.meter.clock.stop(at)
            self._effects.append(effects.Withdraw())

    def _disown(self) -> None:
        """Another server owns the call now: say nothing more about it."""
        if not self.settled:
            self._draining = True
            self._effects.append(effects.Withdraw())
            self._close()

    def _finish(self, at: Instant) -> None:
        """Once nothing waits: answer the sweeps, and when it is over as well, store the last record."""
        if self.meter.waiting and not self.settled:
            return
        for reply, due in self._sweeps:
            metered = sum(block_no <= self.meter.committed for block_no in due)
            self._effects.append(effects.Answer(reply, self.news.swept(metered, self.end_reason)))
        self._sweeps.clear()
        if self._over and not self.settled and self._last_record is None:
            self._last_record = self.record(at)
            self._effects.append(effects.Save(self._last_record))

    def _note_saved(self, record: CallRecord, at: Instant) -> None:
        if record is self._last_record and not self.settled:
            if self.end_reason is not None:
                self._effects += self.news.ended(self.end_reason, record.active, at)
            self._close()

    def _close(self) -> None:
        self.settled = True
        self.members.clear()
        self._effects.append(effects.Close())

    def _save(self, at: Instant) -> None:
        if not self._over:
            self._effects.append(effects.Save(self.record(at)))

    # What others may know

    def view(self, at: Instant) -> CallView:
        """The call as its parties see it now."""
        meter = self.meter
        return view_call(self.facts, self.record(at), meter.committed, meter.tokens, meter.paid_through())

    def record(self, at: Instant) -> CallRecord:
        """The state to store; its active time never passes what was paid."""
        return CallRecord(
            status=self._status(),
            accepted_at=self.accepted_at,
            started_at=self.started_at,
            ended_at=self.ended_at,
            end_reason=self.end_reason,
            fan_paused_at=self.parties.fan.paused_at,
            creator_paused_at=self.parties.creator.paused_at,
            holds=tuple(self.parties.standing()),
            active=self.meter.billed_active(at),
        )

    def _status(self) -> Status:
        if self.ended_at is not None:
            return "ended"
        if self.accepted_at is None:
            return "ringing"
        return "paused" if self.parties.holds else "active"

    @property
    def ringing(self) -> bool:
        """The creator has not answered yet."""
        return self.accepted_at is None and not self._over

    @property
    def _over(self) -> bool:
        return self.ended_at is not None or self._draining
