"""One payer's clock and blocks in one room: what is due, what was sent to the books, and what came back."""

from collections import deque
from typing import NamedTuple

from domain.billing.block import ActiveClock, BlockPrice
from domain.billing.posting import Kind, Posting, Receipt
from domain.ids import PostingKey, RoomId, UserId, block_key
from domain.instant import Duration, Instant


class LedgerDisagrees(Exception):
    """A receipt says what the rules hold impossible; the room must start again from its rows."""


class Funds(NamedTuple):
    """A wallet's balance as of its posting number `n`; the larger `n` is the later news."""

    balance: int
    n: int


class SetBack(NamedTuple):
    """Active time was taken back, since the payee turned out to have been away."""

    times: int = 0  # so far: of two stored times of one meter, that with the larger number is the later one
    block_no: int = 0  # the last block charged by then: time before the start of a block up to it is not out of date


class Paid(NamedTuple):
    """What a payer's blocks in a room came to, and what was given back of them, each block whole."""

    blocks: int = 0
    tokens: int = 0
    refunded_blocks: int = 0
    refunded_tokens: int = 0


class StoredMeter(NamedTuple):
    """What the books say of a payer's blocks in a room, with the active time to go on from and the payer's funds."""

    committed: int
    tokens: int
    active: Duration
    funds: Funds
    set_back: SetBack = SetBack()


class Waiting(NamedTuple):
    """A block that was sent to the books and has no receipt yet."""

    block_no: int
    tokens: int
    since: Instant


class Meter:
    """Blocks of (room, payer): due by active time, posted in order, counted when their receipt is in.

    `committed` and `tokens` are what the books say; `active` is the active time to go on from. Time beyond the
    last committed block is dropped: a block that only waited in memory is not charged after a restart. Time before
    the start of that block is out of date, unless it was set back.
    """

    def __init__(
        self,
        *,
        room_id: RoomId,
        payer: UserId,
        payee: UserId,
        price: BlockPrice,
        epoch: int,
        funds: Funds,
        committed: int = 0,
        tokens: int = 0,
        active: Duration = 0,
        set_back: SetBack = SetBack(),  # noqa: B008  # reason: it never changes
        refunded: tuple[int, int] = (0, 0),
    ) -> None:
        self.room_id, self.payer, self.payee, self.price, self.epoch = room_id, payer, payee, price, epoch
        self.funds = funds
        self.committed = self.posted = committed
        self.tokens = tokens
        self.set_back = set_back
        self._refunded_blocks, self._refunded_tokens = refunded
        self._refunded_keys: frozenset[PostingKey] = frozenset()  # since a restart; a refund may take two postings
        begun = 0 if committed <= set_back.block_no else (committed - 1) * price.block
        self.clock = ActiveClock(min(max(active, begun), committed * price.block))
        self.waiting: deque[Waiting] = deque()

    def due_at(self) -> Instant | None:
        """When the next block falls due: at (n-1) blocks of active time. None while the clock stands."""
        return self.clock.reaches(self.posted * self.price.block)

    @property
    def next_tokens(self) -> int:
        """The price of the next block to fall due."""
        return self.price.tokens(self.posted + 1)

    @property
    def promised_tokens(self) -> int:
        """What the next block brings the payer's spending to, if all that waits is committed."""
        return self.tokens + self._waiting_tokens() + self.next_tokens

    def post_next(self, at: Instant) -> Posting:
        """The posting of the block that is due now."""
        self.posted += 1
        block = Waiting(self.posted, self.price.tokens(self.posted), at)
        self.waiting.append(block)
        return Posting(
            key=block_key(self.room_id, self.payer, block.block_no),
            kind=Kind.BLOCK,
            debit=self.payer,
            credit=self.payee,
            tokens=block.tokens,
            room_id=self.room_id,
            epoch=self.epoch,
            block_no=block.block_no,
        )

    def payee_was_away(self, since: Instant, at: Instant) -> None:
        """Stop the clock as of when the payee was last heard; what was charged meanwhile pays for time to come."""
        if self.clock.stop_as_of(since, at):
            self.set_back = SetBack(self.set_back.times + 1, self.posted)

    def use_up(self, at: Instant) -> None:
        """Stop the clock at the end of the last block that was charged: the rest of it is given back, not kept."""
        self.clock.stop(at)
        self.clock = ActiveClock(self.posted * self.price.block)

    def drop_unpaid(self, at: Instant) -> None:
        """Stop the clock at the end of the paid blocks: none waits, and what was refused is not asked for again."""
        assert not self.waiting, "a block that waits may still be paid"
        self.clock.cut(self.billed_active(at), at)
        self.posted = self.committed

    def excuse(self, stalled: Duration) -> None:
        """The time of a stall does not count as waiting: no receipt could arrive."""
        self.waiting = deque(block._replace(since=block.since + stalled) for block in self.waiting)

    def settle(self, receipt: Receipt) -> Waiting:
        """Count the receipt of the oldest waiting block, which is the one it must be for."""
        block = self.waiting.popleft()
        assert block.block_no == receipt.posting.block_no, "receipts come in the order of their postings"
        if receipt.paid:
            assert block.block_no == self.committed + 1, "a block is committed only after the one before it"
            self.committed = block.block_no
            self.tokens += block.tokens
        if receipt.debit_after is not None and receipt.debit_n is not None:
            self.learn(Funds(receipt.debit_after, receipt.debit_n))
        return block

    def note_refund(self, refund: Posting) -> None:
        """One of this meter's blocks was given back, or a part of it."""
        paid = PostingKey(refund.content or b"")
        self._refunded_blocks += paid not in self._refunded_keys
        self._refunded_tokens += refund.tokens
        self._refunded_keys |= {paid}

    @property
    def paid(self) -> Paid:
        return Paid(self.committed, self.tokens, self._refunded_blocks, self._refunded_tokens)

    def learn(self, funds: Funds) -> None:
        """Take note of the payer's balance, unless later news is known."""
        if funds.n >= self.funds.n:
            self.funds = funds

    @property
    def waiting_since(self) -> Instant | None:
        """Since when the oldest block has been waiting for its receipt."""
        return self.waiting[0].since if self.waiting else None

    @property
    def spendable(self) -> int:
        """The balance less what waits to be committed."""
        return self.funds.balance - self._waiting_tokens()

    @property
    def cannot_pay_next(self) -> bool:
        return self.spendable < self.next_tokens

    def paid_through(self) -> Instant | None:
        """Until when the committed blocks pay, if nothing stops the clock; None while it stands."""
        return self.clock.reaches(self.committed * self.price.block)

    def billed_active(self, at: Instant) -> Duration:
        """The active time that committed blocks cover: never more than was paid."""
        return min(self.clock.active(at), self.committed * self.price.block)

    def left(self, at: Instant, budget: int | None = None) -> Duration:
        """How long the payer can go on: the rest of what is paid, and what the balance (and `budget`) still buys."""
        rest = max(0, self.posted * self.price.block - self.clock.active(at))
        buys = self.spendable
        if budget is not None:
            buys = min(buys, budget - self.tokens - self._waiting_tokens())
        return rest + self.price.affordable(buys, self.posted) * self.price.block

    def _waiting_tokens(self) -> int:
        return sum(block.tokens for block in self.waiting)
