"""Reports of users about other users, for the operators.

A report has no effect of its own: an operator reads it and may ban the user.
"""

from typing import Any
from uuid import UUID

import msgspec

from domain.ids import RoomId, UserId
from domain.instant import rfc3339_of
from domain.refusals import Refusal
from storage.paging import Listing, Page, Paged
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


async def list_reports(postgres: Postgres, page: Page, *, user_id: UserId | None) -> Paged[Report]:
    """Return a page of all reports, or of those about one user, newest first. Raises BadCursor, StorageUnavailable."""
    condition, args = ("true", list[Any]()) if user_id is None else ("r.user_id = $1", [user_id])
    return await _REPORTS.page(postgres, page, [condition], args, _report)


def _report(row: Row) -> Report:
    report_id, reporter_id, user_id, room_id, reason, created_at, *_ = row
    return Report(report_id, reporter_id, user_id, room_id, reason, rfc3339_of(created_at))
