"""Purchases of tokens: the terms at the start of a checkout, and its state since. The journal holds the tokens."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from domain.ids import PostingKey, UserId
from domain.refusals import Refusal, quota_reached
from storage.idempotency import FirstUse, claiming_transaction, find_first_use, key_insert, key_parameters
from storage.paging import Listing, Page, Paged, all_of
from storage.postgres import Connection, Postgres, Row
from storage.quotas import lock_user

EXPIRES_AFTER = "25 hours"  # a checkout lasts for a day, and the provider reports its end soon after

CREDITED_AT_ONCE = 100  # purchases that one round of maintenance credits; only a crash leaves any


class Purchase(msgspec.Struct, frozen=True, kw_only=True):
    """One purchase, with the tokens and the price of its pack at the time of the purchase."""

    id: UUID
    user_id: UserId
    pack_id: str
    tokens: int
    price_cents: int
    currency: str
    provider: str
    status: str  # pending, paid, failed, expired; review: the payment needs an operator's decision
    checkout_id: str | None = None
    checkout_url: str | None = None
    created_at: datetime
    paid_at: datetime | None = None
    accepted: bool = False  # it is decided to credit it; its posting is booked, or will be
    paid_twice: bool = False  # a second checkout of it was also paid
    reversed_as: Literal["refund", "chargeback"] | None = None  # the provider has returned the money to the buyer


class NewPurchase(msgspec.Struct, frozen=True, kw_only=True):
    """A requested purchase. `key` is derived from the client's idempotency key: a repeat returns the first purchase.

    `content` is a digest of the request, 16 bytes.
    """

    id: UUID
    user_id: UserId
    pack_id: str
    tokens: int
    price_cents: int
    currency: str
    provider: str
    key: PostingKey | None
    content: bytes


class PurchaseFilter(msgspec.Struct, frozen=True):
    """Selects purchases by buyer, status and time of creation; `since` is inclusive, `until` exclusive, None is any.

    The status is that of a purchase, or "paid_twice".
    """

    user_id: UserId | None = None
    status: str | None = None
    since: datetime | None = None
    until: datetime | None = None


_PURCHASES = Listing(
    columns="p.id, p.user_id, p.pack_id, p.tokens, p.price_cents, p.currency, p.provider, p.status, p.checkout_id,"
    " p.checkout_url, p.created_at, p.paid_at, p.accepted, p.paid_twice,"
    " p.reversed_as",
    source="purchases p",
    table="purchases p",
    at="p.created_at",
    id="p.id",
)
_SELECT = f"SELECT {_PURCHASES.columns} FROM purchases p"


async def find_purchase(postgres: Postgres, purchase_id: UUID) -> Purchase | None:
    """Return the purchase, or None. Raises StorageUnavailable."""
    # Read the purchase.
    row = await postgres.fetchrow(f"{_SELECT} WHERE p.id = $1", purchase_id)
    return None if row is None else purchase_of(row)


async def find_purchase_by_key(postgres: Postgres, key: PostingKey | None, content: bytes) -> Purchase | Refusal | None:
    """Return the purchase that was made with this key, KEY_IN_USE after another use, or None for a new key or none.

    Raises StorageUnavailable.
    """
    if key is None:
        return None
    return await postgres.transaction(lambda connection: _by_key(connection, key, content), atomic=False)


async def make_purchase(postgres: Postgres, new: NewPurchase, *, most_pending: int) -> Purchase | Refusal:
    """Insert a purchase, or return the purchase of an earlier request with the same key.

    Refuses a quota of `most_pending` unpaid purchases, and a key that was used for something else. Takes the write lock
    if there is a key, and then locks the user's row in `users`. Raises StorageUnavailable.
    """

    async def in_transaction(connection: Connection) -> Purchase | Refusal:
        if new.key is not None:
            # Take the write lock, under which no other request and no posting can use the key. Every transaction takes
            # it before the locks of users.
            await connection.execute("SELECT 1 FROM fence WHERE one FOR NO KEY UPDATE")
            if (known := await _by_key(connection, new.key, new.content)) is not None:
                return known
        await lock_user(connection, new.user_id)
        # Count the user's unpaid purchases.
        pending = "SELECT count(*) FROM purchases WHERE user_id = $1 AND status = 'pending'"
        if await connection.fetchval(pending, new.user_id) >= most_pending:
            return quota_reached(f"{most_pending} purchases wait to be paid; pay one, or let them expire")
        return await _insert(connection, new)

    return await claiming_transaction(postgres, in_transaction)


async def list_purchases(postgres: Postgres, page: Page, wanted: PurchaseFilter) -> Paged[Purchase]:
    """Return a page of purchases, of one user or of all, newest first. Raises BadCursor, StorageUnavailable."""
    args = list[Any]()
    condition = all_of(
        args,
        ("p.user_id =", wanted.user_id),
        ("p.status =", None if wanted.status == "paid_twice" else wanted.status),
        ("p.created_at >=", wanted.since),
        ("p.created_at <", wanted.until),
    )
    if wanted.status == "paid_twice":
        condition += " AND p.paid_twice"
    return await _PURCHASES.page(postgres, page, [condition], args, purchase_of)


async def note_checkout(postgres: Postgres, purchase_id: UUID, checkout_id: str, url: str) -> Purchase:
    """Store the checkout's id and URL, unless one is stored already. Raises StorageUnavailable."""
    # Set both columns if they are empty.
    row = await postgres.fetchrow(
        "UPDATE purchases p SET checkout_id = coalesce(checkout_id, $2), checkout_url = coalesce(checkout_url, $3)"
        f" WHERE id = $1 RETURNING {_PURCHASES.columns}",
        *(purchase_id, checkout_id, url),
    )
    assert row is not None, "purchases stay"
    return purchase_of(row)


async def mark_paid(postgres: Postgres, purchase_id: UUID) -> bool:
    """Record that the purchase's tokens are booked, and return whether it was not recorded before.

    If a payment was accepted, its checkout becomes the purchase's. Idempotent. Raises StorageUnavailable.
    """
    # Set status, time and checkout of the purchase.
    row = await postgres.fetchrow(
        "UPDATE purchases p SET status = 'paid', paid_at = now(), checkout_id = coalesce((SELECT y.checkout_id"
        " FROM payments y WHERE y.purchase_id = p.id AND y.status = 'accepted'), p.checkout_id)"
        " WHERE id = $1 AND status <> 'paid' RETURNING true",
        purchase_id,
    )
    return row is not None


async def close_purchase(postgres: Postgres, purchase_id: UUID, status: str) -> None:
    """Set an unpaid purchase to `status`, "failed" or "expired"; any other stays unchanged. Idempotent.

    Raises StorageUnavailable.
    """
    # Change the status of the purchase, if it is pending and not accepted.
    await postgres.execute(
        "UPDATE purchases SET status = $2 WHERE id = $1 AND status = 'pending' AND NOT accepted",
        *(purchase_id, status),
    )


async def lock_purchase(connection: Connection, purchase_id: UUID) -> Purchase | None:
    """Lock the purchase's row until the transaction ends, and return the purchase, or None.

    A transaction locks the purchase before its payments. Raises StorageUnavailable.
    """
    # Lock and read the purchase.
    row = await connection.fetchrow(f"{_SELECT} WHERE p.id = $1 FOR NO KEY UPDATE", purchase_id)
    return None if row is None else purchase_of(row)


async def purchases_to_credit(postgres: Postgres) -> list[Purchase]:
    """Return accepted purchases whose credit may not be booked, since a server stopped in between.

    At most CREDITED_AT_ONCE, the oldest first. Raises StorageUnavailable.
    """
    # Read the accepted purchases that are not paid.
    rows = await postgres.fetch(
        f"{_SELECT} WHERE p.accepted AND p.status <> 'paid' ORDER BY p.created_at LIMIT {CREDITED_AT_ONCE}"
    )
    return [purchase_of(row) for row in rows]


async def expire_purchases(postgres: Postgres) -> None:
    """Set unpaid purchases older than EXPIRES_AFTER to expired; a later payment is credited all the same.

    Raises StorageUnavailable.
    """
    # Change the status of the old pending purchases.
    await postgres.execute(
        "UPDATE purchases SET status = 'expired'"
        f" WHERE status = 'pending' AND NOT accepted AND created_at < now() - interval '{EXPIRES_AFTER}'"
    )


async def _by_key(connection: Connection, key: PostingKey, content: bytes) -> Purchase | Refusal | None:
    known = await find_first_use(connection, key, content)
    if not isinstance(known, FirstUse):
        return known
    # Read the purchase of the key.
    found = await connection.fetchrow(f"{_SELECT} WHERE p.id = $1", known.ref_id)
    assert found is not None, "a key and its purchase are written together"
    return purchase_of(found)


async def _insert(connection: Connection, new: NewPurchase) -> Purchase:
    # Insert the use of the key and the purchase.
    row = await connection.fetchrow(
        f"""
        WITH used AS ({key_insert("$8", "$9", ref_id="$1")})
        INSERT INTO purchases AS p (id, user_id, pack_id, tokens, price_cents, currency, provider)
        VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING {_PURCHASES.columns}
        """,
        *(new.id, new.user_id, new.pack_id, new.tokens, new.price_cents, new.currency, new.provider),
        *key_parameters(new.key, new.content),
    )
    assert row is not None, "an INSERT returns what it inserts"
    return purchase_of(row)


def purchase_of(row: Row) -> Purchase:
    """Convert a row with all columns of a purchase."""
    return Purchase(**{name: row[name] for name in Purchase.__struct_fields__})
