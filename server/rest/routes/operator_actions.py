"""Operators: the log of operator actions on money and users."""

from uuid import UUID

from domain.refusals import Code
from server.rest.query import Listed, PeriodPaging
from server.rest.request import Request
from server.rest.route import Needs, Routes
from storage.people.operator_actions import ActionFilter, ActionName, KeptAction, list_actions

routes = Routes("/api/admin/actions")


class ActionQuery(PeriodPaging, frozen=True, rename="camel"):
    """A filter of actions by operator, target and kind."""

    operator_id: UUID | None = None
    target_id: UUID | None = None
    action: ActionName | None = None


@routes.get(needs=Needs.OPERATOR, refuses=(Code.VALIDATION_FAILED,))
async def list_kept(request: Request, query: ActionQuery) -> Listed[KeptAction]:
    """Credits, refunds, bans and settled payouts, payments and reversals, with operator, time and reason, newest first.

    An action is stored in the transaction of its effect and never changed or deleted. A refund of a call is one action
    for each block, and one more if `losses` advanced a part of it. Bans and lifted bans have no `tokens`. The audit
    verifies that every credit, refund and settlement has an action, and that every action has its effect.
    """
    wanted = ActionFilter(query.operator_id, query.target_id, query.action, query.since, query.until)
    return request.listed(await list_actions(request.context.postgres, query.page, wanted), query)
