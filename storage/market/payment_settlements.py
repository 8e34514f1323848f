"""Operators' decisions about payments that were not credited: to credit the purchase after all, or to reject them.

Each decision is an append-only row with operator and reason, inserted in the transaction of its effects.
"""

from typing import Literal, NamedTuple, TypeVar
from uuid import UUID

import msgspec

from domain.ids import PostingKey, UserId
from domain.refusals import Code, Refusal, unfit
from storage.database_errors import StorageUnavailable
from storage.idempotency import claim_within, claiming_transaction
from storage.market.purchases import Purchase, lock_purchase
from storage.people.operator_actions import Action, note_action
from storage.postgres import Connection, PgUUID, Postgres, Row, Work

T = TypeVar("T")

NO_SUCH_PAYMENT = Refusal(Code.NOT_FOUND, "No such payment")
NO_SUCH_PURCHASE = Refusal(Code.NOT_FOUND, "No such purchase")
CREDITED = Refusal(
    Code.PAYMENT_SETTLED, "The purchase is credited already; give this money back at the provider, and reject it"
)
REJECTED = Refusal(Code.PAYMENT_SETTLED, "The payment is rejected already")
NOTHING_OPEN = Refusal(Code.PAYMENT_SETTLED, "No payment of this purchase waits for an operator")
OWN_PURCHASE = Refusal(Code.FORBIDDEN, "Nobody settles their own purchase")


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """One decision of an operator.

    `key` is derived from the operator's idempotency key, and `content` is a digest of the request, 16 bytes.
    """

    action: Literal["credit", "reject", "release"]
    reason: str
    operator_id: UserId
    key: PostingKey | None
    content: bytes


class Settled(NamedTuple):
    """The result of a decision; the caller must then credit a purchase that is accepted and not paid."""

    purchase: Purchase | None
    is_new: bool


async def settle_payment(
    postgres: Postgres, payment_id: UUID, settlement: Settlement, purchase_id: UUID | None
) -> Settled | Refusal:
    """Credit or reject one payment; `purchase_id` names the purchase where the payment's own is unknown.

    Idempotent. Refuses an unknown payment or purchase, a contrary earlier decision, the operator's own purchase, and a
    used key. Locks the purchase, then the payment, then takes the write lock for the key. Raises StorageUnavailable.
    """

    async def in_transaction(connection: Connection) -> Settled:
        # Read the purchase of the payment, which must be locked first.
        known_as = await connection.fetchval("SELECT purchase_id FROM payments WHERE id = $1", payment_id)
        purchase = await _purchase_named(connection, known_as, purchase_id)
        # Lock the payment.
        payment = await connection.fetchrow("SELECT * FROM payments WHERE id = $1 FOR UPDATE", payment_id)
        if payment is None:
            raise SettlementRefused(NO_SUCH_PAYMENT)
        if payment["purchase_id"] != known_as:
            raise StorageUnavailable("an event changed this payment at the same time")
        _refuse_own(purchase, settlement)
        await claim_key(connection, settlement, payment_id)
        if settlement.action == "reject":
            return await _reject(connection, payment, purchase, settlement)
        return await _credit(connection, payment, purchase, settlement)

    return await decide(postgres, in_transaction)


async def settle_purchase(postgres: Postgres, purchase_id: UUID, settlement: Settlement) -> Settled | Refusal:
    """Credit a purchase, or reject all of its open payments.

    A credit uses the oldest open payment, or none if no event reported one. Idempotent. Refuses an unknown purchase, a
    purchase without an open payment to reject, the operator's own purchase, and a used key. Locks the purchase, takes
    the write lock for the key, then locks the open payments. Raises StorageUnavailable.
    """

    async def in_transaction(connection: Connection) -> Settled:
        purchase = await lock_purchase(connection, purchase_id)
        if purchase is None:
            raise SettlementRefused(NO_SUCH_PURCHASE)
        _refuse_own(purchase, settlement)
        await claim_key(connection, settlement, purchase_id)
        # Lock the open payments, the oldest first.
        is_open = await connection.fetch(
            "SELECT * FROM payments WHERE purchase_id = $1 AND status = 'open' ORDER BY created_at, id FOR UPDATE",
            purchase_id,
        )
        if await _is_settled(connection, purchase_id, settlement.action) and (
            settlement.action == "credit" or not is_open
        ):
            return Settled(purchase, is_new=False)
        if settlement.action == "credit":
            settled = await _credit(connection, is_open[0] if is_open else None, purchase, settlement)
            await _mark_paid_twice(connection, purchase_id)
            return settled
        if not is_open:
            raise SettlementRefused(NOTHING_OPEN)
        for payment in is_open:
            await _reject(connection, payment, purchase, settlement)
        return Settled(purchase, is_new=True)

    return await decide(postgres, in_transaction)


class SettlementRefused(Exception):
    """Rolls the transaction back and carries the refusal to `decide`, so that a refusal uses up no key."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


async def decide(postgres: Postgres, work: Work[T]) -> T | Refusal:
    """Run one decision in a transaction; SettlementRefused rolls it back and becomes the returned refusal.

    Raises StorageUnavailable.
    """
    try:
        return await claiming_transaction(postgres, work)
    except SettlementRefused as refused:
        return refused.refusal


async def _credit(
    connection: Connection, payment: Row | None, purchase: Purchase | None, settlement: Settlement
) -> Settled:
    if payment is not None and payment["status"] == "rejected":
        raise SettlementRefused(REJECTED)
    if purchase is None:
        raise SettlementRefused(unfit(("purchaseId", "must name the purchase that was paid for")))
    if payment is not None and payment["status"] == "accepted":
        return Settled(purchase, is_new=False)
    if purchase.accepted or purchase.status == "paid":
        raise SettlementRefused(CREDITED)
    # Accept the purchase.
    await connection.execute("UPDATE purchases SET accepted = true WHERE id = $1", purchase.id)
    if payment is not None:
        # Accept the payment, for this purchase.
        await connection.execute(
            "UPDATE payments SET status = 'accepted', purchase_id = $2 WHERE id = $1", payment["id"], purchase.id
        )
    await _keep(connection, payment, purchase, settlement)
    return Settled(purchase, is_new=True)


async def _reject(connection: Connection, payment: Row, purchase: Purchase | None, settlement: Settlement) -> Settled:
    if payment["status"] == "accepted":
        raise SettlementRefused(CREDITED)
    if payment["status"] == "rejected":
        return Settled(purchase, is_new=False)
    # Reject the payment.
    await connection.execute("UPDATE payments SET status = 'rejected' WHERE id = $1", payment["id"])
    await _keep(connection, payment, purchase, settlement)
    if purchase is not None:
        # Fail the purchase if no open payment is left: the buyer gets the money back.
        await connection.execute(
            "UPDATE purchases SET status = 'failed' WHERE id = $1 AND status = 'review' AND NOT accepted"
            " AND NOT EXISTS (SELECT FROM payments WHERE purchase_id = $1 AND status = 'open')",
            purchase.id,
        )
    return Settled(purchase, is_new=True)


def _refuse_own(purchase: Purchase | None, settlement: Settlement) -> None:
    if purchase is not None and purchase.user_id == settlement.operator_id:
        raise SettlementRefused(OWN_PURCHASE)


async def _purchase_named(connection: Connection, known_as: UUID | None, named: UUID | None) -> Purchase | None:
    """Lock and return the purchase of a payment, or the one that the operator names where the payment has none."""
    if named is not None and known_as is not None and named != known_as:
        raise SettlementRefused(unfit(("purchaseId", "is not the purchase of this payment")))
    if named is None and known_as is None:
        return None
    purchase = await lock_purchase(connection, known_as or named or UUID(int=0))
    if purchase is None:
        raise SettlementRefused(unfit(("purchaseId", "names no purchase")))
    return purchase


async def _is_settled(connection: Connection, purchase_id: UUID, action: str) -> bool:
    """Return whether the latest decision about this purchase is the same."""
    # Read the latest decision.
    latest = await connection.fetchval(
        "SELECT action FROM payment_settlements WHERE purchase_id = $1 ORDER BY created_at DESC LIMIT 1", purchase_id
    )
    return bool(latest == action)


async def _mark_paid_twice(connection: Connection, purchase_id: UUID) -> None:
    """Mark the payments that are still open after the purchase was accepted as paid twice."""
    # Set the problem of the open payments.
    left = await connection.fetch(
        "UPDATE payments SET problem = 'paid_twice' WHERE purchase_id = $1 AND status = 'open' RETURNING id",
        purchase_id,
    )
    if left:
        # Mark the purchase too.
        await connection.execute("UPDATE purchases SET paid_twice = true WHERE id = $1", purchase_id)


async def _keep(connection: Connection, payment: Row | None, purchase: Purchase | None, settlement: Settlement) -> None:
    """Insert the decision, and log it as the operator's action."""
    payment_id = None if payment is None else payment["id"]
    purchase_id = None if purchase is None else purchase.id
    # Insert the decision.
    settlement_id = await connection.fetchval(
        "INSERT INTO payment_settlements (id, payment_id, purchase_id, action, reason, operator_id, key)"
        " VALUES (gen_random_uuid(), $1, $2, $3, $4, $5, $6) RETURNING id",
        *(payment_id, purchase_id, settlement.action, settlement.reason, settlement.operator_id),
        None if settlement.key is None else PgUUID(settlement.key),
    )
    credits = settlement.action == "credit"
    action = Action(
        settlement.operator_id,
        "credit_purchase" if credits else "reject_payment",
        None if purchase is None else purchase.user_id,
        payment_id or purchase_id,
        purchase.tokens if credits and purchase is not None else None,
        settlement.reason,
        settlement.key,
        ("settled payment", settlement_id),
    )
    await note_action(connection, action)


async def claim_key(connection: Connection, settlement: Settlement, ref_id: UUID) -> None:
    """Claim the settlement's key; no other request and no posting may have it.

    Takes the write lock, by a trigger. Raises SettlementRefused if the key was used with other content.
    """
    claimed = await claim_within(connection, settlement.key, settlement.content, ref_id)
    if isinstance(claimed, Refusal):
        raise SettlementRefused(claimed)
