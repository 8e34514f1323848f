"""Postings of users that no room sends: credits, payments elsewhere, tickets."""

from uuid import UUID

from domain.billing.posting import Kind, Posting
from domain.ids import ESCROW, PROMOTIONS, RoomId, UserId, client_key


def credit(user_id: UserId, tokens: int, key: str) -> Posting:
    """Return a posting of tokens for a user, out of a system wallet."""
    return Posting(key=client_key(user_id, key), kind=Kind.CREDIT, debit=PROMOTIONS, credit=user_id, tokens=tokens)


def payment(user_id: UserId, tokens: int, key: str) -> Posting:
    """Return a posting of a user's tokens to a system wallet, as a tip outside of the room would be."""
    return Posting(key=client_key(user_id, key), kind=Kind.TIP, debit=user_id, credit=PROMOTIONS, tokens=tokens)


def ticket_sale(user_id: UserId, tokens: int, key: str, *, room_id: RoomId, ticket_id: UUID) -> Posting:
    """Return a posting of a stream's ticket price to escrow."""
    return Posting(
        key=client_key(user_id, key),
        kind=Kind.TICKET,
        debit=user_id,
        credit=ESCROW,
        tokens=tokens,
        room_id=room_id,
        ref_id=ticket_id,
    )
