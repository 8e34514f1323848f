"""Payouts: tokens that creators turn into money. The tokens are in the journal; here is what became of the money."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from domain.ids import PostingKey, UserId
from domain.refusals import FROZEN, Code, Refusal, insufficient_tokens
from storage.market.reversals import is_frozen
from storage.paging import Listing, Page, Paged
from storage.postgres import Connection, PgUUID, Postgres, Row


class Payout(msgspec.Struct, frozen=True, kw_only=True):
    """One payout. `balance_after` is the creator's when it was booked; without it nothing has moved yet."""

    id: UUID
    creator_id: UserId
    posting_key: PostingKey
    tokens: int
    cents: int
    currency: str
    created_at: datetime
    settled_as: str | None = None
    settled_at: datetime | None = None
    note: str = ""
    given_back: bool = False
    cut_tokens: int = 0  # a refund took them back out of it
    balance_after: int | None = None

    @property
    def status(self) -> str:
        return self.settled_as or "requested"

    @property
    def open_cents(self) -> int:
        """What it brings, less what a refund took out of it."""
        return self.cents * (self.tokens - self.cut_tokens) // self.tokens


class NewPayout(msgspec.Struct, frozen=True, kw_only=True):
    """What a creator asks for."""

    id: UUID
    creator_id: UserId
    posting_key: PostingKey
    tokens: int
    min_tokens: int
    holding_days: int
    cents: int
    currency: str


_BOOKED = "(SELECT debit_after FROM journal WHERE key = p.posting_key)"  # one look by its key, never a scan
_PAYOUTS = Listing(
    columns="p.id, p.creator_id, p.posting_key, p.tokens, p.cents, p.currency, p.created_at, p.settled_as,"
    f" p.settled_at, p.note, p.given_back, p.cut_tokens, {_BOOKED} AS balance_after",
    source="payouts p",
    table="payouts p",
    at="p.created_at",
    id="p.id",
)
_SELECT = f"SELECT {_PAYOUTS.columns} FROM payouts p"
CONFLICT = Refusal(Code.IDEMPOTENCY_CONFLICT, "This key was used for something else")


class Cashable(NamedTuple):
    """What a creator may cash out now, what is earned and held for a while, and what is to be given back of blocks."""

    tokens: int
    held: int
    due: int


async def cashable_tokens(postgres: Postgres, creator_id: UserId, holding_days: int) -> Cashable:
    """See the function in the database. Raises StorageUnavailable."""
    row = await postgres.fetchrow(
        "SELECT cashable, held, due FROM cashable_tokens($1, make_interval(days => $2))", creator_id, holding_days
    )
    assert row is not None, "a function returns a row"
    return Cashable(row["cashable"] or 0, row["held"] or 0, row["due"])


async def reserve_payout(postgres: Postgres, new: NewPayout) -> Payout | Refusal:
    """Write down what is to be booked, or find what the same key did before. Raises StorageUnavailable.

    One at a time for a creator: two that are asked for at once are not both measured by the same tokens.
    """

    async def in_transaction(connection: Connection) -> Payout | Refusal:
        await connection.execute("SELECT 1 FROM creators WHERE user_id = $1 FOR NO KEY UPDATE", new.creator_id)
        if (known := await _by_key(connection, new)) is not None:
            return known
        refusal = await _why_not(connection, new)
        return await _insert(connection, new) if refusal is None else refusal

    return await postgres.transaction(in_transaction)


async def unbooked_payouts(postgres: Postgres, creator_id: UserId) -> list[Payout]:
    """What a creator's server wrote down and had no time to book. Raises StorageUnavailable."""
    rows = await postgres.fetch(
        f"{_SELECT} WHERE p.creator_id = $1 AND p.given_up_at IS NULL AND p.settled_as IS NULL AND {_BOOKED} IS NULL",
        creator_id,
    )
    return [_payout(row) for row in rows]


async def abandon_payout(postgres: Postgres, payout_id: UUID) -> None:
    """The tokens were gone: reserve them no longer. Raises StorageUnavailable."""
    await postgres.execute("UPDATE payouts SET given_up_at = now() WHERE id = $1", payout_id)


async def find_payout(postgres: Postgres, payout_id: UUID) -> Payout | None:
    """One that is booked. Raises StorageUnavailable."""
    row = await postgres.fetchrow(f"{_SELECT} WHERE p.id = $1 AND {_BOOKED} IS NOT NULL", payout_id)
    return None if row is None else _payout(row)


async def list_payouts(
    postgres: Postgres, page: Page, *, creator_id: UserId | None = None, status: str | None = None
) -> Paged[Payout]:
    """Those that are booked, newest first. Raises BadCursor."""
    conditions, args = [f"{_BOOKED} IS NOT NULL"], list[Any]()
    if creator_id is not None:
        args.append(creator_id)
        conditions.append(f"p.creator_id = ${len(args)}")
    if status == "requested":
        conditions.append("p.settled_as IS NULL")
    elif status is not None:
        args.append(status)
        conditions.append(f"p.settled_as = ${len(args)}")
    return await _PAYOUTS.page(postgres, page, [" AND ".join(conditions)], args, _payout)


async def settle_payout(
    postgres: Postgres, payout_id: UUID, status: str, operator_id: UserId, note: str, cents: int | None = None
) -> Payout | None:
    """Settle it, unless that is done already: it is then as it was settled. None for one that there is not.

    It stays as it is, and cannot be paid, while its creator's wallet is frozen, and where a refund has left another
    amount of it than `cents`. Nobody settles their own. Raises StorageUnavailable.
    """
    await postgres.execute(
        "WITH settled AS (UPDATE payouts p SET settled_as = $2, settled_at = now(), settled_by = $3, note = $4"
        f" WHERE p.id = $1 AND p.settled_as IS NULL AND {_BOOKED} IS NOT NULL"
        " AND p.creator_id <> $3 AND ($2 <> 'paid' OR $5::bigint IS NULL"
        "  OR div(p.cents::numeric * (p.tokens - p.cut_tokens), p.tokens) = $5)"
        " AND NOT ($2 = 'paid' AND EXISTS (SELECT FROM wallet_freezes f WHERE f.user_id = p.creator_id)) RETURNING p.*)"
        " INSERT INTO operator_actions (id, operator_id, action, target_id, ref_id, tokens, reason)"
        " SELECT derived_key('settled payout', ARRAY[id]), $3,"
        " CASE $2 WHEN 'paid' THEN 'pay_payout' ELSE 'reject_payout' END, creator_id, id,"
        " tokens - cut_tokens, $4 FROM settled",
        *(payout_id, status, operator_id, note, cents),
    )
    return await find_payout(postgres, payout_id)


async def payouts_owed_back(postgres: Postgres) -> list[Payout]:
    """Rejected ones whose tokens are not known to be back. Raises StorageUnavailable."""
    rows = await postgres.fetch(
        f"{_SELECT} WHERE p.settled_as = 'rejected' AND NOT p.given_back ORDER BY p.settled_at LIMIT 100"
    )
    return [_payout(row) for row in rows]


async def mark_given_back(postgres: Postgres, payout_id: UUID) -> None:
    """Raises StorageUnavailable."""
    await postgres.execute("UPDATE payouts SET given_back = true WHERE id = $1", payout_id)


async def _by_key(connection: Connection, new: NewPayout) -> Payout | Refusal | None:
    """A payout with this key and these tokens, booked or to be booked; what was given up has left its key free."""
    row = await connection.fetchrow(
        f"{_SELECT} WHERE p.posting_key = $1 AND (p.given_up_at IS NULL OR {_BOOKED} IS NOT NULL)",
        PgUUID(new.posting_key),
    )
    if row is not None:
        return _payout(row) if row["tokens"] == new.tokens else CONFLICT
    used = await connection.fetchrow(
        "SELECT 1 FROM journal WHERE key = $1 UNION ALL SELECT 1 FROM idempotency_keys WHERE key = $1",
        PgUUID(new.posting_key),
    )
    return None if used is None else CONFLICT


async def _why_not(connection: Connection, new: NewPayout) -> Refusal | None:
    if await connection.fetchrow("SELECT 1 FROM creators WHERE user_id = $1", new.creator_id) is None:
        return Refusal(Code.NOT_A_CREATOR, "Only creators cash out")
    if new.tokens < new.min_tokens:
        why = f"must be at least {new.min_tokens}"
        return Refusal(Code.VALIDATION_FAILED, f"tokens {why}", {"errors": [{"field": "tokens", "reason": why}]})
    if await is_frozen(connection, new.creator_id):
        return FROZEN
    cashable = await connection.fetchval(
        "SELECT cashable FROM cashable_tokens($1, make_interval(days => $2))", new.creator_id, new.holding_days
    )
    if cashable < new.tokens:
        return insufficient_tokens(new.tokens, cashable, "that were earned, to cash them out")
    return None


async def _insert(connection: Connection, new: NewPayout) -> Payout:
    """What was given up before under the same key makes room."""
    row = await connection.fetchrow(
        "INSERT INTO payouts AS p (id, creator_id, posting_key, tokens, cents, currency)"
        " VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT (posting_key) DO UPDATE SET given_up_at = NULL, tokens = $4, cents = $5, currency = $6"
        f" RETURNING {_PAYOUTS.columns}",
        *(new.id, new.creator_id, PgUUID(new.posting_key), new.tokens, new.cents, new.currency),
    )
    assert row is not None, "an INSERT returns what it inserts"
    return _payout(row)


def _payout(row: Row) -> Payout:
    fields = dict(row)
    return Payout(**fields | {"posting_key": PostingKey(fields["posting_key"].bytes)})
