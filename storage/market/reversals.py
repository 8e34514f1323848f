"""Reversals: refunds and chargebacks at the payment providers, the purchases that they reverse, and frozen wallets.

A wallet is frozen while one of its owner's credited payments is reversed and no operator has released that reversal.
"""

from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from domain.ids import UserId
from domain.refusals import Code, Refusal
from storage import wall_clock
from storage.market.payment_settlements import Settlement, SettlementRefused, claim_key, decide
from storage.market.purchases import Purchase, lock_purchase
from storage.paging import Listing, Page, Paged, all_of
from storage.people.operator_actions import Action, note_action
from storage.postgres import Connection, PgUUID, Postgres, Row

NO_SUCH_REVERSAL = Refusal(Code.NOT_FOUND, "No such refund or chargeback")
OWN_WALLET = Refusal(Code.FORBIDDEN, "Nobody releases their own wallet")


class ReversalReported(msgspec.Struct, frozen=True, kw_only=True):
    """A refund or chargeback as the provider reports it.

    `id` is for its row; `intent_id` is the provider's id of the payment, and `purchase_id` that of the event's
    metadata, which is used if the payment is unknown.
    """

    id: UUID
    provider: str
    kind: Literal["refund", "chargeback"]
    reversal_id: str
    event_id: str
    intent_id: str
    purchase_id: UUID | None
    amount_cents: int
    currency: str
    state: str


class Reversed(NamedTuple):
    """The stored state of a reversal; `is_new` says that this report created it or raised its amount."""

    status: str
    is_new: bool
    purchase: Purchase | None


class Reversal(msgspec.Struct, frozen=True, kw_only=True):
    """A reversal with the buyer of its purchase and the latest decision of an operator."""

    id: UUID
    provider: str
    kind: str
    reversal_id: str
    event_id: str
    intent_id: str
    purchase_id: UUID | None
    amount_cents: int
    currency: str
    state: str
    status: str  # open, expected, released
    created_at: datetime
    user_id: UserId | None = None
    reason: str | None = None
    operator_id: UserId | None = None
    settled_at: datetime | None = None


_REVERSALS = Listing(
    columns="r.id, r.provider, r.kind, r.reversal_id, r.event_id, r.intent_id, r.purchase_id, r.amount_cents,"
    " r.currency, r.state, r.status, r.created_at, (SELECT user_id FROM purchases WHERE id = r.purchase_id) AS user_id,"
    " s.reason, s.operator_id, s.created_at AS settled_at",
    source="payment_reversals r LEFT JOIN LATERAL (SELECT reason, operator_id, created_at FROM reversal_settlements"
    " WHERE reversal_id = r.id ORDER BY created_at DESC LIMIT 1) s ON true",
    table="payment_reversals r",
    at="r.created_at",
    id="r.id",
)


async def record_reversal(postgres: Postgres, reported: ReversalReported) -> Reversed:
    """Store a reversal, mark its purchase and freeze the buyer's wallet, in one transaction.

    Idempotent; a larger refund of the same payment opens the reversal again. Locks the purchase, then the reversal, and
    takes the write lock for the freeze. Raises StorageUnavailable.
    """
    return await postgres.transaction(lambda connection: _record(connection, reported))


async def release_reversal(postgres: Postgres, reversal_id: UUID, settlement: Settlement) -> Purchase | Refusal | None:
    """Release a reversal by an operator's decision; the last open reversal of a buyer also ends the wallet's freeze.

    Idempotent. Refuses an unknown reversal, the operator's own wallet, and a used key. Locks the purchase, then the
    reversal, then takes the write lock. Raises StorageUnavailable.
    """
    return await decide(postgres, lambda connection: _release(connection, reversal_id, settlement))


async def find_reversal(postgres: Postgres, reversal_id: UUID) -> Reversal | None:
    """Return the reversal, or None. Raises StorageUnavailable."""
    # Read the reversal with its latest decision.
    row = await postgres.fetchrow(f"SELECT {_REVERSALS.columns} FROM {_REVERSALS.source} WHERE r.id = $1", reversal_id)
    return None if row is None else _reversal(row)


async def list_reversals(
    postgres: Postgres,
    page: Page,
    *,
    status: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Paged[Reversal]:
    """Return a page of reversals, newest first, reported from `since` on and before `until`.

    Raises BadCursor, StorageUnavailable.
    """
    args = list[Any]()
    condition = all_of(args, ("r.created_at >=", since), ("r.created_at <", until))
    # A literal, so that a generic plan can use the partial index too; it is a value of the CHECK constraint.
    assert status in (None, "open", "expected", "released"), status
    if status is not None:
        condition += f" AND r.status = '{status}'"
    return await _REVERSALS.page(postgres, page, [condition], args, _reversal)


async def count_open_reversals(postgres: Postgres) -> int:
    """Return the number of reversals that wait for an operator. Raises StorageUnavailable."""
    # Count the open reversals.
    rows = await postgres.fetch("SELECT count(*) FROM payment_reversals WHERE status = 'open'")
    return int(rows[0][0])


async def is_frozen(connection: Connection, user_id: UserId) -> bool:
    """Return whether the user's wallet is frozen, so that no token may leave it. Takes no lock."""
    # Look for a freeze.
    return bool(await connection.fetchval("SELECT true FROM wallet_freezes WHERE user_id = $1", user_id))


async def _record(connection: Connection, reported: ReversalReported) -> Reversed:
    purchase, credited = await _reversed_purchase(connection, reported)
    # Lock the reversal, if it is known.
    known = await connection.fetchrow(
        "SELECT id, amount_cents, status FROM payment_reversals"
        " WHERE provider = $1 AND kind = $2 AND reversal_id = $3 FOR UPDATE",
        *(reported.provider, reported.kind, reported.reversal_id),
    )
    is_new = known is None or reported.amount_cents > known["amount_cents"]
    status = "open" if credited or purchase is None else "expected"
    if known is not None and not is_new:
        status = known["status"]
    # Insert the reversal, or raise the amount of the known one.
    await connection.execute(
        "INSERT INTO payment_reversals AS r (id, provider, kind, reversal_id, event_id, intent_id, purchase_id,"
        " amount_cents, currency, state, status) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
        " ON CONFLICT ON CONSTRAINT one_row_a_reversal DO UPDATE SET status = $11,"
        " state = excluded.state, amount_cents = greatest(r.amount_cents, excluded.amount_cents)",
        *(reported.id, reported.provider, reported.kind, reported.reversal_id, reported.event_id, reported.intent_id),
        None if purchase is None else purchase.id,
        *(reported.amount_cents, reported.currency, reported.state, status),
    )
    if is_new and status == "open" and purchase is not None:
        # Mark the purchase.
        await connection.execute("UPDATE purchases SET reversed_as = $2 WHERE id = $1", purchase.id, reported.kind)
        # Freeze the buyer's wallet, after a clock check.
        statement = "SELECT freeze_wallet($1) WHERE check_clock($2)"
        await connection.execute(statement, purchase.user_id, wall_clock.now())
    return Reversed(status, is_new, purchase)


async def _reversed_purchase(connection: Connection, reported: ReversalReported) -> tuple[Purchase | None, bool]:
    """Lock and return the purchase, and return whether the reversed payment was credited, or may have been."""
    # Find the payment by the provider's id.
    payment = await connection.fetchrow(
        "SELECT purchase_id, status FROM payments WHERE provider = $1 AND intent_id = $2 AND intent_id <> ''"
        " ORDER BY status LIMIT 1",  # accepted comes first
        *(reported.provider, reported.intent_id),
    )
    purchase_id = reported.purchase_id if payment is None else payment["purchase_id"]
    purchase = None if purchase_id is None else await lock_purchase(connection, purchase_id)
    if purchase is None or purchase.provider != reported.provider:
        return None, False
    if payment is not None:
        return purchase, payment["status"] == "accepted"
    return purchase, purchase.accepted or purchase.status == "paid"


async def _release(connection: Connection, reversal_id: UUID, settlement: Settlement) -> Purchase | None:
    # Read the purchase of the reversal, which must be locked first.
    purchase_id = await connection.fetchval("SELECT purchase_id FROM payment_reversals WHERE id = $1", reversal_id)
    purchase = None if purchase_id is None else await lock_purchase(connection, purchase_id)
    # Lock the reversal.
    status = await connection.fetchval("SELECT status FROM payment_reversals WHERE id = $1 FOR UPDATE", reversal_id)
    if status is None:
        raise SettlementRefused(NO_SUCH_REVERSAL)
    if purchase is not None and purchase.user_id == settlement.operator_id:
        raise SettlementRefused(OWN_WALLET)
    await claim_key(connection, settlement, reversal_id)
    if status == "released":
        return purchase
    # Release the reversal.
    await connection.execute("UPDATE payment_reversals SET status = 'released' WHERE id = $1", reversal_id)
    # Insert the operator's decision.
    settlement_id = await connection.fetchval(
        "INSERT INTO reversal_settlements (id, reversal_id, action, reason, operator_id, key)"
        " VALUES (gen_random_uuid(), $1, 'release', $2, $3, $4) RETURNING id",
        *(reversal_id, settlement.reason, settlement.operator_id),
        None if settlement.key is None else PgUUID(settlement.key),
    )
    action = Action(
        settlement.operator_id,
        "release_reversal",
        None if purchase is None else purchase.user_id,
        reversal_id,
        reason=settlement.reason,
        key=settlement.key,
        follows=("settled reversal", settlement_id),
    )
    await note_action(connection, action)
    if purchase is not None:
        # Take the write lock, as every freeze does, so that no concurrent reversal of this buyer is missed.
        await connection.execute("SELECT 1 FROM fence WHERE one FOR NO KEY UPDATE")
        was_frozen = await is_frozen(connection, purchase.user_id)
        # End the freeze, unless another reversal of this buyer is open.
        await connection.execute(
            "SELECT thaw_wallet($1) WHERE NOT EXISTS (SELECT FROM purchases p JOIN payment_reversals r"
            " ON r.purchase_id = p.id WHERE p.user_id = $1 AND r.status = 'open')",
            purchase.user_id,
        )
        if was_frozen and not await is_frozen(connection, purchase.user_id):
            await note_action(connection, action._replace(action="unfreeze", follows=None))
    return purchase


def _reversal(row: Row) -> Reversal:
    return Reversal(**{name: row[name] for name in Reversal.__struct_fields__})
