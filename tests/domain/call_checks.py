"""Compares a call with its account: each effect, the state after each step, and the ledger."""

from domain.billing.block import BlockPrice
from domain.billing.meter import Funds
from domain.billing.posting import Kind, Posting
from domain.instant import rfc3339
from domain.protocol import events as m
from domain.room import effects
from tests.domain.call_account import CallAccount
from tests.domain.call_committer import CALL
from tests.domain.story import CREATOR, FAN, Story
from tests.model.rows import MeterRow


def cost(price: BlockPrice, blocks: int) -> int:
    """Return the price of the first so many blocks."""
    return sum(price.tokens(block_no) for block_no in range(1, blocks + 1))


class CallChecks:
    """The checks of one call since the last start of its room, with what the room and its members have received."""

    def __init__(self, story: Story, account: CallAccount) -> None:
        self.story, self.account = story, account
        stored, row = story.committer.stored, story.ledger.meters[CALL, FAN]
        self.known_funds = story.funds
        self.last_warning: tuple[bool, str | None] = (False, None)  # low?, and the end that it names
        self.last_seq = 0
        self.posted = set(range(1, row.last_block + 1))
        self.stored_active, self.set_backs = account.active, stored.set_back.times
        self.start_published = row.last_block > 0
        self.closed = False

    def update_funds(self, funds: Funds) -> None:
        """Note funds that the room receives; they may be older than those it knows."""
        self.known_funds = max(self.known_funds, funds, key=lambda changes: changes.n)

    def check_effect(self, effect: effects.Effect) -> None:
        """Check one effect, and note what its receivers then know."""
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
                self.last_warning = (isinstance(warning, m.BalanceLow), warning.ends_at)
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
            case m.CallBlockCharged():
                assert event.block_no <= self.story.blocks, "events about money follow the commit"
                assert self.start_published
            case m.CallStarted():
                assert not self.start_published
                self.start_published = True
            case m.CallPaused() | m.CallResumed():
                assert self.start_published
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
        assert posting.block_no not in self.posted
        assert {posting.block_no - 1, 0} & (self.posted | {0}), "block n only after n-1"
        assert posting.tokens == self.account.price.tokens(posting.block_no)
        self.posted.add(posting.block_no)

    def check_call(self) -> None:
        """Check the state of the call after a step: its clock, its blocks and its holds are those of the account."""
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
        low = self.known_funds.balance < account.price.tokens(account.posted + 1) and not account.budget_spent()
        due_at = account.due_at()
        ends_at = rfc3339(due_at) if low and due_at is not None else None
        assert self.last_warning == (low, ends_at)

    def check_ledger(self) -> None:
        """Check that balances, meter and journal agree, and that the budget is kept."""
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

    def check_time(self) -> None:
        """Check that each booked block but the last was used up."""
        blocks = self.story.blocks
        assert blocks == 0 or self.account.total_active >= (blocks - 1) * self.story.facts.price.block
