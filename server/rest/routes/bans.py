"""Bans: operators exclude users from the service."""

from typing import Annotated

import msgspec

from domain.ids import UserId
from domain.instant import from_datetime
from domain.refusals import Code, Refusal
from domain.text import clean
from server.ids import new_uuid
from server.rest.query import Listed, Moment, OperatorPeriodPaging
from server.rest.request import Request
from server.rest.responses import invalid
from server.rest.route import Needs, Routes
from server.rest.strict_json import FieldError
from storage.people.bans import Ban, NewBan, add_ban, lift_ban, list_bans

routes = Routes("/api/admin/bans")


class BanWanted(msgspec.Struct, frozen=True, rename="camel"):
    """The user to ban, the reason, and the end; without `until` the ban does not end."""

    user_id: UserId
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    until: Moment | None = None


class BanLifted(msgspec.Struct, frozen=True, rename="camel"):
    """The user, who is not banned any more."""

    user_id: UserId
    banned: bool


@routes.post(needs=Needs.OPERATOR, status=201, refuses=(Code.VALIDATION_FAILED, Code.NOT_FOUND, Code.OVERLOADED))
async def ban(request: Request, body: BanWanted) -> Ban | Refusal:
    """Ban a user: end every call, stream and session of theirs and refuse new ones. Replaces an earlier ban.

    This server applies the ban before it answers, other servers within a second. Banned users may still see their
    wallet, ledger, purchases and payouts.
    """
    reason = clean(body.reason)
    if not reason:
        return invalid(FieldError("reason", "must have a visible character"))
    if body.user_id == request.user_id:
        return invalid(FieldError("userId", "must be somebody else's"))
    try:
        ends = None if body.until is None else from_datetime(body.until)
    except OverflowError:
        return invalid(FieldError("until", "is outside the calendar"))
    if ends is not None and ends <= request.context.clock.now():
        return invalid(FieldError("until", "must be in the future"))
    made = await add_ban(
        request.context.postgres, NewBan(new_uuid(), body.user_id, reason, request.user_id, body.until)
    )
    await request.context.bans.apply_changes()
    return made


@routes.delete("/{userId}", needs=Needs.OPERATOR)
async def lift(request: Request, user_id: UserId) -> BanLifted:
    """Lift the ban of a user. Idempotent, also for a user who is not banned."""
    await lift_ban(request.context.postgres, user_id, request.user_id)
    await request.context.bans.apply_changes()
    return BanLifted(user_id, False)


@routes.get(needs=Needs.OPERATOR, refuses=(Code.VALIDATION_FAILED,))
async def list_standing(request: Request, query: OperatorPeriodPaging) -> Listed[Ban]:
    """The bans in force, newest first; the period refers to when they were imposed."""
    await request.note_read()
    found = await list_bans(request.context.postgres, query.page, since=query.since, until=query.until)
    return request.listed(found, query)
