"""The rows from which a stream starts in tests: its facts and a fake ledger."""

from collections.abc import Iterable
from uuid import UUID

from domain.billing.block import BlockPrice
from domain.ids import ESCROW, LOSSES, PROMOTIONS, RoomId, UserId
from domain.instant import Instant
from domain.protocol import events as m
from domain.stream.record import StreamFacts
from tests.domain.postings import credit
from tests.model.ledger import Ledger
from tests.model.rows import RoomRow, Wallet

STREAM = RoomId(UUID(int=0x57EA))


def stream_facts(creator_id: UserId, ticket: int | None, price: BlockPrice | None, at: Instant) -> StreamFacts:
    """Return the facts of a stream; it is public if it has neither a ticket price nor a block price."""
    return StreamFacts(
        id=STREAM,
        channel="V1StGXR8_Z5jdHi6B-myT",
        creator=person(creator_id),
        title="Live from the kitchen",
        type="public" if price is None and ticket is None else "private",
        ticket_price_tokens=ticket,
        price=price,
        created_at=at,
    )


def fake_ledger(creator_id: UserId, viewers: Iterable[UserId], balance: int) -> Ledger:
    """Return a ledger with one stream's room, whose viewers have so many tokens each."""
    ledger = Ledger()
    ledger.wallets = {wallet: Wallet(is_system=True) for wallet in (PROMOTIONS, LOSSES, ESCROW)}
    ledger.wallets |= {user_id: Wallet() for user_id in (creator_id, *viewers)}
    ledger.rooms[STREAM] = RoomRow(creator=creator_id)
    ledger.apply([credit(user_id, balance, "first") for user_id in viewers if balance])
    return ledger


def person(user_id: UserId) -> m.Person:
    return m.Person(user_id, f"user {user_id.int:x}")
