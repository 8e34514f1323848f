"""One payer's clock and blocks in one room: what is due, what was sent to the ledger, and what was booked."""

from collections import deque
from typing import NamedTuple

from domain.billing.block import ActiveClock, BlockPrice
from domain.billing.posting import Kind, Posting, Receipt
from domain.ids import PostingKey, RoomId, UserId, block_key
from domain.instant import Duration, Instant


class LedgerDisagrees(Exception):
    """A receipt contradicts the rules; the room must restart from its rows in the database."""


class Funds(NamedTuple):
    """A wallet's balance after its posting number `n`; of two, the one with the larger `n` is newer."""

    balance: int
    n: int


class SetBack(NamedTuple):
    """How often a meter's active time was set back because the payee had been absent, and up to which block."""

    times: int = 0  # so far: of two stored active times of one meter, the one with more set-backs is newer
    block_no: int = 0  # the last block charged by then; active time before the start of that block is valid


class Paid(NamedTuple):
    """The blocks of a payer in a room that were paid, and those that were refunded, wholly or in part."""

    blocks: int = 0
    tokens: int = 0
    refunded_blocks: int = 0
    refunded_tokens: int = 0

    @property
    def kept_tokens(self) -> int:
        """The charged tokens, less refunded ones."""
        return self.tokens - self.refunded_tokens


class StoredMeter(NamedTuple):
    """The state of a payer's blocks in a room from the database: blocks, tokens, active time and the payer's funds."""

    committed: int
    tokens: int
    active: Duration
    funds: Funds
    set_back: SetBack = SetBack()


class WaitingBlock(NamedTuple):
    """A block that was sent to the ledger and has no receipt yet."""

    block_no: int
    tokens: int
    since: Instant


class Meter:
    """The blocks of one payer in one room: due by active time, posted in order, counted when their receipt arrives.

    `committed` and `tokens` are the booked blocks and their price; `active` is the active time to continue from.
    Time beyond the last committed block is dropped: a block that only waited in memory is not charged after a restart.
    Time before the start of that block is out of date and raised to it, unless the clock was set back.
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
        self._refunded_keys: frozenset[PostingKey] = (
            frozenset()
        )  # since a restart; two postings can refund the same block
        block_start = 0 if committed <= set_back.block_no else (committed - 1) * price.block
        self.clock = ActiveClock(min(max(active, block_start), committed * price.block))
        self.waiting: deque[WaitingBlock] = deque()

    def due_at(self) -> Instant | None:
        """Return when the next block n falls due: at n - 1 blocks of active time. None while the clock is stopped."""
        return self.clock.reaches(self.posted * self.price.block)

    @property
    def next_tokens(self) -> int:
        """The price of the next block to fall due."""
        return self.price.tokens(self.posted + 1)

    @property
    def promised_tokens(self) -> int:
        """The payer's spending in this room if all waiting blocks and the next one are committed."""
        return self.tokens + self._waiting_tokens() + self.next_tokens

    def post_next(self, at: Instant) -> Posting:
        """Count the block that is due now as posted, and return its posting."""
        self.posted += 1
        block = WaitingBlock(self.posted, self.price.tokens(self.posted), at)
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
        """Stop the clock as of `since`, when the last byte of the payee was received.

        Blocks charged meanwhile stay paid, and pay for active time to come.
        """
        if self.clock.stop_as_of(since, at):
            self.set_back = SetBack(self.set_back.times + 1, self.posted)

    def use_up(self, at: Instant) -> None:
        """Stop the clock at the end of the last charged block, whose rest is refunded and must not be used later."""
        self.clock.stop(at)
        self.clock = ActiveClock(self.posted * self.price.block)

    def drop_unpaid(self, at: Instant) -> None:
        """Stop the clock at the end of the paid blocks, so that refused blocks are not posted again.

        No block may wait for its receipt.
        """
        assert not self.waiting, "a block that waits may still be paid"
        self.clock.cut(self.billed_active(at), at)
        self.posted = self.committed

    def excuse(self, stalled: Duration) -> None:
        """Extend the waiting time of blocks by a stall of the server, in which no receipt could arrive."""
        self.waiting = deque(block._replace(since=block.since + stalled) for block in self.waiting)

    def settle(self, receipt: Receipt) -> WaitingBlock:
        """Count the receipt of the oldest waiting block, and return that block.

        The receipt must be that block's, since receipts come in the order of the postings.
        """
        block = self.waiting.popleft()
        assert block.block_no == receipt.posting.block_no, "receipts come in the order of their postings"
        if receipt.paid:
            assert block.block_no == self.committed + 1, "a block is committed only after the one before it"
            self.committed = block.block_no
            self.tokens += block.tokens
        if receipt.debit_after is not None and receipt.debit_n is not None:
            self.update_funds(Funds(receipt.debit_after, receipt.debit_n))
        return block

    def note_refund(self, refund: Posting) -> None:
        """Count a refund of one of this meter's blocks, or of a part of it."""
        paid = PostingKey(refund.content or b"")
        self._refunded_blocks += paid not in self._refunded_keys
        self._refunded_tokens += refund.tokens
        self._refunded_keys |= {paid}

    @property
    def paid(self) -> Paid:
        """The blocks and tokens that were paid and refunded so far."""
        return Paid(self.committed, self.tokens, self._refunded_blocks, self._refunded_tokens)

    def update_funds(self, funds: Funds) -> None:
        """Use this balance of the payer, unless a newer one is known."""
        if funds.n >= self.funds.n:
            self.funds = funds

    @property
    def waiting_since(self) -> Instant | None:
        """When the oldest block without a receipt was posted; None if no block waits."""
        return self.waiting[0].since if self.waiting else None

    @property
    def spendable(self) -> int:
        """The balance less the price of the waiting blocks."""
        return self.funds.balance - self._waiting_tokens()

    @property
    def cannot_pay_next(self) -> bool:
        """Whether the balance does not pay for the next block."""
        return self.spendable < self.next_tokens

    def paid_through(self) -> Instant | None:
        """Return until when the committed blocks pay if the clock runs on; None while it is stopped."""
        return self.clock.reaches(self.committed * self.price.block)

    def billed_active(self, at: Instant) -> Duration:
        """Return the active time that is covered by committed blocks."""
        return min(self.clock.active(at), self.committed * self.price.block)

    def left(self, at: Instant, budget: int | None = None) -> Duration:
        """Return how long the payer can continue: the unused paid time, and what the balance still pays for.

        `budget` limits the payer's spending in this room, in tokens; None: no limit.
        """
        rest = max(0, self.posted * self.price.block - self.clock.active(at))
        buys = self.spendable
        if budget is not None:
            buys = min(buys, budget - self.tokens - self._waiting_tokens())
        return rest + self.price.affordable(buys, self.posted) * self.price.block

    def _waiting_tokens(self) -> int:
        return sum(block.tokens for block in self.waiting)
