"""The types of ids, and the posting keys that are derived from ids.

The server makes ids and passes them in. A key is derived from the thing that is paid, so that the same payment always
has the same key and is booked once, however often it is sent.
"""

from hashlib import blake2b, sha256
from typing import NewType
from uuid import UUID

UserId = NewType("UserId", UUID)
WalletId = UserId  # a user's wallet has the user's id; a system wallet has one of the ids below
RoomId = NewType("RoomId", UUID)
CallId = RoomId  # a call is a room
MemberId = NewType("MemberId", UUID)  # one joined connection
SessionId = NewType("SessionId", UUID)
PostingKey = NewType("PostingKey", bytes)  # 16 bytes: the journal's index on keys is most of a posting's cost

# System wallets: the counterparts of tokens that are created or leave, so that all balances always sum to zero.
TOKEN_SALES = UserId(UUID("00000000-0000-7000-8000-000000000001"))
PROMOTIONS = UserId(UUID("00000000-0000-7000-8000-000000000002"))
PAYOUTS = UserId(UUID("00000000-0000-7000-8000-000000000003"))
LOSSES = UserId(UUID("00000000-0000-7000-8000-000000000004"))
ESCROW = UserId(UUID("00000000-0000-7000-8000-000000000005"))  # paid for tickets that are not released yet


def block_key(room_id: RoomId, payer_id: UserId, block_no: int) -> PostingKey:
    """Return the one key under which block `block_no` (from 1) of this payer in this room can be paid."""
    return PostingKey(_digest(b"block", room_id.bytes, payer_id.bytes, block_no.to_bytes(8, "big")))


def client_key(user_id: UserId, key: str) -> PostingKey:
    """Return the key for a client's own idempotency key.

    Each user has a key space of their own, so a client's key never collides with another user's or with a derived key.
    """
    return PostingKey(_digest(b"client", user_id.bytes, key.encode()))


def refund_key(posting: PostingKey) -> PostingKey:
    """Return the one key under which a posting can be reversed."""
    return PostingKey(_digest(b"refund", posting))


def refund_rest_key(posting: PostingKey) -> PostingKey:
    """Return the one key under which `losses` pays the part of a refund that the payee cannot pay back."""
    return PostingKey(_digest(b"refund rest", posting))


def release_key(ticket: PostingKey) -> PostingKey:
    """Return the one key under which a ticket's tokens can leave escrow for the creator."""
    return derived_key("release", ticket)


def derived_key(tag: str, *keys: PostingKey) -> PostingKey:
    """Return the key of a posting that the database adds by itself; the SQL function of this name returns the same.

    The tags are `release` of a ticket, `repayment` of a debt by an earning, and `payout cut` by a refund.
    """
    return PostingKey(sha256(tag.encode() + b"".join(keys)).digest()[:16])


def purchase_key(provider: str, purchase_id: UUID) -> PostingKey:
    """Return the one key under which a purchase can be credited, however many provider events report it."""
    return PostingKey(_digest(b"purchase", provider.encode(), purchase_id.bytes))


def content_digest(*parts: str) -> bytes:
    """Return a digest in 16 bytes of what a key was used for, beyond the fields of the journal row.

    A replay under the same key with another digest is a conflict (contract.md, Idempotency).
    """
    return _digest(b"content", *(part.encode() for part in parts))


def _digest(tag: bytes, *parts: bytes) -> bytes:
    # Each part is preceded by its length, so that no two lists of parts give the same bytes.
    text = tag + b"".join([len(part).to_bytes(4, "big") + part for part in parts])
    return blake2b(text, digest_size=16, person=b"halfminute").digest()
