"""Reports of users about other users, for the operators.

A report has no effect of its own: an operator reads it and may ban the user.
"""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from domain.ids import RoomId, UserId
from domain.instant import rfc3339_of
from domain.refusals import Refusal
from storage.paging import Listing, Page, Paged, all_of
from storage.postgres import Connection, Postgres, Row
from storage.quotas import lock_user, too_many_in_a_day


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """One report, as operators see it.

    `reporterId` is null for a report of the server itself: of a ticket to be refunded that its creator, `userId`,
    cannot cover.
    """

    report_id: UUID
    reporter_id: UserId | None
    user_id: UserId
    room_id: RoomId | None
    reason: str
    created_at: str


_REPORTS = Listing(
    columns="r.id, r.reporter_id, r.user_id, r.room_id, r.reason, r.created_at",
    source="reports r",
    table="reports r",
    at="r.created_at",
    id="r.id",
)


async def add_report(
    postgres: Postgres,
    report_id: UUID,
    reporter_id: UserId,
    user_id: UserId,
    room_id: RoomId | None,
    reason: str,
    *,
    max_a_day: int,
) -> Report | Refusal:
    """Add a report, or return an equal report of the last 24 hours.

    Refuses more than `max_a_day` reports of one reporter. Locks the reporter's row in `users`. Raises
    StorageUnavailable, and StatementRefused if the user or the room does not exist.
    """

    async def in_transaction(connection: Connection) -> Report | Refusal:
        await lock_user(connection, reporter_id)
        # Find an equal report of the last 24 hours.
        row = await connection.fetchrow(
            f"SELECT {_REPORTS.columns} FROM reports r WHERE r.reporter_id = $1 AND r.user_id = $2"
            " AND r.room_id IS NOT DISTINCT FROM $3 AND r.reason = $4 AND r.created_at > now() - interval '1 day'"
            " ORDER BY r.created_at LIMIT 1",
            *(reporter_id, user_id, room_id, reason),
        )
        if row is not None:
            return _report(row)
        if (refusal := await too_many_in_a_day(connection, "reports", reporter_id, max_a_day)) is not None:
            return refusal
        # Insert the report.
        row = await connection.fetchrow(
            "INSERT INTO reports AS r (id, reporter_id, user_id, room_id, reason) VALUES ($1, $2, $3, $4, $5)"
            f" RETURNING {_REPORTS.columns}",
            *(report_id, reporter_id, user_id, room_id, reason),
        )
        assert row is not None, "an INSERT returns what it inserts"
        return _report(row)

    return await postgres.transaction(in_transaction)


async def may_know_room(postgres: Postgres, room_id: RoomId, user_id: UserId) -> bool:
    """Return whether the room exists and the user may know of it: only its parties know of a call.

    Raises StorageUnavailable.
    """
    # Read whether the room is no call, or a call of this user.
    row = await postgres.fetchrow(
        "SELECT r.kind <> 'call' OR (SELECT $2 IN (c.fan_id, c.creator_id) FROM calls c WHERE c.id = r.id)"
        " FROM rooms r WHERE r.id = $1",
        *(room_id, user_id),
    )
    return row is not None and bool(row[0])


async def list_reports(
    postgres: Postgres,
    page: Page,
    *,
    user_id: UserId | None = None,
    reporter_id: UserId | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Paged[Report]:
    """Return a page of reports about a user, by a reporter, or of all, newest first, from `since` on, before `until`.

    Raises BadCursor, StorageUnavailable.
    """
    args = list[Any]()
    condition = all_of(
        args,
        ("r.user_id =", user_id),
        ("r.reporter_id =", reporter_id),
        ("r.created_at >=", since),
        ("r.created_at <", until),
    )
    return await _REPORTS.page(postgres, page, [condition], args, _report)


async def list_reports_of(
    postgres: Postgres,
    page: Page,
    user_id: UserId,
    side: Literal["about", "by"] | None,
    since: datetime | None,
    until: datetime | None,
) -> Paged[Report]:
    """Return a page of the reports about a user and of those by the user, or of one side, newest first.

    Nobody reports themselves. Raises BadCursor, StorageUnavailable.
    """
    args: list[Any] = [user_id]
    period = all_of(args, ("r.created_at >=", since), ("r.created_at <", until))
    columns = {"about": "r.user_id", "by": "r.reporter_id"}
    conditions = [f"{columns[each]} = $1 AND {period}" for each in (columns if side is None else (side,))]
    return await _REPORTS.page(postgres, page, conditions, args, _report)


def _report(row: Row) -> Report:
    report_id, reporter_id, user_id, room_id, reason, created_at, *_ = row
    return Report(report_id, reporter_id, user_id, room_id, reason, rfc3339_of(created_at))
