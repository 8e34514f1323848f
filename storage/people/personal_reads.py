"""The append-only record of operators' reads of personal data: operator, user, route and time.

A read is recorded before the data is read, so no data is shown without its record.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from domain.ids import RoomId, UserId
from domain.instant import rfc3339_of
from storage.paging import Listing, Page, Paged, all_of
from storage.postgres import Postgres, Row


class KeptRead(msgspec.Struct, frozen=True, rename="camel"):
    """One read of an operator. A read of a call or stream is one entry for each of its parties."""

    read_id: Annotated[UUID, Meta(description="The id of the entry.")]
    operator_id: Annotated[UserId, Meta(description="The operator.", examples=["0197c0de-0000-7000-8000-000000000001"])]
    user_id: Annotated[
        UserId | None,
        Meta(description="The user whose data was read; null for a list or a search that is not about one user."),
    ]
    route: Annotated[
        str,
        Meta(description="The path of the route, as this document names it.", examples=["/api/admin/users/{userId}"]),
    ]
    room_id: Annotated[UUID | None, Meta(description="The call or stream that was read; null if it was none.")]
    at: Annotated[str, Meta(description="The time of the read.", examples=["2026-01-31T12:00:00.000Z"])]


class ReadFilter(msgspec.Struct, frozen=True):
    """Selects reads by operator, user, route and time; `since` is inclusive, `until` exclusive, None matches all."""

    operator_id: UUID | None = None
    user_id: UUID | None = None
    route: str | None = None
    since: datetime | None = None
    until: datetime | None = None


_READS = Listing(
    columns="p.id, p.operator_id, p.user_id, p.route, p.room_id, p.created_at",
    source="personal_reads p",
    table="personal_reads p",
    at="p.created_at",
    id="p.id",
)


async def note_reads(
    postgres: Postgres, operator_id: UserId, route: str, users: Sequence[UserId | None], room_id: RoomId | None = None
) -> None:
    """Record that an operator reads the data of these users; None stands for a list over all users.

    Raises StorageUnavailable: the data must not be shown then.
    """
    # Insert one row for each user.
    await postgres.execute(
        "INSERT INTO personal_reads (operator_id, user_id, route, room_id)"
        " SELECT $1, u, $2, $3 FROM unnest($4::uuid[]) u",
        *(operator_id, route, room_id, list(users)),
    )


async def list_reads(postgres: Postgres, page: Page, wanted: ReadFilter) -> Paged[KeptRead]:
    """Return a page of reads, newest first. Raises BadCursor, StorageUnavailable."""
    args = list[Any]()
    condition = all_of(
        args,
        ("p.operator_id =", wanted.operator_id),
        ("p.user_id =", wanted.user_id),
        ("p.route =", wanted.route),
        ("p.created_at >=", wanted.since),
        ("p.created_at <", wanted.until),
    )
    return await _READS.page(postgres, page, [condition], args, _read)


def _read(row: Row) -> KeptRead:
    read_id, operator_id, user_id, route, room_id, created_at, *_ = row
    return KeptRead(read_id, operator_id, user_id, route, room_id, rfc3339_of(created_at))
