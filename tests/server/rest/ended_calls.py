"""Calls that have ended with paid blocks, without a room that runs."""

from domain.billing.posting import Posting
from domain.ids import RoomId
from server.context import Context
from server.ids import new_uuid
from tests.server.rest.conftest import Caller
from tests.server.rest.shop import Shop
from tests.storage.ledger_pair import block


async def book(context: Context, *postings: Posting) -> None:
    assert all(receipt.paid for receipt in await context.actor.post(postings))


async def call_of(shop: Shop, fan: Caller, creator: Caller, blocks: int) -> RoomId:
    """Store an ended call with so many blocks of 15 tokens."""
    call_id = RoomId(new_uuid())
    postgres = shop.context.postgres
    room = "INSERT INTO rooms (id, kind, channel, opened) VALUES ($1, 'call', $2, false)"  # so that no server adopts it
    await postgres.execute(room, call_id, call_id.hex[:24])
    await postgres.execute("INSERT INTO meters (room_id, payer_id) VALUES ($1, $2)", call_id, fan.user_id)
    await postgres.execute(
        "INSERT INTO calls (id, fan_id, creator_id, rate_tokens_per_min, block_seconds, block_rounding, created_at,"
        " rings_until) VALUES ($1, $2, $3, 30, 30, 'up', now(), now())",
        *(call_id, fan.user_id, creator.user_id),
    )
    paid = [block(call_id, fan.user_id, creator.user_id, n) for n in range(1, blocks + 1)]
    await book(shop.context, *paid)
    for statement in (
        "UPDATE calls SET status = 'ended', accepted_at = now(), started_at = now(), ended_at = now(),"
        " end_reason = 'hangup' WHERE id = $1",
        "UPDATE rooms SET ended_at = now() WHERE id = $1",
    ):
        await postgres.execute(statement, call_id)
    return call_id
