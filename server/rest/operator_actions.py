"""What operators did about money and people, for operators."""

from uuid import UUID

from domain.refusals import Code
from server.rest.query import Listed, Paging
from server.rest.request import Ask
from server.rest.route import Needs, Routes
from storage.operator_actions import KeptAction, list_actions

routes = Routes("/api/admin/actions")


class ActionQuery(Paging, frozen=True, rename="camel"):
    """Whose actions, and about whom."""

    operator_id: UUID | None = None
    target_id: UUID | None = None


@routes.get(needs=Needs.OPERATOR, refuses=(Code.VALIDATION_FAILED,))
async def list_kept(ask: Ask, query: ActionQuery) -> Listed[KeptAction]:
    """Credits, refunds, bans, settled payouts and purchases, frozen wallets: who did it, when and why, newest first.

    Actions are kept for ever and cannot be changed.
    """
    found = await list_actions(ask.house.postgres, query.page, operator_id=query.operator_id, target_id=query.target_id)
    return ask.listed(found, query)
