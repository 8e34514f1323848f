"""What operators did about money and people, append-only: who, what, about whom, how much and why."""

from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from domain.ids import UserId
from domain.instant import from_datetime, rfc3339
from storage.paging import Listing, Page, Paged
from storage.postgres import Connection, Postgres, Row


class Action(NamedTuple):
    """One action to keep. Credits and refunds are kept by the statement that books them."""

    operator_id: UserId
    action: str  # as the table's constraint lists them
    target_id: UserId
    ref_id: UUID | None = None
    tokens: int | None = None
    reason: str = ""


class KeptAction(msgspec.Struct, frozen=True, rename="camel"):
    """One action, as operators see it. `operatorId` is null where it happened before operators were recorded."""

    action_id: UUID
    operator_id: UserId | None
    action: str
    target_id: UserId
    ref_id: UUID | None
    tokens: int | None
    reason: str
    at: str


_ACTIONS = Listing(
    columns="a.id, a.operator_id, a.action, a.target_id, a.ref_id, a.tokens, a.reason, a.created_at",
    source="operator_actions a",
    table="operator_actions a",
    at="a.created_at",
    id="a.id",
)


async def note_action(connection: Connection, action: Action) -> None:
    """Keep it, in the transaction of what it is about."""
    await connection.execute(
        "INSERT INTO operator_actions (id, operator_id, action, target_id, ref_id, tokens, reason)"
        " VALUES (gen_random_uuid(), $1, $2, $3, $4, $5, $6)",
        *action,
    )


async def list_actions(
    postgres: Postgres, page: Page, *, operator_id: UUID | None = None, target_id: UUID | None = None
) -> Paged[KeptAction]:
    """Newest first. Raises BadCursor, StorageUnavailable."""
    conditions, args = list[str](), list[Any]()
    for column, value in (("operator_id", operator_id), ("target_id", target_id)):
        if value is not None:
            args.append(value)
            conditions.append(f"a.{column} = ${len(args)}")
    return await _ACTIONS.page(postgres, page, [" AND ".join(conditions) or "true"], args, _action)


def _action(row: Row) -> KeptAction:
    return KeptAction(
        row["id"],
        row["operator_id"],
        row["action"],
        row["target_id"],
        row["ref_id"],
        row["tokens"],
        row["reason"],
        rfc3339(from_datetime(row["created_at"])),
    )
