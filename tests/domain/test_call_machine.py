"""The contract of calls holds after every step of any sequence of events, at any time."""

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from domain.billing.block import BlockPrice
from domain.billing.meter import Funds
from domain.billing.posting import Kind, Outcome, Posting
from domain.call.record import CallRules
from domain.ids import UserId
from domain.instant import duration, rfc3339
from domain.protocol import commands as c
from domain.protocol import events as m
from domain.room import effects, inputs
from tests.domain.account import Account
from tests.domain.story import CALL, CREATOR, FAN, STRANGER, FakeReply, Story, code, device
from tests.model.rows import MeterRow

COMMANDS: dict[str, type[c.CallCommand]] = {
    "accept": c.CallAccept,
    "decline": c.CallDecline,
    "cancel": c.CallCancel,
    "pause": c.CallPause,
    "resume": c.CallResume,
    "end": c.CallEnd,
}
PRESENCE = duration(10)  # a stall of this length makes every connection silent
LIVELY = ["pause", "resume"] * 4 + ["accept", "decline", "cancel", "end"]  # most calls should last a while

parties = st.sampled_from([FAN, CREATOR])
anyone = st.sampled_from([FAN, CREATOR] * 5 + [STRANGER])
numbers = st.sampled_from([1, 1, 1, 2])
spans = st.one_of(*[st.integers(0, most * 1_000_000) for most in (3, 9, 9, 40, 40, 700)])
seldom = st.sampled_from([False] * 9 + [True])
prices = st.builds(
    BlockPrice,
    rate_tokens_per_min=st.integers(1, 130),
    block_seconds=st.sampled_from([30, 30, 30, 7, 90]),
    rounding=st.sampled_from(["up", "exact"]),
)


def cost(price: BlockPrice, blocks: int) -> int:
    return sum(price.tokens(block_no) for block_no in range(1, blocks + 1))


class CallMachine(RuleBasedStateMachine):
    """A call with a fake ledger, and an account of its expected state."""

    story: Story
    account: Account
    sound = False  # no step has failed
    lost = False  # another server has claimed the room since it was adopted here

    @initialize(
        price=prices,
        blocks=st.integers(1, 12),
        budget=st.sampled_from([None, None, None, 1, 2, 3, 5]),
        spare=st.integers(-1, 20),
        begun=st.sampled_from(["not", "met", "talking", "talking", "talking"]),
    )
    def ring(self, price: BlockPrice, blocks: int, budget: int | None, spare: int, begun: str) -> None:
        """The fan's balance pays for so many blocks and a little more or less; so does the budget, if there is one."""
        rules = CallRules(block_seconds=price.block_seconds, resumes_per_second=0.125, resumes_burst=3)
        balance = max(0, cost(price, blocks) + spare)
        max_tokens = None if budget is None else cost(price, budget) + spare // 4
        self.story = Story(
            balance=balance,
            rate=price.rate_tokens_per_min,
            rounding=price.rounding,
            max_tokens=max_tokens,
            rules=rules,
        )
        self.story.storage_away = True  # batches are committed when a rule says so
        self.account = Account(rules, price, self.story.now, max_tokens)
        self.arrivals: deque[inputs.Input] = deque()
        self.known = self._funds()
        self.events: deque[Funds] = deque()
        self.replies: list[FakeReply] = []
        self.told_low: tuple[bool, str | None] = (False, None)
        self.last_seq = 0
        self.posted_ever: set[int] = set()
        self.stored_active = self.set_backs = 0
        self.closed = self.refused = self.told_start = False
        if begun != "not":
            self.command(CREATOR, "accept")
            self.come_back()
        if begun == "talking":
            self.catch_up()

    def _funds(self) -> Funds:
        wallet = self.story.ledger.wallets[FAN]
        return Funds(wallet.balance, wallet.n)

    # Actions of users

    @rule(user_id=anyone, word=st.sampled_from(LIVELY))
    def command(self, user_id: UserId, word: str) -> None:
        self.account.advance(self.story.now)
        expected = self.account.command(user_id, word)
        reply = FakeReply()
        self._give(inputs.CallAction(user_id, COMMANDS[word](call_id=CALL), reply))
        assert code(reply.answer) in self._or_moved(expected)
        assert reply.answer is not None

    @rule(user_id=parties, word=st.sampled_from(["pause", "resume"]))
    def pause_or_resume(self, user_id: UserId, word: str) -> None:
        self.command(user_id, word)

    @rule(user_id=anyone, number=numbers)
    def join(self, user_id: UserId, number: int) -> None:
        self.account.advance(self.story.now)
        reply = FakeReply()
        if user_id == STRANGER:
            expected = "NOT_FOUND"
        elif self.account.end_reason is not None:
            expected = "CALL_ENDED"
        elif self.account.draining:
            expected = "DRAINING"
        else:
            expected = None
            self.account.join(user_id, number)
        self._give(inputs.Joined(device(user_id, number), user_id, reply))
        assert code(reply.answer) in self._or_moved(expected)
        assert reply.answer is not None

    @rule()
    def come_back(self) -> None:
        self.join(FAN, 1)
        self.join(CREATOR, 1)

    @rule(user_id=parties, number=numbers)
    def leave(self, user_id: UserId, number: int) -> None:
        self.account.advance(self.story.now)
        self.account.leave(user_id, number)
        self._give(inputs.Left(device(user_id, number)))

    @rule(user_id=parties, number=numbers, ago=st.one_of(st.just(0), st.integers(0, 12_000_000)))
    def fall_silent(self, user_id: UserId, number: int, ago: int) -> None:
        """A silence is noticed some time after the last byte."""
        self.account.advance(self.story.now)
        last_received_at = self.story.now - ago
        self.account.silence(user_id, number, last_received_at)
        self._give(inputs.ConnectionSilent(device(user_id, number), last_received_at))

    @rule(user_id=parties, number=numbers)
    def be_heard(self, user_id: UserId, number: int) -> None:
        self.account.advance(self.story.now)
        self.account.sound(user_id, number)
        self._give(inputs.ConnectionResponsive(device(user_id, number)))

    @rule(span=spans)
    def stall(self, span: int) -> None:
        """The server stalls; the commands that arrived meanwhile are taken just before this step."""
        self.account.advance(self.story.now)
        until, all_silent = self.story.now + span, span >= PRESENCE
        self.account.stall(until, all_silent)
        self._give(inputs.Stalled(until, all_silent))
        self.story.now = until

    @rule(span=spans)
    def stall_unnoticed_by_members(self, span: int) -> None:
        """The server stalls, and all members are responsive at once afterwards."""
        self.stall(span)
        for user_id in (FAN, CREATOR):
            self.be_heard(user_id, 1)

    @rule()
    def sweep(self) -> None:
        self.account.advance(self.story.now)
        reply = FakeReply()
        self.replies.append(reply)
        self._give(inputs.SettleDueBlocks(reply))

    # Time

    @rule(span=spans, wakes=st.booleans())
    def wait(self, span: int, wakes: bool) -> None:
        """Time passes; the room wakes at its deadlines, or finds them in the past with the next input."""
        self.story.now += span
        if wakes:
            self.elapse()

    @precondition(lambda self: self.story.call.next_deadline() is not None)
    @rule(offset=st.sampled_from([-1, 0, 0, 1]))
    def wait_for_the_deadline(self, offset: int) -> None:
        deadline = self.story.call.next_deadline()
        assert deadline is not None
        self.story.now = max(self.story.now, deadline + offset)
        self.elapse()

    @precondition(lambda self: self.story.call.meter.due_at() is not None)
    @rule(offset=st.sampled_from([-1, 0, 0, 1]), wakes=st.booleans())
    def wait_for_the_block(self, offset: int, wakes: bool) -> None:
        due_at = self.story.call.meter.due_at()
        assert due_at is not None
        self.story.now = max(self.story.now, due_at + offset)
        if wakes:
            self.elapse()

    @rule(blocks=st.integers(1, 4))
    def run_undisturbed(self, blocks: int) -> None:
        """Blocks are charged one after the other while nobody pauses or leaves."""
        for _ in range(blocks):
            if (due_at := self.story.call.meter.due_at()) is not None:
                self.story.now = max(self.story.now, due_at)
                self.elapse()
                self.catch_up()

    @rule()
    def elapse(self) -> None:
        self.account.advance(self.story.now)
        self._give(inputs.Elapsed())

    # The ledger

    @rule()
    def commit(self) -> None:
        """The batch is committed; the room has not received it yet."""
        self.arrivals += self.story.committer.commit_batch(self.story.epoch)
        self.story.committer.send_batch()

    @rule()
    def lose_the_reply(self) -> None:
        """The batch is committed, but the connection breaks before the answer: it is sent again under its keys."""
        self.story.ledger.apply(item for item in self.story.committer.batch if isinstance(item, Posting))

    @precondition(lambda self: self.arrivals)
    @rule(group=st.integers(1, 4))
    def deliver_a_receipt(self, group: int) -> None:
        """Receipts arrive late, one by one or in groups."""
        self.account.advance(self.story.now)
        arrival = self.arrivals.popleft()
        if isinstance(arrival, inputs.Receipts) and len(arrival.receipts) > group:
            self.arrivals.appendleft(inputs.Receipts(arrival.receipts[group:]))
            arrival = inputs.Receipts(arrival.receipts[:group])
        self._note_arrival(arrival)
        self._give(arrival)

    def _note_arrival(self, arrival: inputs.Input) -> None:
        if isinstance(arrival, inputs.Fenced):
            self.account.draining = True
        if isinstance(arrival, inputs.Receipts):
            for receipt in arrival.receipts:
                self.refused |= receipt.outcome is Outcome.INSUFFICIENT
                self.account.settle(receipt.outcome.name)
                if receipt.outcome is Outcome.WITHDRAWN:
                    assert self.refused or self.account.draining, "what fell due before the end is charged"
                if receipt.debit_after is not None and receipt.debit_n is not None:
                    self._learn(Funds(receipt.debit_after, receipt.debit_n))

    @rule()
    def catch_up(self) -> None:
        """Everything is committed, and every receipt has arrived."""
        self.commit()
        while self.arrivals or self.story.committer.batch:
            if self.arrivals:
                self.deliver_a_receipt(512)
            else:
                self.commit()

    @rule(tokens=st.integers(1, 200), tell=st.booleans())
    def top_up(self, tokens: int, tell: bool) -> None:
        self.story.top_up_unheard(tokens)
        self.events.append(self._funds())
        if tell:
            self.receive_funds(newest=True)

    @rule(tokens=st.integers(1, 200))
    def spend_elsewhere(self, tokens: int) -> None:
        balance = self.story.balance(FAN)
        if balance:
            self.story.spend_unheard(min(tokens, balance))
            self.events.append(self._funds())

    @precondition(lambda self: self.events)
    @rule(newest=st.booleans())
    def receive_funds(self, newest: bool) -> None:
        """Balances arrive late and in any order."""
        self.account.advance(self.story.now)
        funds = self.events.pop() if newest else self.events.popleft()
        self._learn(funds)
        self._give(inputs.FundsChanged(FAN, funds))

    def _learn(self, funds: Funds) -> None:
        self.known = max(self.known, funds, key=lambda changes: changes.n)

    @rule()
    def store_the_lease(self) -> None:
        """Active time is stored every few seconds, beside the room's own records."""
        room = self.story.ledger.rooms[CALL]
        if not self.account.over and room.epoch == self.story.epoch:
            self.elapse()
            if not self.account.over:
                self.story.committer.stored = self.story.call.record(self.story.now)

    # Actions of servers

    @precondition(lambda self: self.story.committer.stored.status != "ended")
    @rule(landed=st.sampled_from(["nothing", "postings", "postings and record"]), down=spans)
    def crash(self, landed: str, down: int) -> None:
        """The batch under way was committed, in part or not at all, and its receipts are lost."""
        if landed == "postings":
            self.story.committer.batch = [item for item in self.story.committer.batch if isinstance(item, Posting)]
        if landed != "nothing":
            self.commit()
        if self.story.committer.stored.status != "ended":
            self._adopt(down)

    @precondition(lambda self: not self.account.over)
    @rule(down=spans, quick=st.booleans())
    def drain(self, down: int, quick: bool) -> None:
        self.account.advance(self.story.now)
        if not self.account.over:
            self.account.draining = True
        self._give(inputs.Drain())
        if quick:
            self.catch_up()
            assert self.story.call.settled
            if self.account.end_reason is None:
                self.crash("nothing", down)

    @rule(really=seldom)
    def lose_the_room_to_another_server(self, really: bool) -> None:
        if really and not self.story.ledger.rooms[CALL].ended:
            self.story.ledger.claim(CALL)
            self.lost = True

    @rule(really=seldom)
    def end_by_an_operator(self, really: bool) -> None:
        if really:
            self.account.advance(self.story.now)
            self.account.end("admin")
            self._give(inputs.EndNow("admin"))

    def _or_moved(self, expected: str | None) -> tuple[str | None, ...]:
        """Return the refusal expected of a room that is over here: ROOM_STARTING if a later owner is known."""
        over = self.account.draining or self.account.end_reason is not None
        return (expected, "ROOM_STARTING") if self.lost and over else (expected,)

    def _adopt(self, down: int) -> None:
        self.lost = False
        self.account.advance(self.story.now)
        self.story.now += down
        self.story.crash()
        self.story.storage_away = True
        row, stored = self.story.ledger.meters[CALL, FAN], self.story.committer.stored
        self.account.restart(stored, row.last_block, row.tokens, self.story.now)
        self.arrivals.clear()
        self.replies.clear()
        self.known = self._funds()
        self.told_low, self.last_seq = (False, None), 0
        self.closed = self.refused = False
        self.told_start = row.last_block > 0
        self.posted_ever = set(range(1, row.last_block + 1))
        self.stored_active, self.set_backs = self.account.active, stored.set_back.times

    # Invariants of every step

    def _give(self, given: inputs.Input) -> None:
        self.sound = False
        for effect in self.story.give(given):
            self._check(effect)
        self._check_call()
        self.sound = True

    def _check(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Post(posting):
                self._check_posting(posting)
            case effects.Publish(event):
                self.last_seq += 1
                assert event.seq == self.last_seq
                assert not self.closed, "nothing follows the end"
                self._check_event(event)
            case effects.Send(user_id, m.BalanceLow() | m.BalanceOk() as warning):
                assert user_id == FAN
                self.told_low = (isinstance(warning, m.BalanceLow), warning.ends_at)
            case effects.Send(user_id, m.WalletChanged() as wallet):
                assert wallet.ref["blockNo"] <= self.story.blocks
                assert (wallet.tokens <= 0) == (user_id == FAN) or wallet.tokens == 0
            case effects.Save(record):
                assert not self.closed
                assert not self.account.over or record.active == self._billed()
                assert record.active <= self._billed()
                is_set_back = record.set_back.times > self.set_backs
                assert record.active >= self.stored_active or is_set_back, "time never goes back by itself"
                self.stored_active, self.set_backs = record.active, record.set_back.times
            case effects.Close():
                assert not self.closed
                self.closed = True

    def _billed(self) -> int:
        return min(self.account.active, self.account.committed * self.account.price.block)

    def _check_event(self, event: m.SequencedEvent) -> None:
        match event:
            case m.BlockCharged():
                assert event.block_no <= self.story.blocks, "money is told of after the commit"
                assert self.told_start
            case m.CallStarted():
                assert not self.told_start
                self.told_start = True
            case m.CallPaused() | m.CallResumed():
                assert self.told_start
            case m.CallEnded():
                assert self.story.committer.stored.status == "ended"
                assert event.reason == self.account.end_reason
                given_back = {n for n in self.account.given_back if n <= self.story.blocks}
                price, kept = self.account.price, set(range(1, self.story.blocks + 1)) - given_back
                assert event.blocks == self.story.blocks
                assert event.tokens == sum(price.tokens(n) for n in kept)
                assert not kept or self.account.active >= (max(kept) - 1) * price.block, "nobody pays for an absence"

    def _check_posting(self, posting: Posting) -> None:
        assert self.account.accepted
        assert self.account.started, "nobody pays for ringing"
        assert posting.block_no is not None
        assert posting.block_no not in self.posted_ever
        assert {posting.block_no - 1, 0} & (self.posted_ever | {0}), "block n only after n-1"
        assert posting.tokens == self.account.price.tokens(posting.block_no)
        self.posted_ever.add(posting.block_no)

    def _check_call(self) -> None:
        call, account = self.story.call, self.account
        assert call.termination.reason == account.end_reason
        assert call.meter.posted == account.posted
        assert call.meter.committed == account.committed
        if not account.draining:
            assert self.story.holds == account.holds()
        deadline = call.next_deadline()
        assert deadline is None or deadline > self.story.now
        assert deadline is not None or account.over or account.waiting
        if account.started and not account.over:
            assert call.meter.clock.running == account.runs()
            assert call.meter.clock.active(self.story.now) == account.active
            assert call.meter.due_at() == account.due_at()
            self._check_warning()

    def _check_warning(self) -> None:
        account = self.account
        if account.waiting:
            return
        low = self.known.balance < account.price.tokens(account.posted + 1) and not account.budget_spent()
        due_at = account.due_at()
        ends_at = rfc3339(due_at) if low and due_at is not None else None
        assert self.told_low == (low, ends_at)

    @invariant()
    def the_ledger_is_sound(self) -> None:
        ledger, price = self.story.ledger, self.story.facts.price
        assert ledger.total() == 0
        assert all(wallet.balance >= 0 for wallet in ledger.wallets.values() if not wallet.is_system)
        booked = [receipt.posting for receipt in ledger.journal.values() if receipt.posting.block_no is not None]
        assert [posting.block_no for posting in booked] == list(range(1, len(booked) + 1))
        paid = cost(price, len(booked))
        back = [receipt.posting for receipt in ledger.journal.values() if receipt.posting.kind is Kind.REFUND]
        given_back = sum(posting.tokens for posting in back)
        assert ledger.meters[CALL, FAN] == MeterRow(len(booked), paid, len(back), given_back)
        assert self.story.balance(CREATOR) == paid - given_back
        assert self.story.facts.max_tokens is None or paid <= self.story.facts.max_tokens

    @invariant()
    def no_block_is_paid_before_those_before_it_were_lived_through(self) -> None:
        blocks = self.story.blocks
        assert blocks == 0 or self.account.lived >= (blocks - 1) * self.story.facts.price.block

    def teardown(self) -> None:
        """Everybody leaves; the call must settle within its limits, with every command answered."""
        if not self.sound:
            return
        self._return_to_life()
        for user_id in (FAN, CREATOR):
            for number in (1, 2):
                self.leave(user_id, number)
        rules, left_at = self.story.rules, self.story.now
        limits = rules.ring_seconds + rules.join_seconds + rules.drop_limit_seconds + rules.storage_grace_seconds
        for _ in range(50):
            self.catch_up()
            if self.story.call.settled:
                break
            self.wait_for_the_deadline(0)
        assert self.story.call.settled
        assert self.story.now <= left_at + duration(limits)
        assert self.closed
        assert all(reply.answer is not None for reply in self.replies)
        assert self.story.committer.stored.status == "ended"
        assert self.story.committer.stored.end_reason == self.account.end_reason
        assert isinstance(self.story.published()[-1], m.CallEnded)
        self.the_ledger_is_sound()
        due = [n for n in self.account.given_back if n <= self.story.blocks and self.account.price.tokens(n) > 0]
        assert self.story.ledger.meters[CALL, FAN].refunded_blocks == len(due)

    def _return_to_life(self) -> None:
        """A call that only this server left continues on another, from its rows."""
        self.catch_up()
        if self.story.call.settled and self.story.committer.stored.status != "ended":
            self.crash("nothing", 0)
        if self.story.ledger.rooms[CALL].epoch != self.story.epoch:
            self.crash("nothing", 0)


def test_the_contract_holds_for_any_sequence_of_events() -> None:
    run_state_machine_as_test(CallMachine, settings=settings(max_examples=300, stateful_step_count=40))


@pytest.mark.long
def test_the_contract_holds_for_any_long_sequence_of_events() -> None:
    run_state_machine_as_test(CallMachine, settings=settings(max_examples=5_000, stateful_step_count=60))
