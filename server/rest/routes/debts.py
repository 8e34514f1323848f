"""Operators: debts of creators from refunds that were advanced for them."""

from domain.ids import UserId
from domain.refusals import Code
from server.rest.query import Listed, OperatorPeriodPaging
from server.rest.request import Request
from server.rest.route import Needs, Routes
from storage.ledger.debts import Debt, DebtStatus, list_debts

routes = Routes("/api/admin/debts")


class DebtsQuery(OperatorPeriodPaging, frozen=True, rename="camel"):
    """A filter of debts by their status, their debtor and the time of the advance."""

    status: DebtStatus | None = None
    user_id: UserId | None = None


@routes.get(needs=Needs.OPERATOR, refuses=(Code.VALIDATION_FAILED,))
async def list_all_debts(request: Request, query: DebtsQuery) -> Listed[Debt]:
    """Refunds that their payees could not cover, newest first. The payee's next earnings repay them."""
    await request.note_read(query.user_id)
    found = await list_debts(
        request.context.postgres,
        query.page,
        status=query.status,
        user_id=query.user_id,
        since=query.since,
        until=query.until,
    )
    return request.listed(found, query)
