"""Billing statistics: sums over the blocks that one user paid or was paid, by day and by counterparty.

`charged_blocks.py` reads the single blocks of one room, and `block_entries.py` the wallet entries of those blocks.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from domain.ids import UserId
from storage.ledger.statements import find_range
from storage.postgres import Postgres

MAX_DAYS_SHOWN = 366  # the latest days; the sums cover all days of the period
MAX_COUNTERPARTIES_SHOWN = 100  # those with the most tokens


class DayTotals(msgspec.Struct, frozen=True, rename="camel"):
    """The blocks that were charged on a day, and those that were refunded on it, whenever they had been charged.

    `tokens` is net of `refundedTokens`, and negative where more was refunded than charged.
    """

    day: str
    blocks: int
    tokens: int
    refunded_blocks: int
    refunded_tokens: int


class CounterpartyTotals(msgspec.Struct, frozen=True, rename="camel"):
    """The blocks with one other user; `tokens` is net of `refundedTokens`, the refunds of the period."""

    user_id: UUID
    display_name: str
    blocks: int
    tokens: int
    refunded_blocks: int
    refunded_tokens: int


class BillingStats(msgspec.Struct, frozen=True, rename="camel"):
    """The blocks of one role, summed by day and by counterparty.

    `tokens` is net of `refundedTokens`; a refund counts on its own day. A refund to a fan counts as the creator's also
    where the system wallet `losses` advanced it.
    """

    role: str
    blocks: int
    tokens: int
    refunded_blocks: int
    refunded_tokens: int
    by_day: list[DayTotals]
    by_counterparty: list[CounterpartyTotals]


async def billing_stats(
    postgres: Postgres, user_id: UserId, since: datetime | None, until: datetime | None, zone: str
) -> list[BillingStats]:
    """Return the sums over a user's blocks, first as fan and then as creator.

    `since` is inclusive and `until` exclusive; None is unbounded. Days are those of `zone`, an IANA name. Raises
    StatementRefused if PostgreSQL does not know the zone, and StorageUnavailable.
    """
    span = await find_range(postgres, user_id, since, until)
    return [
        await _stats_as(postgres, role, side, user_id, (*span, since, until), zone)
        for role, side in (("fan", "debit"), ("creator", "credit"))
    ]


async def _stats_as(
    postgres: Postgres, role: str, side: str, user_id: UserId, period: tuple[object, ...], zone: str
) -> BillingStats:
    args = (user_id, side, *period)
    # Sum blocks and refunds by day, newest day first, with the sums over all days in each row.
    days = await postgres.fetch(
        f"SELECT d.*, {_ALL} FROM ("
        f"SELECT coalesce(b.day, r.day) AS day, {_NET}"
        " FROM sum_blocks_by_day($1, $2, $3, $4, $7) b FULL JOIN ("
        f" SELECT (at AT TIME ZONE $7)::date AS day, {_REFUNDED} GROUP BY 1) r ON r.day = b.day) d"
        f" ORDER BY day DESC LIMIT {MAX_DAYS_SHOWN}",
        *(*args, zone),
    )
    # Sum blocks and refunds by counterparty, the largest sum first.
    counterparties = await postgres.fetch(
        "SELECT t.user_id, u.display_name, t.blocks, t.tokens, t.refunded_blocks, t.refunded_tokens FROM ("
        f"SELECT coalesce(b.user_id, r.user_id) AS user_id, {_NET} FROM ("
        "SELECT counterparty AS user_id, sum(blocks)::bigint AS blocks, sum(tokens)::bigint AS tokens"
        " FROM sum_blocks($1, $2, $3, $4) GROUP BY counterparty) b FULL JOIN ("
        f"SELECT counterparty AS user_id, {_REFUNDED} GROUP BY 1) r ON r.user_id = b.user_id"
        f" ORDER BY tokens DESC LIMIT {MAX_COUNTERPARTIES_SHOWN}) t,"
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
        by_counterparty=[CounterpartyTotals(*row) for row in counterparties],
    )


_FIGURES = ("blocks", "tokens", "refunded_blocks", "refunded_tokens")
_ALL = ", ".join(f"sum({name}) OVER ()::bigint AS all_{name}" for name in _FIGURES)
_NET = (
    "coalesce(b.blocks, 0) AS blocks, coalesce(b.tokens, 0) - coalesce(r.tokens, 0) AS tokens,"
    " coalesce(r.blocks, 0) AS refunded_blocks, coalesce(r.tokens, 0) AS refunded_tokens"
)
_REFUNDED = (  # a refund may be two postings, from the payee and from `losses`
    "count(DISTINCT paid) AS blocks, sum(tokens)::bigint AS tokens FROM given_back($1, $2, $3, $4, $5, $6)"
    " WHERE kind = 1"
)
