"""Tickets to streams: finds tickets to release from escrow or to refund, and ends streams that were never started.

The price of a ticket is in the wallet `escrow` until it is released to the creator or refunded to the holder.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from domain.ids import PostingKey, RoomId, UserId
from domain.instant import Duration
from storage.ledger.batch import as_uuid
from storage.postgres import Postgres, Row

MOST_EXPIRED = 100  # streams that one statement ends, since postings wait for it


class StreamInEscrow(NamedTuple):
    """The facts that decide whether a stream's tickets are released or refunded."""

    stream_id: RoomId
    end_reason: str | None  # None: it has not ended
    present: Duration  # for which the creator was present
    released: bool  # whether its tickets are credited to the creator


class DueReturn(NamedTuple):
    """A ticket whose holder was removed or blocked, and which is not refunded yet."""

    key: PostingKey
    stream_id: RoomId
    user_id: UserId


async def find_tickets(postgres: Postgres, stream_id: RoomId, user_id: UserId | None = None) -> list[PostingKey]:
    """Return the posting keys of all tickets to a stream that are not refunded, or only of one user's ticket.

    Raises StorageUnavailable.
    """
    # Read the tickets that are not refunded.
    rows = await postgres.fetch(
        "SELECT posting_key FROM stream_tickets WHERE stream_id = $1 AND refunded_at IS NULL"
        " AND ($2::uuid IS NULL OR user_id = $2)",
        stream_id,
        user_id,
    )
    return [_key(row) for row in rows]


async def find_tickets_in_escrow(postgres: Postgres, stream_id: RoomId) -> list[PostingKey]:
    """Return the posting keys of the stream's tickets in escrow. Raises StorageUnavailable."""
    # Read the tickets that are neither released nor refunded.
    rows = await postgres.fetch(
        "SELECT posting_key FROM stream_tickets WHERE stream_id = $1 AND released_at IS NULL AND refunded_at IS NULL",
        stream_id,
    )
    return [_key(row) for row in rows]


async def find_escrow_of(postgres: Postgres, stream_id: RoomId) -> StreamInEscrow | None:
    """Return the facts that decide about a stream's tickets; None if there is no such stream.

    Raises StorageUnavailable.
    """
    # Read them from the stream's row.
    row = await postgres.fetchrow(f"SELECT {_ESCROW_COLUMNS} FROM streams s WHERE s.id = $1", stream_id)
    return None if row is None else StreamInEscrow(*row)


async def streams_to_settle(postgres: Postgres) -> list[StreamInEscrow]:
    """Return the streams with tickets in escrow that have ended, or whose tickets are released.

    Raises StorageUnavailable.
    """
    held = "FROM stream_tickets t WHERE t.released_at IS NULL AND t.refunded_at IS NULL"
    # Skip in the index from stream to stream, since a stream on sale may have many tickets, and keep the due ones.
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
    """Return the tickets to refund because their holders were removed or blocked. Raises StorageUnavailable.

    Tickets that their creators could not cover are reported to operators, and not returned again.
    """
    # Read the marked tickets that are neither refunded nor reported as uncovered.
    rows = await postgres.fetch(
        "SELECT posting_key, stream_id, user_id FROM stream_tickets WHERE refunded_at IS NULL"
        " AND return_key = posting_key AND uncovered_key IS DISTINCT FROM posting_key"
    )
    return [DueReturn(_key(row), row["stream_id"], row["user_id"]) for row in rows]


async def report_uncovered(postgres: Postgres, keys: Sequence[PostingKey], why: str) -> int:
    """Report those of the tickets that are not refunded to the operators, each once; return how many were reported.

    Takes the write lock. Raises StorageUnavailable.
    """
    # Insert the reports, and mark the tickets as uncovered.
    rows = await postgres.fetch("SELECT report_uncovered_tickets($1::uuid[], $2)", list(map(as_uuid, keys)), why)
    return int(rows[0][0])


async def expire_streams(postgres: Postgres, days: int) -> list[RoomId]:
    """End at most MOST_EXPIRED streams that were not started within so many days, and return their ids.

    Takes the write lock. Raises StorageUnavailable.
    """
    # End the oldest of them and their rooms.
    rows = await postgres.fetch("SELECT expire_streams($1, $2)", days, MOST_EXPIRED)
    return list(rows[0][0])


async def checkpoint_presence(postgres: Postgres, presences: Sequence[tuple[UUID, int, Duration]]) -> None:
    """Store how long the creators of streams were present: each item is a stream, its epoch, and microseconds.

    Skips streams whose rooms have a later epoch. Takes the write lock. Raises StorageUnavailable.
    """
    if presences:
        columns: list[list[Any]] = [list(column) for column in zip(*presences, strict=True)]
        # Store the times under the rooms' epochs.
        await postgres.execute("SELECT checkpoint_presence($1::uuid[], $2::int[], $3::bigint[])", *columns)


_ESCROW_COLUMNS = "s.id, s.end_reason, s.present_us, s.released_at IS NOT NULL"


def _key(row: Row) -> PostingKey:
    return PostingKey(row["posting_key"].bytes)
