"""The contract of streams holds after every step of any sequence of events, at any time."""

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
from domain.ids import UserId, block_key
from domain.instant import Duration, duration
from domain.protocol import commands as c
from domain.room import inputs
from domain.room.effects import Audience
from tests.domain.postings import credit
from tests.domain.story import CREATOR, FakeReply, device
from tests.domain.stream_checks import VIEWERS, cost
from tests.domain.stream_rows import STREAM
from tests.domain.stream_run import StreamRun

PRESENCE = duration(10)  # a stall of this length makes every connection silent
TICKET = 40

viewers = st.sampled_from(VIEWERS)
anyone = st.sampled_from([CREATOR, *VIEWERS])
numbers = st.sampled_from([1, 1, 1, 2, 3])
spans = st.one_of(*[st.integers(0, most * 1_000_000) for most in (3, 9, 40, 40, 70, 320)])
prices = st.builds(
    BlockPrice,
    rate_tokens_per_min=st.integers(1, 130),
    block_seconds=st.sampled_from([30, 30, 30, 7, 90]),
    rounding=st.sampled_from(["up", "exact"]),
)


class StreamMachine(RuleBasedStateMachine):
    """A stream in which any step may follow any other."""

    run: StreamRun

    @initialize(
        price=prices,
        blocks=st.integers(0, 8),
        spare=st.integers(0, 20),
        ticket=st.sampled_from([None, TICKET]),
        begun=st.booleans(),
    )
    def go_live(self, price: BlockPrice, blocks: int, spare: int, ticket: int | None, begun: bool) -> None:
        """Each viewer can pay for a ticket, if one is needed, and for so many blocks, and a little more."""
        self.run = StreamRun(cost(price, blocks) + spare + (ticket or 0), price, ticket)
        if begun:
            for user_id in VIEWERS if ticket is not None else ():
                self.buy_ticket(user_id)
            self.join_all()

    # Actions of users

    @rule(user_id=viewers)
    def read_the_meter(self, user_id: UserId) -> None:
        """A join starts with a query of the database; other steps may happen before it joins."""
        self.run.read_meter(user_id)

    @rule(user_id=anyone, number=numbers)
    def join(self, user_id: UserId, number: int) -> None:
        self.run.join(user_id, number)

    @rule()
    def join_all(self) -> None:
        for user_id in (CREATOR, *VIEWERS):
            self.join(user_id, 1)

    @rule(user_id=anyone, number=numbers)
    def leave(self, user_id: UserId, number: int) -> None:
        self.run.advance()
        self.run.account.leave(user_id, number)
        self.run.give(inputs.Left(device(user_id, number)))

    @rule(user_id=anyone, number=numbers, silence=st.sampled_from([0, 0, 1, 4_000_000, 10_000_000, 10_500_000]))
    def fall_silent(self, user_id: UserId, number: int, silence: Duration) -> None:
        """A silence is noticed some time after the last byte."""
        self.run.advance()
        self.run.account.lose(user_id, number, self.run.story.now - silence)
        self.run.give(inputs.ConnectionSilent(device(user_id, number), self.run.story.now - silence))

    @rule(user_id=viewers, sure=st.sampled_from([False, False, True]))
    def block(self, user_id: UserId, sure: bool) -> None:
        if sure:
            self.run.advance()
            self.run.account.block(user_id)
            self.run.story.blocked.add(user_id)
            self.run.give(inputs.UserBlocked(user_id))

    @rule(user_id=viewers)
    def allow(self, user_id: UserId) -> None:
        self.run.advance()
        self.run.account.blocked.discard(user_id)
        self.run.story.blocked.discard(user_id)
        self.run.give(inputs.UserBlocked(user_id, blocked=False))

    # Tickets

    @precondition(lambda self: self.run.account.sells_tickets)
    @rule(user_id=viewers)
    def buy_ticket(self, user_id: UserId) -> None:
        """A ticket may be refunded before the room receives it; the room then receives the refund next."""
        self.run.buy_ticket(user_id)

    @precondition(lambda self: self.run.account.sells_tickets)
    @rule(user_id=viewers, by_operator=st.booleans())
    def refund_ticket(self, user_id: UserId, by_operator: bool) -> None:
        self.run.refund_ticket(user_id, by_operator=by_operator)

    @rule(user_id=viewers, sure=st.sampled_from([False, False, True]))
    def remove(self, user_id: UserId, sure: bool) -> None:
        """The creator removes a user for good, over a connection of their own."""
        self.run.advance()
        if not sure or self.run.account.over or 1 not in self.run.account.joined.get(CREATOR, ()):
            return
        self.run.account.remove(user_id)
        self.run.new_id()
        command = c.MemberRemove(channel=self.run.story.facts.channel, user_id=user_id)
        assert self.run.command(CREATOR, device(CREATOR, 1), command).answer == {}

    @rule()
    def settle_tickets(self) -> None:
        """The server settles tickets beside its rooms, as it does every few seconds."""
        self.run.story.committer.settle_tickets(self.run.story.rules)

    @rule(number=numbers)
    def connect_as_owner(self, number: int) -> None:
        self.run.advance()
        self.run.give(inputs.OwnerConnected(device(CREATOR, number)))

    @rule(user_id=anyone, number=numbers)
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
        for user_id in (CREATOR, *VIEWERS):
            self.be_responsive(user_id, 1)

    @rule(user_id=viewers, tokens=st.integers(1, 60), key=st.sampled_from(["same", "other"]))
    def tip(self, user_id: UserId, tokens: int, key: str) -> None:
        self.run.advance()
        number = self.run.new_id()
        name = key if key == "same" else f"tip {number}"
        command = c.TipSend(channel=self.run.story.facts.channel, amount_tokens=tokens, key=name)
        self.run.replies.append(self.run.command(user_id, None, command))

    @rule()
    def join_as_overlay(self) -> None:
        self.run.advance()
        reply = FakeReply()
        self.run.replies.append(reply)
        self.run.give(inputs.OverlayJoined(device(CREATOR, 99), CREATOR, (), self.run.story.now, reply))

    # Time

    @rule(span=spans, wakes=st.booleans())
    def wait(self, span: int, wakes: bool) -> None:
        """Time passes; the room wakes at its deadlines, or finds them in the past with the next input."""
        self.run.story.now += span
        if wakes:
            self.elapse()

    @precondition(lambda self: self.run.story.stream.next_deadline() is not None)
    @rule(offset=st.sampled_from([-1, 0, 0, 1]))
    def wait_for_the_deadline(self, offset: int) -> None:
        deadline = self.run.story.stream.next_deadline()
        assert deadline is not None
        self.run.story.now = max(self.run.story.now, deadline + offset)
        self.elapse()

    @rule(blocks=st.integers(1, 4))
    def run_undisturbed(self, blocks: int) -> None:
        """Blocks are charged one after the other while nobody leaves."""
        for _ in range(blocks):
            if (deadline := self.run.story.stream.next_deadline()) is not None:
                self.run.story.now = max(self.run.story.now, deadline)
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

    @rule(user_id=viewers, tokens=st.integers(1, 200))
    def top_up(self, user_id: UserId, tokens: int) -> None:
        self.run.story.ledger.apply([credit(user_id, tokens, f"top-up {self.run.new_id()}")])
        self.run.note_funds(user_id)

    @rule(user_id=viewers, tokens=st.integers(1, 200))
    def spend_elsewhere(self, user_id: UserId, tokens: int) -> None:
        if balance := self.run.story.balance(user_id):
            self.run.story.spend_silently(user_id, min(tokens, balance))
            self.run.note_funds(user_id)

    @rule(user_id=viewers, tokens=st.sampled_from([None, None, 20, 100]))
    def allow_oneself(self, user_id: UserId, tokens: int | None) -> None:
        self.run.story.ledger.allow(user_id, tokens)

    @rule(user_id=viewers, block_no=st.integers(1, 5))
    def refund_a_block(self, user_id: UserId, block_no: int) -> None:
        key = block_key(STREAM, user_id, block_no)
        if key in self.run.story.ledger.journal:
            self.run.story.ledger.refund([key])
            self.run.checks.refunded_by_operator.add(key)
            self.run.note_funds(user_id)

    @precondition(lambda self: self.run.fund_events)
    @rule(newest=st.booleans())
    def receive_funds(self, newest: bool) -> None:
        """Balances arrive late and in any order."""
        self.run.receive_funds(newest)

    @rule()
    def checkpoint(self) -> None:
        """Active time is stored every few seconds, beside the room's own records."""
        if not self.run.account.over and self.run.story.ledger.rooms[STREAM].epoch == self.run.story.epoch:
            self.elapse()
            self.run.story.checkpoint()

    # Actions of servers

    @precondition(lambda self: self.run.story.committer.stored.status != "ended")
    @rule(committed=st.sampled_from(["nothing", "postings", "postings and record"]), down=spans)
    def crash(self, committed: str, down: Duration) -> None:
        """The batch under way was committed, in part or not at all, and its receipts are lost."""
        self.run.crash(committed, down)

    @precondition(lambda self: not self.run.account.over)
    @rule(down=spans)
    def drain(self, down: Duration) -> None:
        self.run.drain(down)

    @rule()
    def lose_the_room(self) -> None:
        """Another server takes the stream; this one learns it from its next receipt."""
        if self.run.story.ledger.rooms[STREAM].epoch == self.run.story.epoch:
            self.run.story.ledger.claim(STREAM)
            self.run.checks.lost_time = True

    @rule(sure=st.sampled_from([False, False, False, True]))
    def end(self, sure: bool) -> None:
        if sure:
            self.run.advance()
            self.run.account.end("ended")
            self.run.give(inputs.EndNow("ended"))

    @invariant()
    def the_ledger_is_sound(self) -> None:
        self.run.checks.check_ledger()

    @invariant()
    def nobody_pays_for_a_block_before_those_before_it_were_watched(self) -> None:
        self.run.checks.check_time()

    def teardown(self) -> None:
        """Everybody leaves; the stream must settle within its limits, with every command answered."""
        if not hasattr(self, "run") or not self.run.checked:
            return
        self.catch_up()
        lost = self.run.story.ledger.rooms[STREAM].epoch != self.run.story.epoch or self.run.story.stream.settled
        if self.run.story.committer.stored.status != "ended" and lost:
            self.crash("nothing", 0)
        for user_id in (CREATOR, *VIEWERS):
            for number in (1, 2, 3):
                self.leave(user_id, number)
        left_at = self.run.story.now
        for _ in range(50):
            self.catch_up()
            if self.run.story.stream.settled:
                break
            self.wait_for_the_deadline(0)
        assert self.run.story.stream.settled
        assert self.run.story.now <= left_at + duration(self.run.story.rules.stream_drop_limit_seconds)
        assert self.run.checks.closed
        assert all(reply.answer is not None for reply in self.run.replies)
        assert self.run.story.committer.stored.status == "ended"
        assert self.run.story.committer.stored.end_reason == self.run.account.end_reason
        self.run.checks.check_refunds()
        self.settle_tickets()
        self.run.checks.check_settled_tickets()
        for audience in Audience:
            assert self.run.story.kinds(audience)[-2:] == ["stream:ended", "room:closed"]
        self.the_ledger_is_sound()


def test_the_contract_holds_for_any_sequence_of_events() -> None:
    run_state_machine_as_test(StreamMachine, settings=settings(max_examples=200, stateful_step_count=40))


@pytest.mark.long
def test_the_contract_holds_for_any_long_sequence_of_events() -> None:
    run_state_machine_as_test(StreamMachine, settings=settings(max_examples=5_000, stateful_step_count=60))
