"""Tickets to streams: what was paid for those that are held."""

from domain.ids import PostingKey, RoomId, UserId
from storage.postgres import Postgres


async def find_tickets(postgres: Postgres, stream_id: RoomId, user_id: UserId | None = None) -> list[PostingKey]:
    """The postings of all tickets to a stream that are held, or of one user's."""
    rows = await postgres.fetch(
        "SELECT posting_key FROM stream_tickets WHERE stream_id = $1 AND refunded_at IS NULL"
        " AND ($2::uuid IS NULL OR user_id = $2)",
        stream_id,
        user_id,
    )
    return [PostingKey(row["posting_key"].bytes) for row in rows]
