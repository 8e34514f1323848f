"""Blocks as their payers and payees look back on them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from domain.ids import PostingKey, RoomId, UserId, block_key, refund_key, refund_rest_key
from domain.instant import from_datetime, rfc3339
from storage.ledger.statements import find_span
from storage.postgres import PgUUID, Postgres

MAX_DAYS_SHOWN = 366  # the latest; the sums are over all
MAX_BLOCKS_SHOWN = 1000  # of one call: eight hours and twenty minutes at 30 s


class Block(msgspec.Struct, frozen=True, rename="camel"):
    """A block as it was charged, and what was given back of it: all of its tokens, or none."""

    block_no: int
    tokens: int
    charged_at: str
    refunded_tokens: int
    refunded_at: str | None


class DayTotals(msgspec.Struct, frozen=True, rename="camel"):
    """The blocks that were charged on a day, and those that were given back on it, whenever they had been charged.

    `tokens` is less `refundedTokens`, and negative where more was given back than charged.
    """

    day: str
    blocks: int
    tokens: int
    refunded_blocks: int
    refunded_tokens: int


class CounterpartyTotals(msgspec.Struct, frozen=True, rename="camel"):
    """Blocks with one user; `tokens` is less `refundedTokens`, what was given back in the period."""

    user_id: UUID
    display_name: str
    blocks: int
    tokens: int
    refunded_blocks: int
    refunded_tokens: int


class BillingStats(msgspec.Struct, frozen=True, rename="camel"):
    """Blocks of one role, summed by day and by counterparty. `tokens` is less `refundedTokens`; a refund counts on its
    own day. What was given back to a fan is a creator's refund also where the system wallet `losses` advanced it."""

    role: str
    blocks: int
    tokens: int
    refunded_blocks: int
    refunded_tokens: int
    by_day: list[DayTotals]
    by_counterparty: list[CounterpartyTotals]


async def blocks_of(postgres: Postgres, room_id: RoomId, payer: UserId, last_block: int) -> list[Block]:
    """The last MAX_BLOCKS_SHOWN blocks of one payer in one room, in order.

    A block's key can be derived, so each is found by the journal's primary key; no index on rooms is needed.
    """
    first = max(1, last_block - MAX_BLOCKS_SHOWN + 1)
    keys = [block_key(room_id, payer, block_no) for block_no in range(first, last_block + 1)]
    rows = await postgres.fetch(
        "SELECT key, block_no, tokens, created_at FROM journal WHERE key = ANY($1::uuid[]) ORDER BY block_no",
        [PgUUID(key) for key in keys],
    )
    refunds = await refunds_of(postgres, keys)
    return [
        Block(row["block_no"], row["tokens"], rfc3339(from_datetime(row["created_at"])), *refunds[row["key"].bytes])
        for row in rows
    ]


class RefundedTokens(NamedTuple):
    """What was given back of a posting, and when."""

    tokens: int = 0
    at: str | None = None


async def refunds_of(postgres: Postgres, paid: Sequence[PostingKey]) -> Mapping[bytes, RefundedTokens]:
    """What was given back of these postings; of others nothing.

    A refund's keys follow from what it gives back, so each is found by the journal's primary key.
    """
    keys = [PgUUID(derive(key)) for key in paid for derive in (refund_key, refund_rest_key)]
    rows = await postgres.fetch(
        "SELECT content, sum(tokens)::bigint AS tokens, max(created_at) AS at FROM journal"
        " WHERE key = ANY($1::uuid[]) GROUP BY content",
        keys,
    )
    found = {row["content"].bytes: RefundedTokens(row["tokens"], rfc3339(from_datetime(row["at"]))) for row in rows}
    return defaultdict(RefundedTokens, found)


async def billing_stats(
    postgres: Postgres, user_id: UserId, since: datetime | None, until: datetime | None, zone: str
) -> list[BillingStats]:
    """What a user paid as a fan and earned as a creator, by blocks, and by the days of an IANA zone.

    PostgreSQL must know the zone, or raises Refused. Raises StorageUnavailable.
    """
    span = await find_span(postgres, user_id, since, until)
    return [
        await _stats_as(postgres, role, side, user_id, (*span, since, until), zone)
        for role, side in (("fan", "debit"), ("creator", "credit"))
    ]


async def _stats_as(
    postgres: Postgres, role: str, side: str, user_id: UserId, period: tuple[object, ...], zone: str
) -> BillingStats:
    args = (user_id, side, *period)
    days = await postgres.fetch(
        f"SELECT d.*, {_ALL} FROM ("
        f"SELECT coalesce(b.day, r.day) AS day, {_NET}"
        " FROM sum_blocks_by_day($1, $2, $3, $4, $7) b FULL JOIN ("
        f" SELECT (at AT TIME ZONE $7)::date AS day, {_GIVEN_BACK} GROUP BY 1) r ON r.day = b.day) d"
        f" ORDER BY day DESC LIMIT {MAX_DAYS_SHOWN}",
        *(*args, zone),
    )
    people = await postgres.fetch(
        "SELECT t.user_id, u.display_name, t.blocks, t.tokens, t.refunded_blocks, t.refunded_tokens FROM ("
        f"SELECT coalesce(b.user_id, r.user_id) AS user_id, {_NET} FROM ("
        "SELECT counterparty AS user_id, sum(blocks)::bigint AS blocks, sum(tokens)::bigint AS tokens"
        " FROM sum_blocks($1, $2, $3, $4) GROUP BY counterparty) b FULL JOIN ("
        f"SELECT counterparty AS user_id, {_GIVEN_BACK} GROUP BY 1) r ON r.user_id = b.user_id"
        " ORDER BY tokens DESC LIMIT 100) t,"
        " LATERAL (SELECT display_name FROM users WHERE supabase_id = t.user_id LIMIT 1) u ORDER BY t.tokens DESC",
        *args,
    )
    blocks, tokens, refunded_blocks, refunded_tokens = (days[0][f"all_{name}"] if days else 0 for name in _FIGURES)
    return BillingStats(
        role=role,
        blocks=blocks,
        tokens=tokens,
        refunded_blocks=refunded_blocks,
        refunded_tokens=refunded_tokens,
        by_day=[DayTotals(row["day"].isoformat(), *(row[name] for name in _FIGURES)) for row in days],
        by_counterparty=[CounterpartyTotals(*row) for row in people],
    )


_FIGURES = ("blocks", "tokens", "refunded_blocks", "refunded_tokens")
_ALL = ", ".join(f"sum({name}) OVER ()::bigint AS all_{name}" for name in _FIGURES)
_NET = (
    "coalesce(b.blocks, 0) AS blocks, coalesce(b.tokens, 0) - coalesce(r.tokens, 0) AS tokens,"
    " coalesce(r.blocks, 0) AS refunded_blocks, coalesce(r.tokens, 0) AS refunded_tokens"
)
_GIVEN_BACK = (  # a refund may be two postings, of the payee and of `losses`
    "count(DISTINCT paid) AS blocks, sum(tokens)::bigint AS tokens FROM given_back($1, $2, $3, $4, $5, $6)"
    " WHERE kind = 1"
)
