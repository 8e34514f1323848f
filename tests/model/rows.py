"""The rows of the model: the content of the ledger's tables."""

from typing import NamedTuple

import msgspec

from domain.billing.posting import Kind, Posting
from domain.ids import PostingKey, UserId, WalletId

SPENDING = frozenset({Kind.BLOCK, Kind.TIP, Kind.TICKET})  # the kinds that daily limits count


class Parts(NamedTuple):
    """How many of some tokens are promotional and how many are earned; the rest is bought."""

    promotional: int = 0
    earned: int = 0


class Wallet(msgspec.Struct):
    """The balance of one owner. Only a system wallet may be negative; it has no parts. `n` counts the postings."""

    is_system: bool = False
    balance: int = 0
    n: int = 0
    lifetime_earned: int = 0
    lifetime_spent: int = 0
    promotional: int = 0
    earned: int = 0
    owed: int = 0  # tokens that `losses` advanced for this user and that are not repaid

    @property
    def bought(self) -> int:
        return self.balance - self.promotional - self.earned

    def spend(self, tokens: int) -> Parts:
        """Split so many tokens into parts: promotional first, then bought, then earned."""
        promotional = min(self.promotional, tokens)
        return Parts(promotional, max(0, tokens - promotional - self.bought))


class RoomRow(msgspec.Struct):
    """The epoch of a room whose postings commit, and whether it has ended or its tickets are released."""

    epoch: int = 1
    ended: bool = False
    creator: UserId | None = None
    released: bool = False


class MeterRow(msgspec.Struct):
    """The blocks that one payer has paid in one room."""

    last_block: int = 0
    tokens: int = 0
    refunded_blocks: int = 0
    refunded_tokens: int = 0


class LimitRow(msgspec.Struct):
    """One user's daily limit and what they have spent of it today; None: no limit."""

    tokens: int | None
    spent: int = 0


class Debt(msgspec.Struct):
    """An advance by `losses` under one key, and the part of it that its debtor has repaid."""

    key: PostingKey
    debtor: WalletId
    tokens: int
    repaid: int = 0


def follows(cause: Posting, key: PostingKey, kind: Kind, debit: WalletId, credit: WalletId, tokens: int) -> Posting:
    """Build a posting that the statements book by themselves."""
    return Posting(
        key=key,
        kind=kind,
        debit=debit,
        credit=credit,
        tokens=tokens,
        room_id=cause.room_id,
        ref_id=cause.ref_id,
        content=cause.key,
    )
