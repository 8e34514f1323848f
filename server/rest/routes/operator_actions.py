"""Operators: the log of operator actions on money and users, and the record of their reads of personal data."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from domain.ids import UserId
from domain.refusals import Code
from server.rest.query import Listed, OperatorPeriodPaging
from server.rest.request import Request
from server.rest.route import Needs, Routes
from storage.people.operator_actions import ActionFilter, ActionName, KeptAction, list_actions
from storage.people.personal_reads import KeptRead, ReadFilter, list_reads

routes = Routes("/api/admin")


class ActionQuery(OperatorPeriodPaging, frozen=True, rename="camel"):
    """A filter of actions by operator, target and kind."""

    operator_id: UUID | None = None
    target_id: UUID | None = None
    action: ActionName | None = None


class CreditsQuery(OperatorPeriodPaging, frozen=True, rename="camel"):
    """A filter by operator and by the user whose balance changed."""

    operator_id: Annotated[UUID | None, Meta(description="Only actions of this operator.")] = None
    user_id: Annotated[UUID | None, Meta(description="Only actions on the balance of this user.")] = None


class ReadsQuery(OperatorPeriodPaging, frozen=True, rename="camel"):
    """A filter of reads by operator, user and route."""

    operator_id: Annotated[UUID | None, Meta(description="Only reads of this operator.")] = None
    user_id: Annotated[UUID | None, Meta(description="Only reads of this user's data.")] = None
    route: Annotated[
        Annotated[str, Meta(max_length=200)] | None,
        Meta(description="Only reads through this path, as this document names it.", examples=["/api/admin/users"]),
    ] = None


@routes.get("/actions", needs=Needs.OPERATOR, refuses=(Code.VALIDATION_FAILED,))
async def list_kept(request: Request, query: ActionQuery) -> Listed[KeptAction]:
    """Credits, refunds, bans and settled payouts, payments and reversals, with operator, time and reason, newest first.

    An action is stored in the transaction of its effect and never changed or deleted. A refund of a call is one action
    for each block, and one more if `losses` advanced a part of it. Bans and lifted bans have no `tokens`. The audit
    verifies that every credit, refund and settlement has an action, and that every action has its effect.
    """
    wanted = ActionFilter(query.operator_id, query.target_id, query.action, query.since, query.until)
    return await _actions(request, wanted, query)


@routes.get("/credits", needs=Needs.OPERATOR, refuses=(Code.VALIDATION_FAILED,))
async def list_credits(request: Request, query: CreditsQuery) -> Listed[KeptAction]:
    """The credits and corrections that operators booked, with operator, user and reason, newest first."""
    wanted = ActionFilter(query.operator_id, query.user_id, "credit", query.since, query.until)
    return await _actions(request, wanted, query)


@routes.get("/refunds", needs=Needs.OPERATOR, refuses=(Code.VALIDATION_FAILED,))
async def list_refunds(request: Request, query: CreditsQuery) -> Listed[KeptAction]:
    """The refunds that operators ordered, with operator, refunded user and reason, newest first.

    A refund of a call is one entry for each block. Refunds that follow from the rules, such as of the tickets of a
    stream that was not held, have no operator: they are in the ledgers of their users.
    """
    wanted = ActionFilter(query.operator_id, query.user_id, "refund", query.since, query.until)
    return await _actions(request, wanted, query)


@routes.get("/reads", needs=Needs.OPERATOR, refuses=(Code.VALIDATION_FAILED,))
async def list_kept_reads(request: Request, query: ReadsQuery) -> Listed[KeptRead]:
    """The reads of personal data by operators: operator, user, route and time, newest first.

    A read is recorded before its answer and never changed or deleted; a read that cannot be recorded is refused with
    STORAGE_UNAVAILABLE. Recorded are all requests of operators that list or show users' data, except this list.
    """
    wanted = ReadFilter(query.operator_id, query.user_id, query.route, query.since, query.until)
    return request.listed(await list_reads(request.context.postgres, query.page, wanted), query)


async def _actions(request: Request, wanted: ActionFilter, query: OperatorPeriodPaging) -> Listed[KeptAction]:
    """Return a page of actions, and record the read of the user that they are about."""
    await request.note_read(None if wanted.target_id is None else UserId(wanted.target_id))
    return request.listed(await list_actions(request.context.postgres, query.page, wanted), query)
