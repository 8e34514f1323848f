"""Postings, which move tokens from one wallet to another under one key, and receipts, their outcomes."""

from enum import IntEnum
from uuid import UUID

import msgspec

from domain.amounts import MAX_POSTING_TOKENS
from domain.ids import PostingKey, RoomId, UserId, WalletId
from domain.refusals import Code, Refusal

MAX_NUMBER = 2**31 - 1  # the largest number of a block or of a wallet's posting: both are int4 columns
KEY_BYTES = 16


class Kind(IntEnum):
    """The kind of a posting; the journal stores the number. The first three are spending, which daily limits count."""

    BLOCK = 1
    TIP = 2
    TICKET = 3
    PURCHASE = 4
    CREDIT = 5
    REFUND = 6
    PAYOUT = 7
    RELEASE = 8  # of a ticket's tokens, from escrow to the creator
    REPAYMENT = 9  # of a debt, from what its debtor earned


class Posting(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Moves `tokens` from `debit` to `credit`, once, under `key`.

    A posting of a room has the room's epoch, and commits only while that is the room's latest epoch. Epoch 0 commits
    whoever owns the room, until it has ended.
    A block has its number as well, and commits only after the block before it.
    A ticket has its stream as the room, and its own id as `ref_id`.
    A refund has the room and `ref_id` of the posting that it refunds, and that posting's key as content; the state of
    the room does not matter to it.
    A release and a repayment have the room and `ref_id` of the posting that they follow from, and its key as content.
    """

    key: PostingKey
    kind: Kind
    debit: WalletId
    credit: WalletId
    tokens: int
    room_id: RoomId | None = None
    epoch: int = 0
    block_no: int | None = None
    ref_id: UUID | None = None  # the tip, ticket, purchase or credit that it belongs to
    content: bytes | None = None  # 16 bytes: a digest of what was asked for beyond the fields above
    operator_id: UserId | None = None  # the operator who ordered it; audited in the same statement
    memo: str | None = None  # stored beside the journal, since text that users write must stay erasable


class Outcome(IntEnum):
    """The result of a posting; the batch statement returns the number."""

    COMMITTED = 0
    ALREADY = 1  # this key, with this content, was committed before
    INSUFFICIENT = 2
    FENCED = 3  # the room has a later owner
    CLOSED = 4  # the room has ended
    CONFLICT = 5  # this key was used with other content
    GAP = 6  # the block before it is not committed
    INVALID = 7  # no statement can book it
    WITHDRAWN = 8  # withdrawn before it was sent
    OWNED = 9  # the payer has a ticket to this stream
    LIMITED = 10  # it exceeds the payer's own daily limit, or the wallet is frozen


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """The outcome of one posting. Balances and posting numbers are None where no tokens moved, now or before."""

    posting: Posting
    outcome: Outcome
    debit_after: int | None = None  # with INSUFFICIENT: what the payer has
    credit_after: int | None = None
    debit_n: int | None = None  # the wallet's posting number: its version, and the order of its statement
    credit_n: int | None = None
    ref_id: UUID | None = None  # the posting's own; with ALREADY that of the first one under the key
    day_limit: int | None = None  # with LIMITED: the payer's limit per UTC day; -1 for a frozen wallet
    day_spent: int | None = None  # … and what they have spent of it

    @property
    def paid(self) -> bool:
        """Whether the tokens have moved, now or in an earlier attempt under the same key."""
        return self.outcome <= Outcome.ALREADY

    @property
    def room_is_lost(self) -> bool:
        """Whether the posting was refused because its room has a later owner, or has ended."""
        return self.outcome in (Outcome.FENCED, Outcome.CLOSED)


def fault_of(posting: Posting) -> Refusal | None:
    """Return why this posting must not be sent to the database, or None if it is valid.

    The database has the same limits as constraints.
    """
    if posting.debit == posting.credit:
        return Refusal(Code.SELF_PAYMENT, "A wallet cannot pay itself")
    if type(posting.tokens) is not int or not 0 <= posting.tokens <= MAX_POSTING_TOKENS:
        return Refusal(Code.VALIDATION_FAILED, f"tokens must be a whole number from 0 to {MAX_POSTING_TOKENS}")
    if posting.tokens == 0 and posting.kind is not Kind.BLOCK:
        return Refusal(Code.VALIDATION_FAILED, "tokens must be at least 1")
    if (posting.kind is Kind.BLOCK) != (posting.block_no is not None):
        return Refusal(Code.VALIDATION_FAILED, "a block has a number, and nothing else has")
    if posting.block_no is not None and (not 1 <= posting.block_no <= MAX_NUMBER or posting.room_id is None):
        return Refusal(Code.VALIDATION_FAILED, "blocks are numbered from 1, in a room")
    if posting.kind is Kind.TICKET and (posting.room_id is None or posting.ref_id is None):
        return Refusal(Code.VALIDATION_FAILED, "a ticket has an id, and is for a stream")
    if len(posting.key) != KEY_BYTES or len(posting.content or posting.key) != KEY_BYTES:
        return Refusal(Code.VALIDATION_FAILED, f"keys and digests have {KEY_BYTES} bytes")
    return None
