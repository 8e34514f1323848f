"""Operators: list and settle refunds and chargebacks at the payment provider."""

from functools import partial
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from domain.ids import UserId
from domain.refusals import Code, Refusal
from server.rest.decision import settlement_of
from server.rest.query import Listed, OperatorPeriodPaging
from server.rest.request import Request
from server.rest.responses import time_text
from server.rest.route import Needs, Routes
from storage.market.payment_settlements import Settlement
from storage.market.reversals import Reversal, find_reversal, list_reversals, release_reversal
from storage.paging import Paged

routes = Routes("/api/admin/reversals")


class ReversalsQuery(OperatorPeriodPaging, frozen=True, rename="camel"):
    """A filter of reversals; `open` ones wait for an operator, `expected` ones reverse uncredited payments."""

    status: Literal["open", "expected", "released"] | None = None


class ReversalCard(msgspec.Struct, frozen=True, rename="camel"):
    """A refund or chargeback, with its purchase and buyer if known, and the operator's decision if any.

    `state` is the provider's state of a chargeback, such as `needs_response`, `won` or `lost`.
    """

    reversal_id: UUID
    status: Literal["open", "expected", "released"]
    kind: Literal["refund", "chargeback"]
    provider: str
    provider_id: str
    event_id: str
    payment_intent: str
    purchase_id: UUID | None
    user_id: UserId | None
    amount_cents: int
    currency: str
    state: str
    created_at: str
    reason: str | None
    operator_id: UserId | None
    settled_at: str | None


class ReleaseWanted(msgspec.Struct, frozen=True, rename="camel"):
    """The decision and the reason. `release` unfreezes the buyer's wallet.

    To take the tokens back, an operator books a negative credit first.
    """

    action: Literal["release"]
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


@routes.get(needs=Needs.OPERATOR, refuses=(Code.VALIDATION_FAILED,))
async def list_reported_reversals(request: Request, query: ReversalsQuery) -> Listed[ReversalCard]:
    """The refunds and chargebacks that providers reported, newest first."""
    await request.note_read()
    found = await list_reversals(
        request.context.postgres, query.page, status=query.status, since=query.since, until=query.until
    )
    return request.listed(Paged([_card(reversal) for reversal in found.items], *found[1:]), query)


@routes.post(
    "/{reversalId}/settle",
    needs=Needs.OPERATOR,
    takes_key=True,
    serves_while_draining="none",
    refuses=(Code.VALIDATION_FAILED, Code.FORBIDDEN, Code.NOT_FOUND, Code.IDEMPOTENCY_CONFLICT),
)
async def settle_one_reversal(request: Request, reversal_id: UUID, body: ReleaseWanted) -> ReversalCard | Refusal:
    """Unfreeze the wallet that a refund or chargeback froze, unless another one keeps it frozen.

    Operators cannot unfreeze their own wallets. Repeating the decision changes nothing.
    """
    settlement = await settlement_of(request, body.action, body.reason, str(reversal_id))
    if isinstance(settlement, Refusal):
        return settlement
    refusal = await request.background_tasks.run(partial(_release, request, reversal_id, settlement))
    if refusal is not None:
        return refusal
    reversal = await find_reversal(request.context.postgres, reversal_id)
    assert reversal is not None, "reversals are never deleted"
    return _card(reversal)


async def _release(request: Request, reversal_id: UUID, settlement: Settlement) -> Refusal | None:
    released = await release_reversal(request.context.postgres, reversal_id, settlement)
    if isinstance(released, Refusal):
        return released
    await request.context.payments.count_open()
    return None


def _card(reversal: Reversal) -> ReversalCard:
    fields = msgspec.structs.asdict(reversal)
    fields["provider_id"], fields["payment_intent"] = fields.pop("reversal_id"), fields.pop("intent_id")
    fields["reversal_id"] = fields.pop("id")
    for name in ("created_at", "settled_at"):
        fields[name] = time_text(fields[name])
    return ReversalCard(**fields)
