"""Rows of streams: creates, opens, stores and reads streams, and reads who may watch them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, get_args
from uuid import UUID

import msgspec

from domain.billing.block import BlockPrice, Rounding
from domain.billing.meter import Funds, SetBack, StoredMeter
from domain.ids import RoomId, UserId
from domain.instant import Instant, as_datetime, as_datetime_or_none, from_datetime, from_datetime_or_none
from domain.protocol.events import Person
from domain.refusals import Code, Refusal, quota_reached
from domain.stream.record import StreamFacts, StreamRecord, StreamStatus, StreamType, StreamView, view_stream
from storage.database_errors import StatementRefused
from storage.paging import Listing, Page, Paged, all_of
from storage.postgres import Connection, Postgres, Row
from storage.quotas import lock_user, too_many_in_a_day

LIVE_OR_IN_A_CALL = "live_or_in_a_call"  # the constraint against being live and in a call, see 0004_leases.sql


class StoredStream(msgspec.Struct, frozen=True):
    """The stored state of a stream; with a StoredAudience, enough to adopt it."""

    facts: StreamFacts
    record: StreamRecord
    epoch: int

    @property
    def view(self) -> StreamView:
        """The stream as clients see it over REST."""
        return view_stream(self.facts, self.record)


class NewStream(msgspec.Struct, frozen=True, kw_only=True):
    """A stream that a creator announces. Prices are in tokens, and None where the type of the stream has none."""

    id: RoomId
    channel: str
    creator: UserId
    title: str
    type: StreamType
    ticket_price_tokens: int | None
    rate_tokens_per_min: int | None
    block_seconds: int
    block_rounding: Rounding
    created_at: Instant


class StreamFilter(msgspec.Struct, frozen=True):
    """Selects streams by status, type, creator and time of announcement; None matches all.

    `since` is inclusive, `until` exclusive.
    """

    status: StreamStatus | None = None
    type: StreamType | None = None
    creator_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


class StoredAudience(msgspec.Struct, frozen=True):
    """The state of a stream's viewers that a room reads when it starts or is adopted.

    `tickets` maps ticket holders to the ids of their tickets, `blocked` are the users whom the creator has blocked, and
    `earned` is the sum in tokens of all blocks so far.
    """

    tickets: dict[UserId, UUID]
    blocked: tuple[UserId, ...]
    earned: int


class Standing(msgspec.Struct, frozen=True):
    """The facts about one user that decide whether the user may watch a stream."""

    holds_ticket: bool
    is_banned: bool


STREAMS = Listing(
    columns="s.*, r.channel, r.epoch, u.display_name",
    source="""streams s,
              LATERAL (SELECT channel, epoch FROM rooms WHERE id = s.id LIMIT 1) r,
              LATERAL (SELECT display_name FROM users WHERE supabase_id = s.creator_id LIMIT 1) u""",
    table="streams s",
    at="s.created_at",
    id="s.id",
)


async def create_stream(
    postgres: Postgres, new: NewStream, *, max_scheduled: int, max_a_day: int
) -> StoredStream | Refusal:
    """Insert a scheduled stream, with a channel and a room that no server runs yet.

    Refuses NOT_A_CREATOR, and a quota: more than `max_scheduled` scheduled streams, or more than `max_a_day` in 24
    hours. Locks the creator's row in `users`. Raises StorageUnavailable.
    """

    async def in_transaction(connection: Connection) -> Refusal | None:
        # Check that the user is a creator.
        if await connection.fetchrow("SELECT 1 FROM creators WHERE user_id = $1", new.creator) is None:
            return Refusal(Code.NOT_A_CREATOR, "Only creators stream")
        await lock_user(connection, new.creator)
        # Count the creator's scheduled streams.
        scheduled = "SELECT count(*) FROM streams WHERE creator_id = $1 AND status = 'scheduled'"
        if await connection.fetchval(scheduled, new.creator) >= max_scheduled:
            return quota_reached(f"You have announced {max_scheduled} streams; start or end one first")
        refusal = await too_many_in_a_day(connection, "streams", new.creator, max_a_day)
        if refusal is None:
            await _insert_stream(connection, new)
        return refusal

    refusal = await postgres.transaction(in_transaction)
    if refusal is not None:
        return refusal
    stored = await find_stream(postgres, new.id)
    assert stored is not None, "it was written just now"
    return stored


async def _insert_stream(connection: Connection, new: NewStream) -> None:
    # Insert the room, not yet opened, and the stream.
    await connection.execute(
        """
        WITH room AS (INSERT INTO rooms (id, kind, channel, opened) VALUES ($1, 'stream', $2, false))
        INSERT INTO streams (id, creator_id, title, type, ticket_price_tokens, rate_tokens_per_min, block_seconds,
                             block_rounding, created_at)
        VALUES ($1, $3, $4, $5, $6, $7, $8, $9, $10)
        """,
        new.id,
        new.channel,
        new.creator,
        new.title,
        new.type,
        new.ticket_price_tokens,
        new.rate_tokens_per_min,
        new.block_seconds,
        new.block_rounding,
        as_datetime(new.created_at),
    )


async def open_stream(postgres: Postgres, stream_id: RoomId, server_id: UUID, at: Instant) -> int | Refusal | None:
    """Set a scheduled stream live on this server, and return the room's epoch; None if it is no longer scheduled.

    Refuses a creator who is live with another stream, or in a call. Takes the write lock, and then locks the creator's
    row in `users`. Raises StorageUnavailable.
    """
    try:
        # Open the room and set the stream live.
        rows = await postgres.fetch("SELECT open_stream($1, $2, $3)", stream_id, server_id, as_datetime(at))
    except StatementRefused as refused:
        if refused.constraint == "one_live_stream_a_creator":
            return Refusal(Code.ALREADY_LIVE, "Another stream of yours is live")
        if refused.constraint == LIVE_OR_IN_A_CALL:
            return Refusal(Code.ALREADY_IN_CALL, "You are in a call")
        raise
    epoch: int | None = rows[0][0]
    return epoch


async def end_scheduled_stream(postgres: Postgres, stream_id: RoomId, at: Instant) -> bool:
    """End a scheduled stream; False if it went live or has ended. Takes the write lock. Raises StorageUnavailable."""
    # End the stream and its room.
    rows = await postgres.fetch("SELECT end_scheduled_stream($1, $2)", stream_id, as_datetime(at))
    return bool(rows[0][0])


async def save_stream(postgres: Postgres, stream_id: RoomId, epoch: int, record: StreamRecord) -> bool:
    """Store a stream's state; the record of an ended stream also ends its room.

    False, with nothing stored, if the room has a later epoch or has ended. Takes the write lock, then the room's row.
    Raises StorageUnavailable.
    """
    # Check the epoch, and store the record and the meters of its viewing sessions.
    rows = await postgres.fetch(
        "SELECT save_stream($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        stream_id,
        epoch,
        record.status,
        as_datetime_or_none(record.ended_at),
        record.end_reason,
        list(record.muted),
        list(record.removed),
        [payer for payer, _ in record.viewing_sessions],
        [active for _, active in record.viewing_sessions],
        record.present,
        [set_back.times for set_back in record.set_backs],
        [set_back.block_no for set_back in record.set_backs],
    )
    return bool(rows[0][0])


async def find_stream(postgres: Postgres, stream_id: UUID) -> StoredStream | None:
    """Return a stream, scheduled, live or ended, or None. Raises StorageUnavailable."""
    # Read the stream with its room and its creator's name.
    row = await postgres.fetchrow(f"SELECT {STREAMS.columns} FROM {STREAMS.source} WHERE s.id = $1", stream_id)
    return None if row is None else stored_stream(row)


async def find_stream_in(postgres: Postgres, channel: str) -> StoredStream | None:
    """Return the stream of a channel, or None. Raises StorageUnavailable."""
    # Read the stream whose room has this channel.
    row = await postgres.fetchrow(
        f"SELECT {STREAMS.columns} FROM {STREAMS.source} WHERE s.id = (SELECT id FROM rooms WHERE channel = $1)",
        channel,
    )
    return None if row is None else stored_stream(row)


async def list_streams(postgres: Postgres, wanted: StreamFilter, page: Page) -> Paged[StoredStream]:
    """Return a page of streams, newest first. Raises BadCursor, StorageUnavailable."""
    args: list[Any] = []
    condition = all_of(
        args,
        ("s.type =", wanted.type),
        ("s.creator_id =", wanted.creator_id),
        ("s.created_at >=", wanted.since),
        ("s.created_at <", wanted.until),
    )
    statuses = get_args(StreamStatus) if wanted.status is None else (wanted.status,)
    conditions = [f"s.status = '{status}' AND {condition}" for status in statuses]  # each reads its part of the index
    return await STREAMS.page(postgres, page, conditions, args, stored_stream)


async def find_audience(postgres: Postgres, stream_id: RoomId, creator_id: UserId) -> StoredAudience:
    """Return the viewers' state with which a room starts; the room receives each later change as an input.

    Three queries without a common snapshot. Raises StorageUnavailable.
    """
    # Read the tickets that are not refunded.
    rows = await postgres.fetch(
        "SELECT user_id, ticket_id FROM stream_tickets WHERE stream_id = $1 AND refunded_at IS NULL", stream_id
    )
    # Read the users whom the creator has blocked.
    blocked = await postgres.fetch("SELECT user_id FROM creator_blocks WHERE creator_id = $1", creator_id)
    # Sum the tokens of all meters of the stream.
    earned = await postgres.fetch("SELECT coalesce(sum(tokens), 0)::bigint FROM meters WHERE room_id = $1", stream_id)
    tickets = {row["user_id"]: row["ticket_id"] for row in rows}
    return StoredAudience(tickets, tuple(row[0] for row in blocked), earned[0][0])


async def find_standing(
    postgres: Postgres, stream: StreamFacts, removed: Sequence[UserId], user_id: UserId
) -> Standing:
    """Return whether the user holds a ticket to the stream, and whether the user is removed or blocked.

    `removed` are the users whom the creator has removed from the stream. Raises StorageUnavailable.
    """
    # Look up the user's ticket and the creator's block.
    rows = await postgres.fetch(
        "SELECT EXISTS (SELECT FROM stream_tickets WHERE stream_id = $1 AND user_id = $2 AND refunded_at IS NULL),"
        " EXISTS (SELECT FROM creator_blocks WHERE creator_id = $3 AND user_id = $2)",
        stream.id,
        user_id,
        stream.owner_id,
    )
    holds_ticket, blocked = rows[0]
    return Standing(holds_ticket, blocked or user_id in removed)


async def open_viewing_session(postgres: Postgres, stream_id: RoomId, payer: UserId) -> StoredMeter:
    """Return the viewer's meter in the stream and the viewer's balance; the first call inserts the meter.

    Raises StorageUnavailable.
    """
    # Insert the meter if there is none, and read it with the wallet.
    row = await postgres.fetchrow("SELECT * FROM open_stay($1, $2)", stream_id, payer)
    assert row is not None, "a function without a set returns one row"
    funds, set_back = Funds(row["balance"], row["n"]), SetBack(row["set_backs"], row["set_back_block"])
    return StoredMeter(row["last_block"], row["tokens"], row["active_us"], funds, set_back)


def stored_stream(row: Row) -> StoredStream:
    """Convert a row of STREAMS."""
    rate = row["rate_tokens_per_min"]
    return StoredStream(
        facts=StreamFacts(
            id=row["id"],
            channel=row["channel"],
            creator=Person(row["creator_id"], row["display_name"]),
            title=row["title"],
            type=row["type"],
            ticket_price_tokens=row["ticket_price_tokens"],
            price=None if rate is None else BlockPrice(rate, row["block_seconds"], row["block_rounding"]),
            created_at=from_datetime(row["created_at"]),
        ),
        record=StreamRecord(
            status=row["status"],
            started_at=from_datetime_or_none(row["started_at"]),
            ended_at=from_datetime_or_none(row["ended_at"]),
            end_reason=row["end_reason"],
            muted=tuple(row["muted"]),
            removed=tuple(row["removed"]),
            present=row["present_us"],
            released=row["released_at"] is not None,
        ),
        epoch=row["epoch"],
    )
