"""Payments that providers reported: one row a checkout, which is accepted for a purchase or waits for an operator.

The decision is made under a lock of the purchase's row, before any posting: of all payments of a purchase, at most one
is accepted, by an event or by an operator. The purchase is then credited with a posting of its own key.
"""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from domain.ids import PostingKey, UserId
from storage.market.purchases import Purchase, lock_purchase
from storage.paging import Listing, Page, Paged, all_of
from storage.postgres import Connection, PgUUID, Postgres, Row

PROBLEMS = ("unknown", "wrong_amount", "paid_twice", "not_credited")


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """A payment as the provider's event reports it.

    `id` is for its row; `reference` is the text by which the event names the purchase, and `purchase_id` its id.
    """

    id: UUID
    provider: str
    checkout_id: str
    event_id: str
    reference: str
    purchase_id: UUID | None
    amount_cents: int
    currency: str
    intent_id: str = ""  # the provider's id of the payment, which its refunds and chargebacks refer to


class Verdict(NamedTuple):
    """The decision about a reported payment: `problem` is None if it pays for the purchase.

    `is_new` is False if the same decision was made before; a rejected payment stays rejected.
    """

    problem: str | None
    is_new: bool
    purchase: Purchase | None


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment with the buyer of its purchase and the latest decision of an operator."""

    id: UUID
    provider: str
    checkout_id: str
    event_id: str
    reference: str
    purchase_id: UUID | None
    amount_cents: int | None
    currency: str
    status: str  # accepted, open, rejected
    problem: str | None
    created_at: datetime
    user_id: UserId | None = None
    action: str | None = None
    reason: str | None = None
    operator_id: UserId | None = None
    settled_at: datetime | None = None


_PAYMENTS = Listing(
    columns="y.id, y.provider, y.checkout_id, y.event_id, y.reference, y.purchase_id, y.amount_cents, y.currency,"
    " y.status, y.problem, y.created_at, (SELECT user_id FROM purchases WHERE id = y.purchase_id) AS user_id,"
    " s.action, s.reason, s.operator_id, s.created_at AS settled_at",
    source="payments y LEFT JOIN LATERAL (SELECT action, reason, operator_id, created_at FROM payment_settlements"
    " WHERE payment_id = y.id ORDER BY created_at DESC LIMIT 1) s ON true",
    table="payments y",
    at="y.created_at",
    id="y.id",
)


async def record_payment(postgres: Postgres, reported: Reported) -> Verdict:
    """Decide about a payment, and store it with the decision in one transaction. Idempotent.

    Locks the purchase, then the payment. Raises StorageUnavailable.
    """
    return await postgres.transaction(lambda connection: _record(connection, reported))


async def find_payment(postgres: Postgres, payment_id: UUID) -> Payment | None:
    """Return the payment, or None. Raises StorageUnavailable."""
    # Read the payment with its latest decision.
    row = await postgres.fetchrow(f"SELECT {_PAYMENTS.columns} FROM {_PAYMENTS.source} WHERE y.id = $1", payment_id)
    return None if row is None else _payment(row)


async def list_payments(
    postgres: Postgres,
    page: Page,
    *,
    status: str | None = None,
    purchase_id: UUID | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Paged[Payment]:
    """Return a page of payments, newest first, reported from `since` on and before `until`.

    Raises BadCursor, StorageUnavailable.
    """
    args = list[Any]()
    condition = all_of(args, ("y.purchase_id =", purchase_id), ("y.created_at >=", since), ("y.created_at <", until))
    if status is not None:
        # A literal, so that a generic plan can use the partial index too; it is a value of the CHECK constraint.
        assert status in ("accepted", "open", "rejected"), status
        condition += f" AND y.status = '{status}'"
    return await _PAYMENTS.page(postgres, page, [condition], args, _payment)


async def count_open_payments(postgres: Postgres) -> dict[str, int]:
    """Return the number of payments that wait for an operator, by problem. Raises StorageUnavailable."""
    # Count the open payments.
    rows = await postgres.fetch("SELECT problem, count(*) AS n FROM payments WHERE status = 'open' GROUP BY problem")
    return dict.fromkeys(PROBLEMS, 0) | {row["problem"]: row["n"] for row in rows}


async def withdraw_acceptance(postgres: Postgres, purchase_id: UUID, key: PostingKey) -> None:
    """Undo the acceptance of a purchase whose credit the ledger refused; it waits for an operator from then on.

    Changes nothing if the posting of `key` is booked after all. Locks the purchase, then its payment. Raises
    StorageUnavailable.
    """

    async def in_transaction(connection: Connection) -> None:
        purchase = await lock_purchase(connection, purchase_id)
        # Check whether the credit is booked.
        booked = await connection.fetchval("SELECT true FROM journal WHERE key = $1", PgUUID(key))
        if purchase is None or purchase.status == "paid" or booked:
            return
        # Put the purchase under review.
        await connection.execute("UPDATE purchases SET accepted = false, status = 'review' WHERE id = $1", purchase_id)
        # Reopen its accepted payment.
        payment_id = await connection.fetchval(
            "UPDATE payments SET status = 'open', problem = 'not_credited'"
            " WHERE purchase_id = $1 AND status = 'accepted' RETURNING id",
            purchase_id,
        )
        # If an operator credited it, record that the credit was not booked.
        await connection.execute(
            "INSERT INTO payment_settlements (id, payment_id, purchase_id, action, reason, operator_id)"
            " SELECT gen_random_uuid(), $2, $1, 'not_booked', 'The ledger refused the credit', s.operator_id FROM"
            " (SELECT action, operator_id FROM payment_settlements WHERE purchase_id = $1"
            "   ORDER BY created_at DESC LIMIT 1) s WHERE s.action = 'credit'",
            *(purchase_id, payment_id),
        )

    await postgres.transaction(in_transaction)


async def _record(connection: Connection, reported: Reported) -> Verdict:
    purchase = None if reported.purchase_id is None else await lock_purchase(connection, reported.purchase_id)
    if purchase is not None and purchase.provider != reported.provider:
        purchase = None
    # Lock the payment of this checkout, if it is known.
    known = await connection.fetchrow(
        "SELECT id, status, problem, purchase_id FROM payments WHERE provider = $1 AND checkout_id = $2 FOR UPDATE",
        *(reported.provider, reported.checkout_id),
    )
    if known is not None and known["status"] == "rejected":
        return Verdict(known["problem"], False, purchase)
    if known is not None and known["status"] == "accepted":
        same = purchase is not None and purchase.id == known["purchase_id"]
        return Verdict(None if same else "unknown", False, purchase)
    problem = await _problem(connection, purchase, reported)
    if known is not None and known["problem"] == problem:
        return Verdict(problem, False, purchase)
    # Insert the payment, or update the decision about an open one.
    stored = await connection.fetchval(
        "INSERT INTO payments AS y (id, provider, checkout_id, event_id, reference, purchase_id, amount_cents,"
        " currency, status, problem, intent_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
        " ON CONFLICT ON CONSTRAINT one_payment_a_checkout DO UPDATE"
        " SET purchase_id = $6, status = $9, problem = $10 WHERE y.status = 'open' RETURNING id",
        *(reported.id, reported.provider, reported.checkout_id, reported.event_id, reported.reference),
        *(None if purchase is None else purchase.id, reported.amount_cents, reported.currency),
        *("accepted" if problem is None else "open", problem, reported.intent_id),
    )
    if stored is None:  # a concurrent event accepted the same checkout for another purchase
        return Verdict("unknown", False, purchase)
    if purchase is not None:
        await _mark_purchase(connection, purchase.id, problem)
    return Verdict(problem, stored == reported.id or known is not None, purchase)


async def _problem(connection: Connection, purchase: Purchase | None, reported: Reported) -> str | None:
    """Return why this payment does not pay for the purchase, whose row is locked; None if it does."""
    if purchase is None:
        return "unknown"
    if purchase.accepted or purchase.status == "paid":
        # Find the checkout whose payment was accepted.
        paid_by = await connection.fetchval(
            "SELECT checkout_id FROM payments WHERE purchase_id = $1 AND status = 'accepted'", purchase.id
        )
        # Without an accepted payment, an operator or an earlier version of this server credited the purchase.
        paid_by = paid_by or purchase.checkout_id or reported.checkout_id
        if paid_by != reported.checkout_id:
            return "paid_twice"
    if (reported.amount_cents, reported.currency) != (purchase.price_cents, purchase.currency):
        return "wrong_amount"
    return None


async def _mark_purchase(connection: Connection, purchase_id: UUID, problem: str | None) -> None:
    # Record the decision in the purchase.
    if problem is None:
        await connection.execute("UPDATE purchases SET accepted = true WHERE id = $1", purchase_id)
    elif problem == "paid_twice":
        await connection.execute("UPDATE purchases SET paid_twice = true WHERE id = $1", purchase_id)
    else:
        await connection.execute(
            "UPDATE purchases SET status = 'review' WHERE id = $1 AND NOT accepted AND status <> 'paid'", purchase_id
        )


def _payment(row: Row) -> Payment:
    return Payment(**{name: row[name] for name in Payment.__struct_fields__})
