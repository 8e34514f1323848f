"""What operators did about money and people, for operators."""

from uuid import UUID

from domain.refusals import Code
from server.rest.query import Listed, PeriodPaging
from server.rest.request import Request
from server.rest.route import Needs, Routes
from storage.people.operator_actions import ActionFilter, ActionName, KeptAction, list_actions

routes = Routes("/api/admin/actions")


class ActionQuery(PeriodPaging, frozen=True, rename="camel"):
    """Whose actions, about whom, and of which kind."""

    operator_id: UUID | None = None
    target_id: UUID | None = None
    action: ActionName | None = None


@routes.get(needs=Needs.OPERATOR, refuses=(Code.VALIDATION_FAILED,))
async def list_kept(request: Request, query: ActionQuery) -> Listed[KeptAction]:
    """Credits, refunds, bans, settled payouts, payments and reversals: who did it, when and why, newest first.

    Each is written together with what it does, kept for ever and never changed. A refund of a call is one action for
    each block, and one more where `losses` advanced a part of it; bans and lifted bans have no `tokens`. The audit
    proves that each credit and refund, and each settlement, has its action, and each action what it is about.
    """
    wanted = ActionFilter(query.operator_id, query.target_id, query.action, query.since, query.until)
    return request.listed(await list_actions(request.context.postgres, query.page, wanted), query)
