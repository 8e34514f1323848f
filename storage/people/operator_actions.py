"""The append-only log of operators' actions on money and users: operator, action, target, tokens and reason.

An action is written in the transaction of the change that it describes, so neither exists without the other. The audit
matches the actions with the postings of operators.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias
from uuid import UUID

import msgspec
from msgspec import Meta

from domain.ids import PostingKey, UserId
from domain.instant import rfc3339_of
from storage.paging import Listing, Page, Paged, all_of
from storage.postgres import Connection, PgUUID, Postgres, Row

ActionName: TypeAlias = Literal[
    "credit",
    "refund",
    "ban",
    "lift_ban",
    "pay_payout",
    "reject_payout",
    "credit_purchase",
    "reject_payment",
    "release_reversal",
    "unfreeze",
]


class Action(NamedTuple):
    """One action to log. Credits and refunds are logged by the statement that books them.

    `follows` is a tag and the id of a settlement, which has a table of its own; the action's id is derived from them,
    so that the audit can match the two.
    """

    operator_id: UserId
    action: ActionName
    target_id: UserId | None  # None for a payment whose purchase is unknown
    ref_id: UUID | None = None
    tokens: int | None = None
    reason: str = ""
    key: PostingKey | None = None
    follows: tuple[str, UUID] | None = None


class KeptAction(msgspec.Struct, frozen=True, rename="camel"):
    """One logged action, as operators see it. `operatorId` is null if it is older than the record of operators."""

    action_id: UUID
    operator_id: Annotated[
        UserId | None, Meta(description="The operator.", examples=["0197c0de-0000-7000-8000-000000000001"])
    ]
    action: Annotated[
        ActionName,
        Meta(
            description="`credit_purchase` and `reject_payment` settle payments that were not credited;"
            " `release_reversal` settles a refund or chargeback at the provider, and `unfreeze` follows where it was"
            " the last that held the wallet.",
            examples=["refund"],
        ),
    ]
    target_id: Annotated[
        UserId | None,
        Meta(description="The user whom the action affects; null for a payment of an unknown purchase."),
    ]
    ref_id: Annotated[
        UUID | None,
        Meta(description="The tip, ticket, credit, payout, payment, purchase, reversal or ban; null for blocks."),
    ]
    tokens: Annotated[
        int | None,
        Meta(description="The change of the user's balance; for a payout, its amount.", examples=[40]),
    ]
    reason: Annotated[str, Meta(examples=["Tipped by mistake"])]
    key: Annotated[
        UUID | None,
        Meta(description="The key of the posting, or, without a posting, a digest of the `Idempotency-Key`."),
    ]
    at: Annotated[str, Meta(examples=["2026-01-31T12:00:00.000Z"])]


class ActionFilter(msgspec.Struct, frozen=True):
    """Selects actions by operator, target, kind and time; `since` is inclusive, `until` exclusive, None matches all."""

    operator_id: UUID | None = None
    target_id: UUID | None = None
    action: ActionName | None = None
    since: datetime | None = None
    until: datetime | None = None


_ACTIONS = Listing(
    columns="a.id, a.operator_id, a.action, a.target_id, a.ref_id, a.tokens, a.reason,"
    " coalesce(a.posting_key, a.key) AS key, a.created_at",
    source="operator_actions a",
    table="operator_actions a",
    at="a.created_at",
    id="a.id",
)


async def note_action(connection: Connection, action: Action) -> None:
    """Log the action in the caller's transaction, which also makes the change. Takes no lock.

    An action that follows a settlement has a derived id, so a second one for the same settlement violates the key.
    """
    *fields, key, follows = action
    tag, followed = (None, None) if follows is None else follows
    # Insert the action with an id that is derived from what it follows, or with a random one.
    await connection.execute(
        "INSERT INTO operator_actions (id, operator_id, action, target_id, ref_id, tokens, reason, key)"
        " VALUES (coalesce(derived_key($8, ARRAY[$9::uuid]), gen_random_uuid()), $1, $2, $3, $4, $5, $6, $7)",
        *(*fields, None if key is None else PgUUID(key), tag, followed),
    )


async def list_actions(postgres: Postgres, page: Page, wanted: ActionFilter) -> Paged[KeptAction]:
    """Return a page of actions, newest first. Raises BadCursor, StorageUnavailable."""
    args = list[Any]()
    condition = all_of(
        args,
        ("a.operator_id =", wanted.operator_id),
        ("a.target_id =", wanted.target_id),
        ("a.action =", wanted.action),
        ("a.created_at >=", wanted.since),
        ("a.created_at <", wanted.until),
    )
    return await _ACTIONS.page(postgres, page, [condition], args, _action)


def _action(row: Row) -> KeptAction:
    return KeptAction(
        action_id=row["id"],
        operator_id=row["operator_id"],
        action=row["action"],
        target_id=row["target_id"],
        ref_id=row["ref_id"],
        tokens=row["tokens"],
        reason=row["reason"],
        key=row["key"],
        at=rfc3339_of(row["created_at"]),
    )
