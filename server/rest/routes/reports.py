"""Reports: users report other users to the operators."""

from typing import Annotated

import msgspec

from domain.ids import RoomId, UserId
from domain.refusals import Code, Refusal
from domain.text import clean
from server.ids import new_uuid
from server.rest.query import Listed, OperatorPeriodPaging
from server.rest.request import Request
from server.rest.responses import invalid
from server.rest.route import Needs, Routes
from server.rest.strict_json import FieldError
from storage.people.reports import Report, add_report, list_reports, may_know_room
from storage.people.users import find_user

routes = Routes("/api")


class ReportWanted(msgspec.Struct, frozen=True, rename="camel"):
    """The reported user, the room if there is one, and the reason."""

    user_id: UserId
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    room_id: RoomId | None = None


class ReportQuery(OperatorPeriodPaging, frozen=True, rename="camel"):
    """A filter of reports by the reported user, the reporter and time."""

    user_id: UserId | None = None
    reporter_id: UserId | None = None


@routes.post("/reports", status=201, refuses=(Code.VALIDATION_FAILED, Code.NOT_FOUND))
async def report(request: Request, body: ReportWanted) -> Report | Refusal:
    """Report a user to the operators. An equal report within a day returns the first one.

    The reported user does not learn of it. A room is accepted if the caller may know of it.
    """
    reason = clean(body.reason)
    if not reason:
        return invalid(FieldError("reason", "must have a visible character"))
    if body.user_id == request.user_id:
        return invalid(FieldError("userId", "must be somebody else's"))
    if await find_user(request.context.postgres, body.user_id) is None:
        return Refusal(Code.NOT_FOUND, "No such user")
    if body.room_id is not None and not await may_know_room(request.context.postgres, body.room_id, request.user_id):
        return Refusal(Code.NOT_FOUND, "No such room")
    return await add_report(
        request.context.postgres,
        new_uuid(),
        request.user_id,
        body.user_id,
        body.room_id,
        reason,
        max_a_day=request.context.settings.limits.reports_per_day,
    )


@routes.get("/admin/reports", needs=Needs.OPERATOR, refuses=(Code.VALIDATION_FAILED,))
async def list_all(request: Request, query: ReportQuery) -> Listed[Report]:
    """The reports about all users or about one, newest first."""
    await request.note_read(*{query.user_id, query.reporter_id} - {None})
    found = await list_reports(
        request.context.postgres,
        query.page,
        user_id=query.user_id,
        reporter_id=query.reporter_id,
        since=query.since,
        until=query.until,
    )
    return request.listed(found, query)
