"""The contract of calls holds after every step of any sequence of events, at any time."""

from functools import partial

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
from domain.billing.posting import Posting
from domain.ids import UserId
from domain.instant import duration
from domain.protocol import commands as c
from domain.protocol import events as m
from domain.room import inputs
from tests.domain.call_checks import cost
from tests.domain.call_committer import CALL
from tests.domain.call_run import CallRun
from tests.domain.story import CREATOR, FAN, STRANGER, FakeReply, device

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


class CallMachine(RuleBasedStateMachine):
    """A call in which any step may follow any other."""

    run: CallRun

    @initialize(
        price=prices,
        blocks=st.integers(1, 12),
        budget=st.sampled_from([None, None, None, 1, 2, 3, 5]),
        spare=st.integers(-1, 20),
        begun=st.sampled_from(["not", "joined", "active", "active", "active"]),
    )
    def ring(self, price: BlockPrice, blocks: int, budget: int | None, spare: int, begun: str) -> None:
        """The fan's balance pays for so many blocks and a little more or less; so does the budget, if there is one."""
        max_tokens = None if budget is None else cost(price, budget) + spare // 4
        self.run = CallRun(max(0, cost(price, blocks) + spare), price, max_tokens)
        if begun != "not":
            self.command(CREATOR, "accept")
            self.join_both()
        if begun == "active":
            self.catch_up()

    # Actions of users

    @rule(user_id=anyone, word=st.sampled_from(LIVELY))
    def command(self, user_id: UserId, word: str) -> None:
        self.run.advance()
        refused = self.run.account.command(user_id, word)
        self.run.expect_answer(lambda reply: inputs.CallAction(user_id, COMMANDS[word](call_id=CALL), reply), refused)

    @rule(user_id=parties, word=st.sampled_from(["pause", "resume"]))
    def pause_or_resume(self, user_id: UserId, word: str) -> None:
        self.command(user_id, word)

    @rule(user_id=anyone, number=numbers)
    def join(self, user_id: UserId, number: int) -> None:
        if user_id != STRANGER:
            self.run.join(user_id, number)
        else:
            self.run.advance()
            build = partial(inputs.Joined, device(user_id, number), user_id)
            self.run.expect_answer(build, "NOT_FOUND")

    @rule()
    def join_both(self) -> None:
        self.run.join(FAN, 1)
        self.run.join(CREATOR, 1)

    @rule(user_id=parties, number=numbers)
    def leave(self, user_id: UserId, number: int) -> None:
        self.run.advance()
        self.run.account.leave(user_id, number)
        self.run.give(inputs.Left(device(user_id, number)))

    @rule(user_id=parties, number=numbers, ago=st.one_of(st.just(0), st.integers(0, 12_000_000)))
    def fall_silent(self, user_id: UserId, number: int, ago: int) -> None:
        """A silence is noticed some time after the last byte."""
        self.run.advance()
        last_received_at = self.run.story.now - ago
        self.run.account.silence(user_id, number, last_received_at)
        self.run.give(inputs.ConnectionSilent(device(user_id, number), last_received_at))

    @rule(user_id=parties, number=numbers)
    def be_responsive(self, user_id: UserId, number: int) -> None:
        self.run.advance()
        self.run.account.respond(user_id, number)
        self.run.give(inputs.ConnectionResponsive(device(user_id, number)))

    @rule(span=spans)
    def stall(self, span: int) -> None:
        """The server stalls; the commands that arrived meanwhile are handled just before this step."""
        self.run.advance()
        until, all_silent = self.run.story.now + span, span >= PRESENCE
        self.run.account.stall(until, all_silent)
        self.run.give(inputs.Stalled(until, all_silent))
        self.run.story.now = until

    @rule(span=spans)
    def stall_unnoticed_by_members(self, span: int) -> None:
        """The server stalls, and all members are responsive at once afterwards."""
        self.stall(span)
        for user_id in (FAN, CREATOR):
            self.be_responsive(user_id, 1)

    @rule()
    def sweep(self) -> None:
        self.run.advance()
        reply = FakeReply()
        self.run.replies.append(reply)
        self.run.give(inputs.SettleDueBlocks(reply))

    # Time

    @rule(span=spans, wakes=st.booleans())
    def wait(self, span: int, wakes: bool) -> None:
        """Time passes; the room wakes at its deadlines, or finds them in the past with the next input."""
        self.run.story.now += span
        if wakes:
            self.elapse()

    @precondition(lambda self: self.run.story.call.next_deadline() is not None)
    @rule(offset=st.sampled_from([-1, 0, 0, 1]))
    def wait_for_the_deadline(self, offset: int) -> None:
        deadline = self.run.story.call.next_deadline()
        assert deadline is not None
        self.run.story.now = max(self.run.story.now, deadline + offset)
        self.elapse()

    @precondition(lambda self: self.run.story.call.meter.due_at() is not None)
    @rule(offset=st.sampled_from([-1, 0, 0, 1]), wakes=st.booleans())
    def wait_for_the_block(self, offset: int, wakes: bool) -> None:
        due_at = self.run.story.call.meter.due_at()
        assert due_at is not None
        self.run.story.now = max(self.run.story.now, due_at + offset)
        if wakes:
            self.elapse()

    @rule(blocks=st.integers(1, 4))
    def run_undisturbed(self, blocks: int) -> None:
        """Blocks are charged one after the other while nobody pauses or leaves."""
        for _ in range(blocks):
            if (due_at := self.run.story.call.meter.due_at()) is not None:
                self.run.story.now = max(self.run.story.now, due_at)
                self.elapse()
                self.catch_up()

    @rule()
    def elapse(self) -> None:
        self.run.elapse()

    # The ledger

    @rule()
    def commit(self) -> None:
        self.run.commit()

    @rule()
    def lose_the_reply(self) -> None:
        """The batch is committed, but the connection breaks before the answer: it is sent again under its keys."""
        self.run.story.ledger.apply(item for item in self.run.story.committer.batch if isinstance(item, Posting))

    @precondition(lambda self: self.run.arrivals)
    @rule(group=st.integers(1, 4))
    def deliver_a_receipt(self, group: int) -> None:
        """Receipts arrive late, one by one or in groups."""
        self.run.deliver(group)

    @rule()
    def catch_up(self) -> None:
        self.run.catch_up()

    @rule(tokens=st.integers(1, 200), received=st.booleans())
    def top_up(self, tokens: int, received: bool) -> None:
        self.run.story.top_up_silently(tokens)
        self.run.note_funds()
        if received:
            self.receive_funds(newest=True)

    @rule(tokens=st.integers(1, 200))
    def spend_elsewhere(self, tokens: int) -> None:
        balance = self.run.story.balance(FAN)
        if balance:
            self.run.story.spend_silently(min(tokens, balance))
            self.run.note_funds()

    @precondition(lambda self: self.run.fund_events)
    @rule(newest=st.booleans())
    def receive_funds(self, newest: bool) -> None:
        """Balances arrive late and in any order."""
        self.run.receive_funds(newest)

    @rule()
    def store_the_lease(self) -> None:
        """Active time is stored every few seconds, beside the room's own records."""
        story, account = self.run.story, self.run.account
        if not account.over and story.ledger.rooms[CALL].epoch == story.epoch:
            self.elapse()
            if not account.over:
                story.committer.stored = story.call.record(story.now)

    # Actions of servers

    @precondition(lambda self: self.run.story.committer.stored.status != "ended")
    @rule(committed=st.sampled_from(["nothing", "postings", "postings and record"]), down=spans)
    def crash(self, committed: str, down: int) -> None:
        """The batch under way was committed, in part or not at all, and its receipts are lost."""
        self.run.crash(committed, down)

    @precondition(lambda self: not self.run.account.over)
    @rule(down=spans, quick=st.booleans())
    def drain(self, down: int, quick: bool) -> None:
        account = self.run.account
        self.run.advance()
        if not account.over:
            account.draining = True
        self.run.give(inputs.Drain())
        if quick:
            self.catch_up()
            assert self.run.story.call.settled
            if account.end_reason is None:
                self.run.crash("nothing", down)

    @rule(really=seldom)
    def lose_the_room_to_another_server(self, really: bool) -> None:
        if really and not self.run.story.ledger.rooms[CALL].ended:
            self.run.story.ledger.claim(CALL)
            self.run.moved = True

    @rule(really=seldom)
    def end_by_an_operator(self, really: bool) -> None:
        if really:
            self.run.advance()
            self.run.account.end("admin")
            self.run.give(inputs.EndNow("admin"))

    @invariant()
    def the_ledger_is_sound(self) -> None:
        self.run.checks.check_ledger()

    @invariant()
    def no_block_is_paid_before_those_before_it_were_used_up(self) -> None:
        self.run.checks.check_time()

    def teardown(self) -> None:
        """Everybody leaves; the call must settle within its limits, with every command answered."""
        if not hasattr(self, "run") or not self.run.checked:
            return
        story, account = self.run.story, self.run.account
        self.run.adopt_if_lost()
        for user_id in (FAN, CREATOR):
            for number in (1, 2):
                self.leave(user_id, number)
        rules, left_at = story.rules, story.now
        limits = rules.ring_seconds + rules.join_seconds + rules.drop_limit_seconds + rules.storage_grace_seconds
        for _ in range(50):
            self.catch_up()
            if story.call.settled:
                break
            self.wait_for_the_deadline(0)
        assert story.call.settled
        assert story.now <= left_at + duration(limits)
        assert self.run.checks.closed
        assert all(reply.answer is not None for reply in self.run.replies)
        assert story.committer.stored.status == "ended"
        assert story.committer.stored.end_reason == account.end_reason
        assert isinstance(story.published()[-1], m.CallEnded)
        self.the_ledger_is_sound()
        due = [n for n in account.given_back if n <= story.blocks and account.price.tokens(n) > 0]
        assert story.ledger.meters[CALL, FAN].refunded_blocks == len(due)


def test_the_contract_holds_for_any_sequence_of_events() -> None:
    run_state_machine_as_test(CallMachine, settings=settings(max_examples=300, stateful_step_count=40))


@pytest.mark.long
def test_the_contract_holds_for_any_long_sequence_of_events() -> None:
    run_state_machine_as_test(CallMachine, settings=settings(max_examples=5_000, stateful_step_count=60))
