"""Payouts of creators' tokens in money: the row of a payout holds the money, and the journal its tokens.

A payout is inserted, then the storage actor books its posting, and later an operator settles it as paid or rejected.
"""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from domain.ids import PostingKey, UserId
from domain.refusals import FROZEN, KEY_IN_USE, Code, Refusal, insufficient_tokens
from storage.idempotency import is_used
from storage.market.reversals import is_frozen
from storage.paging import Listing, Page, Paged, all_of
from storage.postgres import Connection, PgUUID, Postgres, Row


class Payout(msgspec.Struct, frozen=True, kw_only=True):
    """One payout. `balance_after` is the creator's balance after its posting; None while it is not booked."""

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
    given_back: bool = False  # a rejected payout's tokens are back in the wallet
    cut_tokens: int = 0  # taken out of it by refunds to the creator's payers
    balance_after: int | None = None

    @property
    def status(self) -> str:
        """The status in REST: "requested", "paid", "rejected" or "cancelled"."""
        return self.settled_as or "requested"

    @property
    def open_cents(self) -> int:
        """The amount to pay, in cents, without the part that refunds took out."""
        return self.cents * (self.tokens - self.cut_tokens) // self.tokens


class NewPayout(msgspec.Struct, frozen=True, kw_only=True):
    """A payout that a creator requests; `holding_days` is how long earned tokens are not cashable yet."""

    id: UUID
    creator_id: UserId
    posting_key: PostingKey
    tokens: int
    min_tokens: int
    holding_days: int
    cents: int
    currency: str


_BOOKED = "(SELECT debit_after FROM journal WHERE key = p.posting_key)"  # a lookup by primary key
_PAYOUTS = Listing(
    columns="p.id, p.creator_id, p.posting_key, p.tokens, p.cents, p.currency, p.created_at, p.settled_as,"
    f" p.settled_at, p.note, p.given_back, p.cut_tokens, {_BOOKED} AS balance_after",
    source="payouts p",
    table="payouts p",
    at="p.created_at",
    id="p.id",
)
_SELECT = f"SELECT {_PAYOUTS.columns} FROM payouts p"


class Cashable(NamedTuple):
    """A creator's tokens: cashable now, earned but still held, and due for refunds of blocks."""

    tokens: int
    held: int
    due: int


async def cashable_tokens(postgres: Postgres, creator_id: UserId, holding_days: int) -> Cashable:
    """Return how many tokens the creator may cash out; tokens earned in the last `holding_days` days are held.

    Raises StorageUnavailable.
    """
    # Compute the three sums in the database.
    row = await postgres.fetchrow(
        "SELECT cashable, held, due FROM cashable_tokens($1, make_interval(days => $2))", creator_id, holding_days
    )
    assert row is not None, "a function returns a row"
    return Cashable(row["cashable"] or 0, row["held"] or 0, row["due"])


async def reserve_payout(postgres: Postgres, new: NewPayout) -> Payout | Refusal:
    """Insert the payout, which the caller then books, or return the payout of an earlier request with the same key.

    Refuses NOT_A_CREATOR, an amount below the minimum, a frozen wallet, too few cashable tokens, and a key with another
    use. Locks the creator's row in `creators`. Raises StorageUnavailable.
    """

    async def in_transaction(connection: Connection) -> Payout | Refusal:
        # Lock the creator, so that concurrent requests do not both count the same tokens.
        await connection.execute("SELECT 1 FROM creators WHERE user_id = $1 FOR NO KEY UPDATE", new.creator_id)
        if (known := await _by_key(connection, new)) is not None:
            return known
        refusal = await _why_not(connection, new)
        return await _insert(connection, new) if refusal is None else refusal

    return await postgres.transaction(in_transaction)


async def unbooked_payouts(postgres: Postgres, creator_id: UserId) -> list[Payout]:
    """Return a creator's payouts that a server inserted and did not book. Raises StorageUnavailable."""
    # Read the payouts without a posting that are neither abandoned nor settled.
    rows = await postgres.fetch(
        f"{_SELECT} WHERE p.creator_id = $1 AND p.given_up_at IS NULL AND p.settled_as IS NULL AND {_BOOKED} IS NULL",
        creator_id,
    )
    return [_payout(row) for row in rows]


async def abandon_payout(postgres: Postgres, payout_id: UUID) -> None:
    """Mark a payout as abandoned, since its posting was refused; its key is free again. Raises StorageUnavailable."""
    # Record the time at which it was abandoned.
    await postgres.execute("UPDATE payouts SET given_up_at = now() WHERE id = $1", payout_id)


async def find_payout(postgres: Postgres, payout_id: UUID) -> Payout | None:
    """Return a payout that is booked, or None. Raises StorageUnavailable."""
    # Read the payout, if it has a posting.
    row = await postgres.fetchrow(f"{_SELECT} WHERE p.id = $1 AND {_BOOKED} IS NOT NULL", payout_id)
    return None if row is None else _payout(row)


async def list_payouts(
    postgres: Postgres,
    page: Page,
    *,
    creator_id: UserId | None = None,
    status: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Paged[Payout]:
    """Return a page of the payouts that are booked, newest first, requested from `since` on and before `until`.

    Raises BadCursor, StorageUnavailable.
    """
    args = list[Any]()
    condition = all_of(
        args,
        ("p.creator_id =", creator_id),
        ("p.settled_as =", None if status == "requested" else status),
        ("p.created_at >=", since),
        ("p.created_at <", until),
    )
    if status == "requested":
        condition += " AND p.settled_as IS NULL"
    return await _PAYOUTS.page(postgres, page, [f"{_BOOKED} IS NOT NULL AND {condition}"], args, _payout)


async def settle_payout(
    postgres: Postgres, payout_id: UUID, status: str, operator_id: UserId, note: str, cents: int | None = None
) -> Payout | None:
    """Settle a payout as "paid" or "rejected", log the operator's action, and return the payout as it is now.

    Changes nothing if it is settled already or the operator is its creator; nor, for "paid", if the creator's wallet is
    frozen or `cents` is no longer the amount because of a refund. None if there is no such payout. One statement, which
    locks the payout's row. Raises StorageUnavailable.
    """
    # Settle the payout if all conditions hold, and insert the action.
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
    """Return at most 100 rejected payouts whose tokens are not marked as returned. Raises StorageUnavailable."""
    # Read them, the oldest settlement first.
    rows = await postgres.fetch(
        f"{_SELECT} WHERE p.settled_as = 'rejected' AND NOT p.given_back ORDER BY p.settled_at LIMIT 100"
    )
    return [_payout(row) for row in rows]


async def mark_given_back(postgres: Postgres, payout_id: UUID) -> None:
    """Record that a rejected payout's tokens are back in the wallet. Idempotent. Raises StorageUnavailable."""
    # Set the mark.
    await postgres.execute("UPDATE payouts SET given_back = true WHERE id = $1", payout_id)


async def _by_key(connection: Connection, new: NewPayout) -> Payout | Refusal | None:
    """Return the payout with this key, or KEY_IN_USE if the key has another use; an abandoned payout frees its key."""
    # Find the payout with this key that is booked or not abandoned.
    row = await connection.fetchrow(
        f"{_SELECT} WHERE p.posting_key = $1 AND (p.given_up_at IS NULL OR {_BOOKED} IS NOT NULL)",
        PgUUID(new.posting_key),
    )
    if row is not None:
        return _payout(row) if row["tokens"] == new.tokens else KEY_IN_USE
    return KEY_IN_USE if await is_used(connection, new.posting_key) else None


async def _why_not(connection: Connection, new: NewPayout) -> Refusal | None:
    # Check that the user is a creator.
    if await connection.fetchrow("SELECT 1 FROM creators WHERE user_id = $1", new.creator_id) is None:
        return Refusal(Code.NOT_A_CREATOR, "Only creators cash out")
    if new.tokens < new.min_tokens:
        why = f"must be at least {new.min_tokens}"
        return Refusal(Code.VALIDATION_FAILED, f"tokens {why}", {"errors": [{"field": "tokens", "reason": why}]})
    if await is_frozen(connection, new.creator_id):
        return FROZEN
    # Compute the cashable tokens.
    cashable = await connection.fetchval(
        "SELECT cashable FROM cashable_tokens($1, make_interval(days => $2))", new.creator_id, new.holding_days
    )
    if cashable < new.tokens:
        return insufficient_tokens(new.tokens, cashable, "that were earned, to cash them out")
    return None


async def _insert(connection: Connection, new: NewPayout) -> Payout:
    """Insert the payout, in place of an abandoned one with the same key."""
    # Insert the row, or renew the abandoned one.
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
    fields = {name: row[name] for name in Payout.__struct_fields__}
    return Payout(**fields | {"posting_key": PostingKey(fields["posting_key"].bytes)})
