"""The kinds of ids, and the posting keys that are derived from them; ids are made in `server` and passed in."""

from hashlib import blake2b, sha256
from typing import NewType
from uuid import UUID

UserId = NewType("UserId", UUID)
WalletId = UserId  # a user's wallet has the user's id; a system wallet has one of the ids below
RoomId = NewType("RoomId", UUID)
CallId = RoomId  # a call is a room
MemberId = NewType("MemberId", UUID)  # one joined connection
SessionId = NewType("SessionId", UUID)
PostingKey = NewType("PostingKey", bytes)  # 16 bytes: the journal's index is most of the cost of a posting

# System wallets: where tokens come from and go to, so that the sum over all wallets is always zero.
TOKEN_SALES = UserId(UUID("00000000-0000-7000-8000-000000000001"))
PROMOTIONS = UserId(UUID("00000000-0000-7000-8000-000000000002"))
PAYOUTS = UserId(UUID("00000000-0000-7000-8000-000000000003"))
LOSSES = UserId(UUID("00000000-0000-7000-8000-000000000004"))
ESCROW = UserId(UUID("00000000-0000-7000-8000-000000000005"))  # paid for tickets that are not released yet


def block_key(room_id: RoomId, payer_id: UserId, block_no: int) -> PostingKey:
    """The one key under which this block of this payer can ever be paid."""
    return PostingKey(_digest(b"block", room_id.bytes, payer_id.bytes, block_no.to_bytes(8, "big")))


def client_key(user_id: UserId, key: str) -> PostingKey:
    """A client's own idempotency key, in a space of its own per user: it cannot collide with one that we derive."""
    return PostingKey(_digest(b"client", user_id.bytes, key.encode()))


def refund_key(posting: PostingKey) -> PostingKey:
    """The one key under which a posting can ever be reversed."""
    return PostingKey(_digest(b"refund", posting))


def refund_rest_key(posting: PostingKey) -> PostingKey:
    """The one key under which the losses can ever bear what who was paid has no more."""
    return PostingKey(_digest(b"refund rest", posting))


def release_key(ticket: PostingKey) -> PostingKey:
    """The one key under which a ticket's tokens can ever leave escrow for its creator."""
    return derived_key("release", ticket)


def repayment_key(earning: PostingKey) -> PostingKey:
    """The one key under which this earning can ever repay a debt of its payee."""
    return derived_key("repayment", earning)


def payout_cut_key(payout: PostingKey, refund: PostingKey) -> PostingKey:
    """The one key under which this refund can ever reduce this payout."""
    return derived_key("payout cut", payout, refund)


def derived_key(tag: str, *keys: PostingKey) -> PostingKey:
    """The key of a posting that the database books by itself; its function of this name derives the same."""
    return PostingKey(sha256(tag.encode() + b"".join(keys)).digest()[:16])


def purchase_key(provider: str, purchase_id: UUID) -> PostingKey:
    """The one key under which a purchase can ever be credited, however many events tell of it."""
    return PostingKey(_digest(b"purchase", provider.encode(), purchase_id.bytes))


def content_digest(*parts: str) -> bytes:
    """What a key was used for, beyond what the journal row itself says: 16 bytes to compare on a replay."""
    return _digest(b"content", *(part.encode() for part in parts))


def _digest(tag: bytes, *parts: bytes) -> bytes:
    # Each part with its length, so that no two lists of parts read the same.
    text = tag + b"".join([len(part).to_bytes(4, "big") + part for part in parts])
    return blake2b(text, digest_size=16, person=b"halfminute").digest()
