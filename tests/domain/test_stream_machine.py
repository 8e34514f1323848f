"""The contract of streams holds after every step of any sequence of events, at any time."""

from collections import deque
from uuid import UUID

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
from domain.billing.meter import Funds, StoredMeter
from domain.billing.posting import Kind, Outcome, Posting
from domain.ids import ESCROW, PostingKey, UserId, block_key, refund_key, refund_rest_key, release_key
from domain.instant import Duration, duration, rfc3339
from domain.protocol import commands as c
from domain.protocol import events as m
from domain.room import effects, inputs
from domain.room.effects import Audience
from domain.stream.record import StreamRecord, StreamRules
from tests.domain.postings import credit
from tests.domain.story import CREATOR, FAN, FakeReply, code, device
from tests.domain.stream_account import StreamAccount
from tests.domain.stream_rows import STREAM, person
from tests.domain.stream_story import OTHER, StreamStory
from tests.domain.viewer_account import Viewer
from tests.model.rows import MeterRow

VIEWERS = (FAN, OTHER)
PRESENCE = duration(10)  # a stall of this length makes every connection silent
REFUSED = (Outcome.INSUFFICIENT, Outcome.LIMITED)
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


def cost(price: BlockPrice, blocks: int) -> int:
    return sum(price.tokens(block_no) for block_no in range(1, blocks + 1))


class StreamMachine(RuleBasedStateMachine):
    """A stream with a fake ledger, and an account of its expected state."""

    story: StreamStory
    account: StreamAccount
    sound = False  # no step has failed

    @initialize(
        price=prices,
        blocks=st.integers(0, 8),
        spare=st.integers(0, 20),
        ticket=st.sampled_from([None, TICKET]),
        begun=st.booleans(),
    )
    def go_live(self, price: BlockPrice, blocks: int, spare: int, ticket: int | None, begun: bool) -> None:
        """Each viewer can pay for a ticket, if one is needed, and for so many blocks, and a little more."""
        self.story = StreamStory(
            balance=cost(price, blocks) + spare + (ticket or 0),
            ticket=ticket,
            rate=price.rate_tokens_per_min,
            rounding=price.rounding,
            block_seconds=price.block_seconds,
            rules=StreamRules(ticket_release_seconds=90),
        )
        self.story.storage_away = True  # batches are committed when a rule says so
        self.account = StreamAccount(self.story.rules, price, self.story.now)
        self.account.sells_tickets = ticket is not None
        self.arrivals: deque[inputs.Input] = deque()
        self.events: deque[tuple[UserId, Funds]] = deque()
        self.replies: list[FakeReply] = []
        self.refunded_by_hand: set[PostingKey] = set()
        self.given = 0  # names for what is given
        self.lost_time = False  # a restart has forgotten some of what was watched
        self._forget()
        if begun:
            for user_id in VIEWERS if ticket is not None else ():
                self.buy_ticket(user_id)
            self.come_back()

    def _forget(self) -> None:
        """Forget what a new task of the room does not know."""
        self.arrivals.clear()
        self.asked: dict[UserId, StoredMeter] = {}
        self.told_low: dict[UserId, tuple[bool, str | None]] = dict.fromkeys(VIEWERS, (False, None))
        self.told_of: dict[UUID, bool] = {}  # connections of viewers, as the creator knows them: paused?
        self.last_seq = dict.fromkeys(Audience, 1)  # stream:live
        self.closed = self.fenced = False

    # Actions of users

    @rule(user_id=viewers)
    def read_the_meter(self, user_id: UserId) -> None:
        """A join starts with a query of the database; other steps may happen before it joins."""
        if (asked := self.story.read_meter(user_id)) is not None:
            self.asked[user_id] = asked

    @rule(user_id=anyone, number=numbers)
    def join(self, user_id: UserId, number: int) -> None:
        self.account.advance(self.story.now)
        stored = self.asked.pop(user_id, None) or self.story.read_meter(user_id)
        expected = self.account.why_not_join(user_id, number, self._known(stored))
        if expected is None:
            self.account.join(user_id, number)
        reply = FakeReply()
        self._give(inputs.Joined(device(user_id, number), user_id, reply, False, stored))
        assert code(reply.answer) in self._or_moved(expected)
        assert reply.answer is not None

    def _or_moved(self, expected: str | None) -> tuple[str | None, ...]:
        """Return the refusal expected of a room that is over here: ROOM_STARTING if a later owner is known."""
        lost = self.story.ledger.rooms[STREAM].epoch != self.story.epoch
        return (expected, "ROOM_STARTING") if lost and (self.account.over or self.fenced) else (expected,)

    def _known(self, stored: StoredMeter | None) -> Viewer:
        price, known = self.account.price, stored or StoredMeter(0, 0, 0, Funds(0, -1))
        begun, paid = (known.committed - 1) * price.block, known.committed * price.block
        viewer = Viewer(price, min(max(known.active, begun), paid), known.committed)
        viewer.learn(known.funds)
        return viewer

    @rule()
    def come_back(self) -> None:
        for user_id in (CREATOR, *VIEWERS):
            self.join(user_id, 1)

    @rule(user_id=anyone, number=numbers)
    def leave(self, user_id: UserId, number: int) -> None:
        self.account.advance(self.story.now)
        self.account.leave(user_id, number)
        self._give(inputs.Left(device(user_id, number)))

    @rule(user_id=anyone, number=numbers, silence=st.sampled_from([0, 0, 1, 4_000_000, 10_000_000, 10_500_000]))
    def fall_silent(self, user_id: UserId, number: int, silence: Duration) -> None:
        """A silence is noticed some time after the last byte."""
        self.account.advance(self.story.now)
        self.account.lose(user_id, number, self.story.now - silence)
        self._give(inputs.ConnectionSilent(device(user_id, number), self.story.now - silence))

    @rule(user_id=viewers, sure=st.sampled_from([False, False, True]))
    def block(self, user_id: UserId, sure: bool) -> None:
        if sure:
            self.account.advance(self.story.now)
            self.account.block(user_id)
            self.story.blocked.add(user_id)
            self._give(inputs.UserBlocked(user_id))

    @rule(user_id=viewers)
    def allow(self, user_id: UserId) -> None:
        self.account.advance(self.story.now)
        self.account.blocked.discard(user_id)
        self.story.blocked.discard(user_id)
        self._give(inputs.UserBlocked(user_id, blocked=False))

    # Tickets

    @precondition(lambda self: self.account.sells_tickets)
    @rule(user_id=viewers)
    def buy_ticket(self, user_id: UserId) -> None:
        """A ticket may be refunded before the room receives it; the room then receives the refund next."""
        self.account.advance(self.story.now)
        ticket_id = self.story.book_ticket(user_id)
        if ticket_id is not None:
            self.account.holders.add(user_id)
            self._note_funds(user_id)
            self._give(inputs.TicketSold(user_id, ticket_id))

    @precondition(lambda self: self.account.sells_tickets)
    @rule(user_id=viewers, by_operator=st.booleans())
    def return_ticket(self, user_id: UserId, by_operator: bool) -> None:
        """An operator refunds a ticket, or the server does, beside the room, for a blocked user."""
        key = self.story.ledger.tickets.get((STREAM, user_id))
        if key is None or not (by_operator or user_id in self.story.blocked):
            return
        self.account.advance(self.story.now)
        if self.story.ledger.refund([key], advance=by_operator):
            self._note_funds(user_id)
            ticket_id = self.story.ledger.journal[key].ref_id
            assert ticket_id is not None
            self._receive_return(inputs.TicketRefunded(user_id, ticket_id))

    def _receive_return(self, returned: inputs.TicketRefunded) -> None:
        if self.story.stream.access_policy.tickets.get(returned.user_id) == returned.ticket_id:
            self.account.return_ticket(returned.user_id)
        self._give(returned)

    @rule(user_id=viewers, sure=st.sampled_from([False, False, True]))
    def remove(self, user_id: UserId, sure: bool) -> None:
        """The creator removes a user for good, over a connection of their own."""
        self.account.advance(self.story.now)
        if not sure or self.account.over or 1 not in self.account.joined.get(CREATOR, ()):
            return
        self.account.remove(user_id)
        self.given += 1
        reply, command = FakeReply(), c.MemberRemove(channel=self.story.facts.channel, user_id=user_id)
        self._give(inputs.RoomAction(person(CREATOR), device(CREATOR, 1), command, UUID(int=1000 + self.given), reply))
        assert reply.answer == {}

    @rule()
    def settle_tickets(self) -> None:
        """The server settles tickets beside its rooms, as it does every few seconds."""
        self.story.committer.settle_tickets(self.story.rules)

    @rule(number=numbers)
    def connect_as_owner(self, number: int) -> None:
        self.account.advance(self.story.now)
        self._give(inputs.OwnerConnected(device(CREATOR, number)))

    @rule(user_id=anyone, number=numbers)
    def be_responsive(self, user_id: UserId, number: int) -> None:
        self.account.advance(self.story.now)
        self.account.respond(user_id, number)
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
        for user_id in (CREATOR, *VIEWERS):
            self.be_responsive(user_id, 1)

    @rule(user_id=viewers, tokens=st.integers(1, 60), key=st.sampled_from(["same", "other"]))
    def tip(self, user_id: UserId, tokens: int, key: str) -> None:
        self.account.advance(self.story.now)
        self.given += 1
        name = key if key == "same" else f"tip {self.given}"
        command = c.TipSend(channel=self.story.facts.channel, amount_tokens=tokens, key=name)
        reply = FakeReply()
        self.replies.append(reply)
        self._give(inputs.RoomAction(person(user_id), None, command, UUID(int=1000 + self.given), reply))

    @rule()
    def join_as_overlay(self) -> None:
        self.account.advance(self.story.now)
        reply = FakeReply()
        self.replies.append(reply)
        self._give(inputs.OverlayJoined(device(CREATOR, 99), CREATOR, (), self.story.now, reply))

    # Time

    @rule(span=spans, wakes=st.booleans())
    def wait(self, span: int, wakes: bool) -> None:
        """Time passes; the room wakes at its deadlines, or finds them in the past with the next input."""
        self.story.now += span
        if wakes:
            self.elapse()

    @precondition(lambda self: self.story.stream.next_deadline() is not None)
    @rule(offset=st.sampled_from([-1, 0, 0, 1]))
    def wait_for_the_deadline(self, offset: int) -> None:
        deadline = self.story.stream.next_deadline()
        assert deadline is not None
        self.story.now = max(self.story.now, deadline + offset)
        self.elapse()

    @rule(blocks=st.integers(1, 4))
    def run_undisturbed(self, blocks: int) -> None:
        """Blocks are charged one after the other while nobody leaves."""
        for _ in range(blocks):
            if (deadline := self.story.stream.next_deadline()) is not None:
                self.story.now = max(self.story.now, deadline)
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
        self.arrivals += self.story.committer.commit_batch(self.story.epoch, self.story.now)
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
        if isinstance(arrival, inputs.TicketRefunded):
            self._note_funds(arrival.user_id)
            self._receive_return(arrival)
            return
        self._note_arrival(arrival)
        self._give(arrival)

    def _note_arrival(self, arrival: inputs.Input) -> None:
        if isinstance(arrival, inputs.Fenced):
            self.account.draining = self.fenced = True
        if isinstance(arrival, inputs.Receipts):
            for receipt in arrival.receipts:
                self.fenced |= receipt.outcome in (Outcome.FENCED, Outcome.CLOSED)
                self.account.draining |= self.fenced
                if receipt.posting.kind is Kind.BLOCK:
                    viewer = self.account.viewers[UserId(receipt.posting.debit)]
                    if receipt.outcome is Outcome.WITHDRAWN:
                        assert viewer.evict or self.account.draining, "what fell due before the end is charged"
                    if receipt.debit_after is not None and receipt.debit_n is not None:
                        viewer.learn(Funds(receipt.debit_after, receipt.debit_n))
                    self.account.settle(UserId(receipt.posting.debit), receipt.outcome.name)

    @rule()
    def catch_up(self) -> None:
        """Everything is committed, and every receipt has arrived."""
        self.commit()
        while self.arrivals or self.story.committer.batch:
            if self.arrivals:
                self.deliver_a_receipt(512)
            else:
                self.commit()

    @rule(user_id=viewers, tokens=st.integers(1, 200))
    def top_up(self, user_id: UserId, tokens: int) -> None:
        self.given += 1
        self.story.ledger.apply([credit(user_id, tokens, f"top-up {self.given}")])
        self._note_funds(user_id)

    @rule(user_id=viewers, tokens=st.integers(1, 200))
    def spend_elsewhere(self, user_id: UserId, tokens: int) -> None:
        if balance := self.story.balance(user_id):
            self.story.spend_silently(user_id, min(tokens, balance))
            self._note_funds(user_id)

    @rule(user_id=viewers, tokens=st.sampled_from([None, None, 20, 100]))
    def allow_oneself(self, user_id: UserId, tokens: int | None) -> None:
        self.story.ledger.allow(user_id, tokens)

    @rule(user_id=viewers, block_no=st.integers(1, 5))
    def refund_a_block(self, user_id: UserId, block_no: int) -> None:
        key = block_key(STREAM, user_id, block_no)
        if key in self.story.ledger.journal:
            self.story.ledger.refund([key])
            self.refunded_by_hand.add(key)
            self._note_funds(user_id)

    def _note_funds(self, user_id: UserId) -> None:
        self.events.append((user_id, self.story.funds(user_id)))

    @precondition(lambda self: self.events)
    @rule(newest=st.booleans())
    def receive_funds(self, newest: bool) -> None:
        """Balances arrive late and in any order."""
        self.account.advance(self.story.now)
        user_id, funds = self.events.pop() if newest else self.events.popleft()
        if self.story.stream.viewing_sessions.find(user_id) is not None:  # the room keeps funds of payers that it knows
            self.account.viewers[user_id].learn(funds)
        self._give(inputs.FundsChanged(user_id, funds))

    @rule()
    def checkpoint(self) -> None:
        """Active time is stored every few seconds, beside the room's own records."""
        if not self.account.over and self.story.ledger.rooms[STREAM].epoch == self.story.epoch:
            self.elapse()
            self.story.checkpoint()

    # Actions of servers

    @precondition(lambda self: self.story.committer.stored.status != "ended")
    @rule(landed=st.sampled_from(["nothing", "postings", "postings and record"]), down=spans)
    def crash(self, landed: str, down: Duration) -> None:
        """The batch under way was committed, in part or not at all, and its receipts are lost."""
        committer = self.story.committer
        if landed == "postings":
            committer.batch = [item for item in committer.batch if not isinstance(item, StreamRecord)]
        if landed != "nothing":
            self.commit()
        if committer.stored.status != "ended":
            self.lost_time = True
            self._adopt(down)

    @precondition(lambda self: not self.account.over)
    @rule(down=spans)
    def drain(self, down: Duration) -> None:
        """A drain loses no paid time: every clock continues where it stood, or at the end of the last block."""
        self.account.advance(self.story.now)
        over = self.account.over
        self.account.draining |= not over
        self._give(inputs.Drain())
        self.catch_up()
        if not over and not self.fenced:
            assert self.story.stream.settled
            here = {user_id for user_id in self.account.viewers if self.story.stream.viewing_sessions.find(user_id)}
            billed = {user_id: self.account.viewers[user_id].billed for user_id in here}
            self.lost_time |= any(viewer.active > viewer.billed for viewer in self.account.viewers.values())
            assert {user_id: self.story.committer.active.get(user_id, 0) for user_id in billed} == billed
        if self.story.committer.stored.status != "ended":
            self._adopt(down)

    def _adopt(self, down: Duration) -> None:
        for reply in self.replies:  # commands to a server that crashed are sent again
            reply.answer = reply.answer or "lost"
        self.story.crash(down_seconds=down / 1_000_000)
        self.story.storage_away = True
        rows, active = self.story.ledger.meters, self.story.committer.active
        stored = {user_id: (active.get(user_id, 0), row.last_block) for (_, user_id), row in rows.items()}
        self.account.restart(self.story.now, stored)
        record, tickets = self.story.committer.stored, self.story.ledger.tickets
        released = self.story.ledger.rooms[STREAM].released
        self.account.restart_tickets({user_id for _, user_id in tickets}, set(record.removed), record.present, released)
        self._forget()

    @rule()
    def lose_the_room(self) -> None:
        """Another server takes the stream; this one learns it from its next receipt."""
        if self.story.ledger.rooms[STREAM].epoch == self.story.epoch:
            self.story.ledger.claim(STREAM)
            self.lost_time = True

    @rule(sure=st.sampled_from([False, False, False, True]))
    def end(self, sure: bool) -> None:
        if sure:
            self.account.advance(self.story.now)
            self.account.end("ended")
            self._give(inputs.EndNow("ended"))

    # Invariants of every step

    def _give(self, given: inputs.Input) -> None:
        self.sound = False
        for effect in self.story.give(given):
            self._check(effect)
        self._check_stream()
        self.sound = True

    def _check(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Post(posting):
                assert not self.closed
                if posting.kind is Kind.BLOCK:
                    assert posting.tokens == self.account.price.tokens(posting.block_no or 0)
            case effects.Publish(event, audience):
                self.last_seq[audience] += 1
                assert event.seq == self.last_seq[audience]
                assert not self.closed, "nothing follows the end"
                self._check_event(event)
            case effects.Send(user_id, m.BalanceLow() | m.BalanceOk() as warning):
                self.told_low[user_id] = (isinstance(warning, m.BalanceLow), warning.ends_at)
            case effects.Send(user_id, m.StayCharged() as charged):
                payer = UserId(charged.user_id)
                assert user_id in (payer, CREATOR)
                assert charged.block_no <= self.story.blocks(payer), "money is told of after the commit"
            case effects.Send(user_id, m.AccessRevoked(reason="insufficient_funds")):
                self.told_low[user_id] = (False, None)
            case effects.Send(user_id, m.ViewerChanged() as change) | effects.SendToMember(
                user_id, m.ViewerChanged() as change
            ):
                assert isinstance(effect, effects.SendToMember) or user_id == CREATOR
                self._note_viewer(change, again=isinstance(effect, effects.SendToMember))
            case effects.Release():
                assert self.account.earned_tickets
            case effects.Close():
                assert not self.closed
                assert self.fenced or not self._under_way(), "it waits for every receipt"
                self.closed = True

    def _note_viewer(self, change: m.ViewerChanged, *, again: bool) -> None:
        known = change.member_id in self.told_of
        match change:
            case m.ViewerJoined():
                assert known is again
                self.told_of.setdefault(change.member_id, False)
            case m.ViewerLeft():
                assert known and not again
                del self.told_of[change.member_id]
            case m.ViewerPaused() | m.ViewerResumed():
                paused = isinstance(change, m.ViewerPaused)
                assert self.told_of[change.member_id] is (paused if again else not paused)
                self.told_of[change.member_id] = paused

    def _check_event(self, event: m.SequencedEvent) -> None:
        match event:
            case m.TipNew():
                booked = [receipt.posting for receipt in self.story.ledger.journal.values()]
                assert event.tip_id in [posting.ref_id for posting in booked]
            case m.StreamEnded():
                assert self.story.committer.stored.status == "ended"
                assert event.reason == self.account.end_reason

    def _under_way(self) -> bool:
        return self.story.stream.chat_and_tips.waits or any(viewer.waiting for viewer in self.account.viewers.values())

    def _check_stream(self) -> None:
        stream, account = self.story.stream, self.account
        assert stream.termination.reason == account.end_reason
        if stream.settled:
            return
        assert stream.termination.over == account.over
        assert stream.next_deadline() is not None or account.over or account.watches(CREATOR)
        waits = account.sells_tickets and not account.earned_tickets
        assert stream.unreleased_presence(self.story.now) == (account.present if waits else None)
        for user_id in account.viewers:
            self._check_viewing(user_id)
        if not account.over:
            connections = (
                (user_id, number) for user_id in account.viewers for number in account.joined.get(user_id, ())
            )
            assert self.told_of == {device(user_id, number): account.paused(user_id) for user_id, number in connections}
        there = {member.member_id for member in stream.members.listed()}
        assert there == {device(user_id, number) for user_id, ones in account.joined.items() for number in ones}

    def _check_viewing(self, user_id: UserId) -> None:
        viewing, viewer = self.story.stream.viewing_sessions.find(user_id), self.account.viewers[user_id]
        if viewing is None:
            return  # not here since the last restart
        assert (viewing.meter.posted, viewing.meter.committed) == (viewer.posted, viewer.committed)
        assert viewing.meter.clock.running == self.account.runs(user_id)
        assert viewing.meter.clock.active(self.story.now) == viewer.active
        assert viewing.meter.due_at() == self.account.due_at(user_id)
        if self.account.watches(user_id) and not viewer.waiting and not self.account.over:
            low, due_at = viewer.spendable < viewer.next_tokens, self.account.due_at(user_id)
            assert self.told_low[user_id] == (low, rfc3339(due_at) if low and due_at is not None else None)

    @invariant()
    def the_ledger_is_sound(self) -> None:
        ledger, price = self.story.ledger, self.account.price
        assert ledger.total() == 0
        assert all(wallet.balance >= 0 for wallet in ledger.wallets.values() if not wallet.is_system)
        booked = [receipt.posting for receipt in ledger.journal.values() if receipt.posting.room_id == STREAM]
        refunds = [posting for posting in booked if posting.kind is Kind.REFUND]
        for user_id in VIEWERS:
            blocks = [posting for posting in booked if posting.debit == user_id and posting.kind is Kind.BLOCK]
            assert [posting.block_no for posting in blocks] == list(range(1, len(blocks) + 1))
            back = [posting for posting in refunds if posting.content in {block.key for block in blocks}]
            refunded = (len({posting.content for posting in back}), sum(posting.tokens for posting in back))
            row = MeterRow(len(blocks), cost(price, len(blocks)), *refunded)
            assert ledger.meters.get((STREAM, user_id), MeterRow()) == row
        earned = sum(posting.tokens for posting in booked if posting.credit == CREATOR)
        returned = sum(posting.tokens for posting in booked if posting.debit == CREATOR)
        assert self.story.balance(CREATOR) == earned - returned
        self._check_escrow()

    def _check_escrow(self) -> None:
        """Escrow holds the tickets that are neither released nor refunded; only earned tickets are released."""
        ledger = self.story.ledger
        held = [key for key in ledger.tickets.values() if release_key(key) not in ledger.journal]
        assert self.story.balance(ESCROW) == (self.story.facts.ticket_price_tokens or 0) * len(held)
        released = any(receipt.posting.kind is Kind.RELEASE for receipt in ledger.journal.values())
        assert not released or self.account.earned_tickets or self.lost_time

    @invariant()
    def nobody_pays_for_a_block_before_those_before_it_were_watched(self) -> None:
        for user_id, viewer in self.account.viewers.items():
            blocks, block = self.story.blocks(user_id), self.account.price.block
            assert blocks == 0 or viewer.seen >= (blocks - 1) * block
            if not self.lost_time and not viewer.waiting and not self.account.over:
                assert blocks - 1 <= (viewer.seen - viewer.unpaid) // block
                assert (viewer.seen - viewer.unpaid - viewer.taken_back) // block <= blocks

    def teardown(self) -> None:
        """Everybody leaves; the stream must settle within its limits, with every command answered."""
        if not self.sound:
            return
        self.catch_up()
        lost = self.story.ledger.rooms[STREAM].epoch != self.story.epoch or self.story.stream.settled
        if self.story.committer.stored.status != "ended" and lost:
            self.crash("nothing", 0)
        for user_id in (CREATOR, *VIEWERS):
            for number in (1, 2, 3):
                self.leave(user_id, number)
        left_at = self.story.now
        for _ in range(50):
            self.catch_up()
            if self.story.stream.settled:
                break
            self.wait_for_the_deadline(0)
        assert self.story.stream.settled
        assert self.story.now <= left_at + duration(self.story.rules.stream_drop_limit_seconds)
        assert self.closed
        assert all(reply.answer is not None for reply in self.replies)
        assert self.story.committer.stored.status == "ended"
        assert self.story.committer.stored.end_reason == self.account.end_reason
        self._check_what_was_given_back()
        self._check_tickets_at_the_end()
        for audience in Audience:
            assert self.story.kinds(audience)[-2:] == ["stream:ended", "room:closed"]
        self.the_ledger_is_sound()

    def _check_what_was_given_back(self) -> None:
        booked = self.story.ledger.journal
        owed = {block_key(STREAM, user_id, n) for user_id, n in self.account.given_back}
        due = {key for key in owed & booked.keys() if booked[key].posting.tokens > 0}
        postings = (receipt.posting for receipt in booked.values())
        refunded = {posting.content for posting in postings if posting.kind is Kind.REFUND} - self._tickets_sold()
        assert refunded <= due | self.refunded_by_hand
        if not self.lost_time:
            assert due <= refunded

    def _tickets_sold(self) -> set[PostingKey]:
        booked = self.story.ledger.journal
        return {key for key, receipt in booked.items() if receipt.posting.kind is Kind.TICKET}

    def _check_tickets_at_the_end(self) -> None:
        """Every ticket is the creator's if they were earned, or refunded."""
        self.settle_tickets()
        ledger = self.story.ledger
        assert self.story.balance(ESCROW) == 0
        kept = {key for key in self._tickets_sold() if refund_key(key) not in ledger.journal}
        kept -= {key for key in kept if refund_rest_key(key) in ledger.journal}
        assert kept == set(ledger.tickets.values())
        assert all(release_key(key) in ledger.journal for key in kept)
        if not self.lost_time:
            assert self.account.earned_tickets or not kept


def test_the_contract_holds_for_any_sequence_of_events() -> None:
    run_state_machine_as_test(StreamMachine, settings=settings(max_examples=200, stateful_step_count=40))


@pytest.mark.long
def test_the_contract_holds_for_any_long_sequence_of_events() -> None:
    run_state_machine_as_test(StreamMachine, settings=settings(max_examples=5_000, stateful_step_count=60))
