"""Tickets to streams: what was paid for those that are held, and which of them are to be released or given back."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from domain.ids import PostingKey, RoomId, UserId
from domain.instant import Duration
from storage.ledger.batch import as_uuid
from storage.postgres import Postgres, Row

MOST_EXPIRED = 100  # streams ended by one statement, since postings wait as long


class StreamInEscrow(NamedTuple):
    """A stream whose tickets leave escrow, or may do so."""

    stream_id: RoomId
    end_reason: str | None  # None: it has not ended
    present: Duration
    released: bool


class DueReturn(NamedTuple):
    """A ticket whose holder was removed or blocked, and which is not given back yet."""

    key: PostingKey
    stream_id: RoomId
    user_id: UserId


async def find_tickets(postgres: Postgres, stream_id: RoomId, user_id: UserId | None = None) -> list[PostingKey]:
    """The postings of all tickets to a stream that are held, or of one user's. Raises StorageUnavailable."""
    rows = await postgres.fetch(
        "SELECT posting_key FROM stream_tickets WHERE stream_id = $1 AND refunded_at IS NULL"
        " AND ($2::uuid IS NULL OR user_id = $2)",
        stream_id,
        user_id,
    )
    return [_key(row) for row in rows]


async def find_tickets_in_escrow(postgres: Postgres, stream_id: RoomId) -> list[PostingKey]:
    """Raises StorageUnavailable."""
    rows = await postgres.fetch(
        "SELECT posting_key FROM stream_tickets WHERE stream_id = $1 AND released_at IS NULL AND refunded_at IS NULL",
        stream_id,
    )
    return [_key(row) for row in rows]


async def find_escrow_of(postgres: Postgres, stream_id: RoomId) -> StreamInEscrow | None:
    """What decides about the tickets of a stream; None if there is no such stream. Raises StorageUnavailable."""
    row = await postgres.fetchrow(f"SELECT {_ESCROW_COLUMNS} FROM streams s WHERE s.id = $1", stream_id)
    return None if row is None else StreamInEscrow(*row)


async def streams_to_settle(postgres: Postgres) -> list[StreamInEscrow]:
    """Streams that have ended, or whose tickets are released, and that have tickets in escrow.

    The index is walked from stream to stream, since those that are on sale may have many tickets each.
    Raises StorageUnavailable.
    """
    held = "FROM stream_tickets t WHERE t.released_at IS NULL AND t.refunded_at IS NULL"
    rows = await postgres.fetch(
        f"""
        WITH RECURSIVE held (stream_id) AS (
            (SELECT t.stream_id {held} ORDER BY t.stream_id LIMIT 1)
            UNION ALL
            SELECT (SELECT t.stream_id {held} AND t.stream_id > h.stream_id ORDER BY t.stream_id LIMIT 1)
              FROM held h WHERE h.stream_id IS NOT NULL)
        SELECT {_ESCROW_COLUMNS} FROM held h,
               LATERAL (SELECT * FROM streams WHERE id = h.stream_id LIMIT 1) s
         WHERE s.status = 'ended' OR s.released_at IS NOT NULL
        """
    )
    return [StreamInEscrow(*row) for row in rows]


async def tickets_to_return(postgres: Postgres) -> list[DueReturn]:
    """Tickets whose holders were removed or blocked, and whose creators may cover them. Raises StorageUnavailable."""
    rows = await postgres.fetch(
        "SELECT posting_key, stream_id, user_id FROM stream_tickets WHERE refunded_at IS NULL"
        " AND return_key = posting_key AND uncovered_key IS DISTINCT FROM posting_key"
    )
    return [DueReturn(_key(row), row["stream_id"], row["user_id"]) for row in rows]


async def report_uncovered(postgres: Postgres, keys: Sequence[PostingKey], why: str) -> int:
    """Report those of these tickets that are still held, each once; how many it was. Raises StorageUnavailable."""
    rows = await postgres.fetch("SELECT report_uncovered_tickets($1::uuid[], $2)", list(map(as_uuid, keys)), why)
    return int(rows[0][0])


async def expire_streams(postgres: Postgres, days: int) -> list[RoomId]:
    """End streams that were not started within so many days; at most MOST_EXPIRED. Raises StorageUnavailable."""
    rows = await postgres.fetch("SELECT expire_streams($1, $2)", days, MOST_EXPIRED)
    return list(rows[0][0])


async def checkpoint_presence(postgres: Postgres, presences: Sequence[tuple[UUID, int, Duration]]) -> None:
    """Store for how long the creators of streams were present: each stream, its epoch, and the time.

    Where the epoch is not the room's any more, nothing is written. Raises StorageUnavailable.
    """
    if presences:
        columns: list[list[Any]] = [list(column) for column in zip(*presences, strict=True)]
        await postgres.execute("SELECT checkpoint_presence($1::uuid[], $2::int[], $3::bigint[])", *columns)


_ESCROW_COLUMNS = "s.id, s.end_reason, s.present_us, s.released_at IS NOT NULL"


def _key(row: Row) -> PostingKey:
    return PostingKey(row["posting_key"].bytes)
