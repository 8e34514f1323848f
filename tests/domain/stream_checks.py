"""Compares a stream with its account: each effect, the state after each step, and the ledger."""

from uuid import UUID

from domain.billing.block import BlockPrice
from domain.billing.posting import Kind
from domain.ids import ESCROW, PostingKey, UserId, block_key, refund_key, refund_rest_key, release_key
from domain.instant import rfc3339
from domain.protocol import events as m
from domain.room import effects
from domain.room.effects import Audience
from tests.domain.story import CREATOR, FAN, device
from tests.domain.stream_account import StreamAccount
from tests.domain.stream_rows import STREAM
from tests.domain.stream_story import OTHER, StreamStory
from tests.model.rows import MeterRow

VIEWERS = (FAN, OTHER)


def cost(price: BlockPrice, blocks: int) -> int:
    """Return the price of the first so many blocks."""
    return sum(price.tokens(block_no) for block_no in range(1, blocks + 1))


class StreamChecks:
    """The checks of one stream, with what its members have received since the last start of the room."""

    def __init__(self, story: StreamStory, account: StreamAccount) -> None:
        self.story, self.account = story, account
        self.lost_time = False  # a restart has forgotten some of what was watched
        self.refunded_by_operator: set[PostingKey] = set()
        self.restart()

    def restart(self) -> None:
        """Forget what a new task of the room does not know."""
        self.last_warning: dict[UserId, tuple[bool, str | None]] = dict.fromkeys(VIEWERS, (False, None))
        self.shown: dict[UUID, bool] = {}  # connections of viewers, as the creator knows them: paused?
        self.last_seq = dict.fromkeys(Audience, 1)  # stream:live
        self.closed = self.fenced = False

    def check_effect(self, effect: effects.Effect) -> None:
        """Check one effect, and note what its receivers then know."""
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
                self.last_warning[user_id] = (isinstance(warning, m.BalanceLow), warning.ends_at)
            case effects.Send(user_id, m.ViewerBlockCharged() as charged):
                payer = UserId(charged.user_id)
                assert user_id in (payer, CREATOR)
                assert charged.block_no <= self.story.blocks(payer), "events about money follow the commit"
            case effects.Send(user_id, m.AccessRevoked(reason="insufficient_funds")):
                self.last_warning[user_id] = (False, None)
            case effects.Send(user_id, m.ViewerChanged() as change) | effects.SendToMember(
                user_id, m.ViewerChanged() as change
            ):
                assert isinstance(effect, effects.SendToMember) or user_id == CREATOR
                self._note_viewer(change, again=isinstance(effect, effects.SendToMember))
            case effects.Release():
                assert self.account.earned_tickets
            case effects.Close():
                assert not self.closed
                assert self.fenced or not self._under_way(), "the end waits for every receipt"
                self.closed = True

    def _note_viewer(self, change: m.ViewerChanged, *, again: bool) -> None:
        known = change.member_id in self.shown
        match change:
            case m.ViewerJoined():
                assert known is again
                self.shown.setdefault(change.member_id, False)
            case m.ViewerLeft():
                assert known and not again
                del self.shown[change.member_id]
            case m.ViewerPaused() | m.ViewerResumed():
                paused = isinstance(change, m.ViewerPaused)
                assert self.shown[change.member_id] is (paused if again else not paused)
                self.shown[change.member_id] = paused

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

    def check_stream(self) -> None:
        """Check the state of the stream after a step: its members and their clocks are those of the account."""
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
            assert self.shown == {device(user_id, number): account.paused(user_id) for user_id, number in connections}
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
            assert self.last_warning[user_id] == (low, rfc3339(due_at) if low and due_at is not None else None)

    def check_ledger(self) -> None:
        """Check that balances, meters, journal and escrow agree."""
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

    def check_time(self) -> None:
        """Check that each viewer has watched every booked block but the last."""
        for user_id, viewer in self.account.viewers.items():
            blocks, block = self.story.blocks(user_id), self.account.price.block
            assert blocks == 0 or viewer.seen >= (blocks - 1) * block
            if not self.lost_time and not viewer.waiting and not self.account.over:
                assert blocks - 1 <= (viewer.seen - viewer.unpaid) // block
                assert (viewer.seen - viewer.unpaid - viewer.taken_back) // block <= blocks

    def check_refunds(self) -> None:
        """Check after the end that hardly used blocks were refunded, and no others unless by an operator."""
        booked = self.story.ledger.journal
        owed = {block_key(STREAM, user_id, n) for user_id, n in self.account.given_back}
        due = {key for key in owed & booked.keys() if booked[key].posting.tokens > 0}
        postings = (receipt.posting for receipt in booked.values())
        refunded = {posting.content for posting in postings if posting.kind is Kind.REFUND} - self._tickets_sold()
        assert refunded <= due | self.refunded_by_operator
        if not self.lost_time:
            assert due <= refunded

    def _tickets_sold(self) -> set[PostingKey]:
        booked = self.story.ledger.journal
        return {key for key, receipt in booked.items() if receipt.posting.kind is Kind.TICKET}

    def check_settled_tickets(self) -> None:
        """Check after the end that each ticket is the creator's if they were earned, or else refunded."""
        ledger = self.story.ledger
        assert self.story.balance(ESCROW) == 0
        kept = {key for key in self._tickets_sold() if refund_key(key) not in ledger.journal}
        kept -= {key for key in kept if refund_rest_key(key) in ledger.journal}
        assert kept == set(ledger.tickets.values())
        assert all(release_key(key) in ledger.journal for key in kept)
        if not self.lost_time:
            assert self.account.earned_tickets or not kept
