"""A balanced movement of tokens from one wallet to another under one key, and what came of it: a receipt."""

from enum import IntEnum
from uuid import UUID

import msgspec

from domain.amounts import MAX_POSTING_TOKENS
from domain.ids import PostingKey, RoomId, UserId, WalletId
from domain.refusals import Code, Refusal

MAX_NUMBER = 2**31 - 1  # of a block, or of a wallet's postings: an integer of four bytes
KEY_BYTES = 16


class Kind(IntEnum):
    """Why tokens moved; the number is what the journal stores."""

    BLOCK = 1
    TIP = 2
    TICKET = 3
    PURCHASE = 4
    CREDIT = 5
    REFUND = 6
    PAYOUT = 7
    RELEASE = 8  # of a ticket's tokens, from escrow to the creator
    REPAYMENT = 9  # of a debt, from what its debtor earned

    @property
    def is_spending(self) -> bool:
        """It counts against what the payer allows themselves in a day."""
        return self <= Kind.TICKET


class Posting(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Tokens to move from `debit` to `credit`, once, under `key`.

    A posting of a room carries the room's epoch and commits only while that epoch is the room's latest, or 0 where it
    does not matter who owns the room, only that it has not ended. A block carries its room's epoch, and its number, and
    commits only if the one before it did. A ticket names its stream as the room, and its own id as `ref_id`.
    A refund has the room and `ref_id` of what it gives back, whose key is its content; rooms do not hold it up. A
    release and a repayment have those of the posting that they follow from, whose key is their content.
    """

    key: PostingKey
    kind: Kind
    debit: WalletId
    credit: WalletId
    tokens: int
    room_id: RoomId | None = None
    epoch: int = 0
    block_no: int | None = None
    ref_id: UUID | None = None  # the tip, ticket, purchase or credit it belongs to
    content: bytes | None = None  # 16 bytes: what was asked for beyond the fields above
    operator_id: UserId | None = None  # who ordered it: written down with it, in the same statement
    memo: str | None = None  # kept beside the journal, since a person's words must stay erasable


class Outcome(IntEnum):
    """What came of a posting; the number is what the batch statement returns."""

    COMMITTED = 0
    ALREADY = 1  # this key, with this content, was committed before
    INSUFFICIENT = 2
    FENCED = 3  # the room has a later owner
    CLOSED = 4  # the room has ended
    CONFLICT = 5  # this key was used with other content
    GAP = 6  # the block before it is not committed
    INVALID = 7  # no statement can carry it out
    WITHDRAWN = 8  # taken back before it was sent
    OWNED = 9  # the payer has a ticket to this stream
    LIMITED = 10  # it is more than the payer allows themselves today


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """The outcome of one posting. Balances and posting numbers are None where nothing was, or had been, moved."""

    posting: Posting
    outcome: Outcome
    debit_after: int | None = None  # with INSUFFICIENT: what the payer has
    credit_after: int | None = None
    debit_n: int | None = None  # the wallet's posting number: its version, and the order of its statement
    credit_n: int | None = None
    ref_id: UUID | None = None  # the posting's own; with ALREADY that of the first one under the key
    day_limit: int | None = None  # with LIMITED: what the payer allows themselves in a UTC day; -1 of a frozen wallet
    day_spent: int | None = None  # … and has spent of it

    @property
    def paid(self) -> bool:
        """The tokens are where they should be, now or since an earlier try."""
        return self.outcome <= Outcome.ALREADY


def fault_of(posting: Posting) -> Refusal | None:
    """Why no statement should be sent for this posting at all, or None if it is sound.

    The database holds the same limits as constraints, for what code forgets.
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
