"""Blocks as their payers and payees look back on them."""

from datetime import datetime
from uuid import UUID

import msgspec

from domain.ids import RoomId, UserId, block_key
from domain.instant import from_datetime, rfc3339
from storage.postgres import PgUUID, Postgres
from storage.statements import Span, find_span

MAX_DAYS_SHOWN = 366  # the latest; the sums are over all
MAX_BLOCKS_SHOWN = 1000  # of one call: eight hours and twenty minutes at 30 s


class Block(msgspec.Struct, frozen=True, rename="camel"):
    block_no: int
    tokens: int
    charged_at: str


class DayTotals(msgspec.Struct, frozen=True, rename="camel"):
    day: str
    blocks: int
    tokens: int


class CounterpartyTotals(msgspec.Struct, frozen=True, rename="camel"):
    user_id: UUID
    display_name: str
    blocks: int
    tokens: int


class BillingStats(msgspec.Struct, frozen=True, rename="camel"):
    """Blocks of one role, summed by day and by counterparty."""

    role: str
    blocks: int
    tokens: int
    by_day: list[DayTotals]
    by_counterparty: list[CounterpartyTotals]


async def blocks_of(postgres: Postgres, room_id: RoomId, payer: UserId, last_block: int) -> list[Block]:
    """The last MAX_BLOCKS_SHOWN blocks of one payer in one room, in order.

    A block's key can be derived, so each is found by the journal's primary key; no index on rooms is needed.
    """
    first = max(1, last_block - MAX_BLOCKS_SHOWN + 1)
    keys = [PgUUID(block_key(room_id, payer, block_no)) for block_no in range(first, last_block + 1)]
    rows = await postgres.fetch(
        "SELECT block_no, tokens, created_at FROM journal WHERE key = ANY($1::uuid[]) ORDER BY block_no", keys
    )
    return [Block(row["block_no"], row["tokens"], rfc3339(from_datetime(row["created_at"]))) for row in rows]


async def billing_stats(
    postgres: Postgres, user_id: UserId, since: datetime | None, until: datetime | None, zone: str
) -> list[BillingStats]:
    """What a user paid as a fan and earned as a creator, by blocks, and by the days of an IANA zone.

    PostgreSQL must know the zone, or raises Refused. Raises StorageUnavailable.
    """
    span = await find_span(postgres, user_id, since, until)
    return [
        await _stats_as(postgres, role, side, user_id, span, zone)
        for role, side in (("fan", "debit"), ("creator", "credit"))
    ]


async def _stats_as(postgres: Postgres, role: str, side: str, user_id: UserId, span: Span, zone: str) -> BillingStats:
    args = (user_id, side, *span)
    days = await postgres.fetch(
        "SELECT day, blocks, tokens,"
        " sum(blocks) OVER ()::bigint AS all_blocks, sum(tokens) OVER ()::bigint AS all_tokens"
        f" FROM sum_blocks_by_day($1, $2, $3, $4, $5) ORDER BY day DESC LIMIT {MAX_DAYS_SHOWN}",
        *(*args, zone),
    )
    people = await postgres.fetch(
        "SELECT t.user_id, u.display_name, t.blocks, t.tokens FROM ("
        "SELECT counterparty AS user_id, sum(blocks)::bigint AS blocks, sum(tokens)::bigint AS tokens"
        " FROM sum_blocks($1, $2, $3, $4) GROUP BY counterparty ORDER BY 3 DESC LIMIT 100) t,"
        " LATERAL (SELECT display_name FROM users WHERE supabase_id = t.user_id LIMIT 1) u ORDER BY t.tokens DESC",
        *args,
    )
    return BillingStats(
        role,
        days[0]["all_blocks"] if days else 0,
        days[0]["all_tokens"] if days else 0,
        [DayTotals(row["day"].isoformat(), row["blocks"], row["tokens"]) for row in days],
        [CounterpartyTotals(*row) for row in people],
    )
