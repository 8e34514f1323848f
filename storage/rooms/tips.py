"""Reads tips from the ledger: those of one room, those of one user, and the ranking of a creator's givers."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from domain.billing.posting import Kind
from domain.ids import RoomId, UserId
from domain.instant import Instant, as_datetime, rfc3339_of
from domain.protocol.events import HistoryTip, Person
from storage.ledger.statements import MAX_N, Entry, EntryFilter, find_range, search, statement
from storage.paging import Page, Paged
from storage.people.bans import STANDS
from storage.postgres import Postgres, Row

MAX_RANKED = 100_000  # tips that a ranking reads: it takes some tens of milliseconds
MAX_GIVERS = 100  # in a ranking
MAX_MISSED = 1000  # tips that an overlay receives at once: more than its picture can show


async def find_tipped(postgres: Postgres, channel: str) -> tuple[UserId, RoomId] | None:
    """Return the creator and the id of the room, live or ended, with this channel. Raises StorageUnavailable."""
    # Find the room, and the creator of its call or stream.
    row = await postgres.fetchrow(
        "SELECT coalesce((SELECT creator_id FROM calls c WHERE c.id = r.id),"
        " (SELECT creator_id FROM streams s WHERE s.id = r.id)) AS creator_id, r.id FROM rooms r WHERE r.channel = $1",
        channel,
    )
    return None if row is None else (row["creator_id"], row["id"])


async def recent_tips(
    postgres: Postgres, room_id: RoomId, creator_id: UserId, since: Instant, hidden: Collection[UserId], limit: int
) -> list[HistoryTip]:
    """Return the latest `limit` tips in a room that was created at `since`, oldest first.

    The messages of `hidden` and of banned users are None. Raises StorageUnavailable.
    """
    rows = await _tips_of_room(postgres, room_id, creator_id, since, limit)
    return [_past_tip(row, hidden) for row in reversed(rows)]


async def tips_after(
    postgres: Postgres, room_id: RoomId, creator_id: UserId, since: Instant, hidden: Collection[UserId], tip_id: UUID
) -> list[HistoryTip]:
    """Return the tips in a room that follow the tip `tip_id`, oldest first; the latest MAX_MISSED if there are more.

    The messages of `hidden` and of banned users are None. Raises StorageUnavailable.
    """
    rows = await _tips_of_room(postgres, room_id, creator_id, since, MAX_MISSED)
    ids = [row["ref_id"] for row in rows]
    newer = rows[: ids.index(tip_id)] if tip_id in ids else rows
    return [_past_tip(row, hidden) for row in reversed(newer)]


async def _tips_of_room(
    postgres: Postgres, room_id: RoomId, creator_id: UserId, since: Instant, limit: int
) -> list[Row]:
    """Return a room's latest tips, newest first.

    They are credits of the creator's wallet since the room was created, which is a range of entry numbers.
    """
    span = await find_range(postgres, creator_id, as_datetime(since), None)
    # Read the latest tips of that range in this room, with name, ban and message of each giver.
    return await postgres.fetch(
        f"""
        SELECT j.ref_id, j.tokens, j.debit_wallet, j.created_at, u.display_name,
               EXISTS (SELECT FROM bans b WHERE b.user_id = j.debit_wallet AND {STANDS}) AS banned,
               (SELECT memo FROM memos WHERE posting_key = j.key) AS memo
          FROM (SELECT key, ref_id, tokens, debit_wallet, created_at, credit_n FROM journal
                 WHERE credit_wallet = $1 AND kind = $2 AND credit_n > $3 AND credit_n <= $4 AND room_id = $5
                 ORDER BY credit_n DESC LIMIT $6) j,
               LATERAL (SELECT display_name FROM users WHERE supabase_id = j.debit_wallet LIMIT 1) u
         ORDER BY j.credit_n DESC
        """,
        creator_id,
        Kind.TIP,
        span.low,
        span.high,
        room_id,
        limit,
    )


def _past_tip(row: Row, hidden: Collection[UserId]) -> HistoryTip:
    giver = row["debit_wallet"]
    return HistoryTip(
        at=rfc3339_of(row["created_at"]),
        tip_id=row["ref_id"],
        from_=Person(giver, row["display_name"]),
        amount_tokens=row["tokens"],
        message=None if giver in hidden or row["banned"] else row["memo"],
    )


class RoomSpan(NamedTuple):
    """The lifetime and the parties of a room, which bound the search for its tips."""

    room_id: RoomId
    channel: str
    creator_id: UserId
    fan_id: UserId | None  # of a call; a stream has none
    since: datetime
    until: datetime | None

    def admits(self, user_id: UserId) -> bool:
        """Return whether the user may know of the room: only its parties know of a call."""
        return self.fan_id is None or user_id in (self.fan_id, self.creator_id)


async def find_room_span(postgres: Postgres, room_id: UUID | None, channel: str | None) -> RoomSpan | None:
    """Return the span of the room with this id, or, without an id, with this channel. Raises StorageUnavailable."""
    # Read the room, and the parties of its call or stream.
    row = await postgres.fetchrow(
        "SELECT r.id, r.channel, r.created_at, r.ended_at, coalesce((SELECT creator_id FROM calls c WHERE c.id = r.id),"
        " (SELECT creator_id FROM streams s WHERE s.id = r.id)) AS creator_id,"
        " (SELECT fan_id FROM calls c WHERE c.id = r.id) AS fan_id FROM rooms r"
        f" WHERE {'r.channel' if room_id is None else 'r.id'} = $1",
        channel if room_id is None else room_id,
    )
    if row is None:
        return None
    return RoomSpan(row["id"], row["channel"], row["creator_id"], row["fan_id"], row["created_at"], row["ended_at"])


async def list_tips(
    postgres: Postgres, user_id: UserId, wanted: EntryFilter, room: RoomSpan | None, page: Page
) -> Paged[Entry]:
    """Return a page of the tips that a user gave or received, newest first; of one room if `room` is given.

    `wanted.kind` must be TIP. Raises BadCursor, StorageUnavailable.
    """
    if room is None:
        return await statement(postgres, user_id, wanted, page)
    span = await find_range(postgres, user_id, _later(room.since, wanted.since), _earlier(room.until, wanted.until))
    return await search(postgres, user_id, msgspec.structs.replace(wanted, room_id=room.room_id), span, page)


def _later(one: datetime, other: datetime | None) -> datetime:
    return one if other is None else max(one, other)


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((moment for moment in (one, other) if moment is not None), default=None)


class Giver(msgspec.Struct, frozen=True, rename="camel"):
    """The tips of one user to a creator, net of refunds, and the refunded tokens."""

    user_id: UserId
    display_name: str
    tips: int
    tokens: int
    refunded_tokens: int


async def top_givers(
    postgres: Postgres,
    creator_id: UserId,
    since: datetime | None,
    until: datetime | None,
    room: RoomSpan | None = None,
    *,
    public_only: bool = False,
) -> list[Giver]:
    """Return the users who gave a creator the most tokens in tips, net of refunds, in a period or in one room.

    Considers the latest MAX_RANKED tips, with `public_only` only those in public streams, and returns at most
    MAX_GIVERS users. Raises StorageUnavailable.
    """
    span = await find_range(postgres, creator_id, since, until)
    # Sum the latest tips by giver, subtract their refunds, and rank the givers by the rest.
    rows = await postgres.fetch(
        f"""
        WITH latest AS MATERIALIZED (
            SELECT debit_wallet, tokens, room_id, credit_n FROM journal
             WHERE credit_wallet = $1 AND kind = $2 AND credit_n > $3 AND credit_n <= $4
             ORDER BY credit_n DESC LIMIT $5
        ), given AS (
            SELECT debit_wallet, count(*) AS tips, sum(tokens)::bigint AS tokens
              FROM latest WHERE {_IN_ROOMS} GROUP BY 1
        ), returned AS (
            SELECT counterparty, count(DISTINCT paid) AS tips, sum(tokens)::bigint AS tokens
              FROM given_back($1, 'credit', $3, {MAX_N}, $9, NULL)
             WHERE kind = $2 AND credit_n <= $4 AND credit_n >= (SELECT min(credit_n) FROM latest) AND {_IN_ROOMS}
             GROUP BY 1
        )
        SELECT n.debit_wallet, u.display_name, n.tips, n.tokens, n.refunded
          FROM (SELECT g.debit_wallet, g.tips - coalesce(r.tips, 0) AS tips, g.tokens - coalesce(r.tokens, 0) AS tokens,
                       coalesce(r.tokens, 0) AS refunded
                  FROM given g LEFT JOIN returned r ON r.counterparty = g.debit_wallet
                 WHERE g.tokens > coalesce(r.tokens, 0) ORDER BY 3 DESC, 1 LIMIT $7) n,
               LATERAL (SELECT display_name FROM users WHERE supabase_id = n.debit_wallet LIMIT 1) u
         ORDER BY n.tokens DESC, n.debit_wallet
        """,
        *(creator_id, Kind.TIP, *span, MAX_RANKED, None if room is None else room.room_id, MAX_GIVERS),
        *(public_only, since),
    )
    return [Giver(*row) for row in rows]


_IN_ROOMS = (
    "($6::uuid IS NULL OR room_id = $6)"
    " AND (NOT $8 OR room_id IN (SELECT id FROM streams WHERE creator_id = $1 AND type = 'public'))"
)
