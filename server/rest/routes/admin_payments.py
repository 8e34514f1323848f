"""Operators: list and settle payments and purchases."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from domain.ids import UserId
from domain.refusals import Code, Refusal
from server.rest.decision import settlement_of
from server.rest.query import Listed, OperatorPeriodPaging
from server.rest.request import Request
from server.rest.responses import invalid, time_text
from server.rest.route import Needs, Routes
from server.rest.routes.tokens import PurchaseCard, card_of
from server.rest.strict_json import FieldError
from storage.market.payment_settlements import Settled, Settlement, settle_payment, settle_purchase
from storage.market.payments import Payment, find_payment, list_payments
from storage.market.purchases import Purchase, PurchaseFilter, find_purchase, list_purchases
from storage.paging import Paged

WALLET_FULL = invalid(FieldError("action", "cannot be carried out: the wallet cannot hold the tokens"))

routes = Routes("/api/admin")


class UserPurchasesQuery(OperatorPeriodPaging, frozen=True, rename="camel"):
    """A filter of purchases by status and time of creation; `paid_twice` are those with a second paid checkout."""

    status: Literal["pending", "paid", "failed", "expired", "review", "paid_twice"] | None = None


class PurchasesQuery(UserPurchasesQuery, frozen=True, rename="camel"):
    """A filter of the purchases of all users, or of one."""

    user_id: UserId | None = None


class PaymentsQuery(OperatorPeriodPaging, frozen=True, rename="camel"):
    """A filter of payments by purchase, status and time of the report; `open` ones wait for an operator."""

    status: Literal["accepted", "open", "rejected"] | None = None
    purchase_id: UUID | None = None


class PurchaseOfUser(PurchaseCard, frozen=True, rename="camel"):
    """A purchase with its buyer and its checkout.

    `paidTwice`: a second checkout was paid as well. `reversedAs`: the provider took the money back.
    """

    user_id: UserId
    provider: str
    checkout_id: str | None
    paid_twice: bool
    reversed_as: Literal["refund", "chargeback"] | None


class PaymentCard(msgspec.Struct, frozen=True, rename="camel"):
    """A payment that a provider reported, and the latest operator decision about it, if any.

    `problem` is the reason why it was not credited on arrival: `unknown` purchase, `wrong_amount` or currency,
    `paid_twice`, or `not_credited` if the wallet cannot hold the tokens. `reference` is what the provider reports as
    bought.
    """

    payment_id: UUID
    status: Literal["accepted", "open", "rejected"]
    problem: Literal["unknown", "wrong_amount", "paid_twice", "not_credited"] | None
    provider: str
    checkout_id: str
    event_id: str
    reference: str
    purchase_id: UUID | None
    user_id: UserId | None
    amount_cents: int | None
    currency: str
    created_at: str
    action: str | None
    reason: str | None
    operator_id: UserId | None
    settled_at: str | None


class SettlementWanted(msgspec.Struct, frozen=True, rename="camel"):
    """The decision and the reason. `credit` gives the buyer the tokens of the purchase.

    `reject` gives no tokens: the operator returns the money at the provider, or it belongs to another shop.
    """

    action: Literal["credit", "reject"]
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class PaymentSettlementWanted(SettlementWanted, frozen=True, rename="camel"):
    """The decision and the reason; `purchaseId` names the paid purchase, for a payment of an unknown purchase."""

    purchase_id: UUID | None = None


@routes.get("/purchases", needs=Needs.OPERATOR, refuses=(Code.VALIDATION_FAILED,))
async def list_purchases_of_all(request: Request, query: PurchasesQuery) -> Listed[PurchaseOfUser]:
    """The purchases of all users, or of one, newest first."""
    await request.note_read(query.user_id)
    return await purchases_of(request, query.user_id, query)


async def purchases_of(request: Request, user_id: UserId | None, query: UserPurchasesQuery) -> Listed[PurchaseOfUser]:
    """Return a page of one user's purchases, or of all users'. Raises BadCursor, StorageUnavailable."""
    wanted = PurchaseFilter(user_id, query.status, query.since, query.until)
    found = await list_purchases(request.context.postgres, query.page, wanted)
    return request.listed(Paged([_purchase_card(purchase) for purchase in found.items], *found[1:]), query)


@routes.get("/payments", needs=Needs.OPERATOR, refuses=(Code.VALIDATION_FAILED,))
async def list_reported_payments(request: Request, query: PaymentsQuery) -> Listed[PaymentCard]:
    """The payments that providers reported, credited or not, newest first."""
    await request.note_read()
    found = await list_payments(
        request.context.postgres,
        query.page,
        status=query.status,
        purchase_id=query.purchase_id,
        since=query.since,
        until=query.until,
    )
    return request.listed(Paged([_payment_card(payment) for payment in found.items], *found[1:]), query)


SETTLING = (
    Code.VALIDATION_FAILED,
    Code.FORBIDDEN,
    Code.NOT_FOUND,
    Code.PAYMENT_SETTLED,
    Code.IDEMPOTENCY_CONFLICT,
)


@routes.post(
    "/payments/{paymentId}/settle", needs=Needs.OPERATOR, takes_key=True, serves_while_draining="none", refuses=SETTLING
)
async def settle_one_payment(
    request: Request, payment_id: UUID, body: PaymentSettlementWanted
) -> PaymentCard | Refusal:
    """Credit the purchase of a payment that was not credited, or reject the payment.

    A purchase is credited once, regardless of further reports and decisions. Repeating a decision changes nothing.
    """
    settlement = await settlement_of(request, body.action, body.reason, str(payment_id), str(body.purchase_id))
    if isinstance(settlement, Refusal):
        return settlement
    work = partial(settle_payment, request.context.postgres, payment_id, settlement, body.purchase_id)
    settled = await request.background_tasks.run(partial(_settle, request, settlement, work))
    if isinstance(settled, Refusal):
        return settled
    payment = await find_payment(request.context.postgres, payment_id)
    assert payment is not None, "payments are never deleted"
    return _payment_card(payment)


@routes.post(
    "/purchases/{purchaseId}/settle",
    needs=Needs.OPERATOR,
    takes_key=True,
    serves_while_draining="none",
    refuses=SETTLING,
)
async def settle_one_purchase(request: Request, purchase_id: UUID, body: SettlementWanted) -> PurchaseOfUser | Refusal:
    """Credit a purchase whose payment was not credited or never reported, or reject all its open payments.

    A purchase is credited once, regardless of further reports and decisions. Repeating a decision changes nothing.
    """
    settlement = await settlement_of(request, body.action, body.reason, str(purchase_id))
    if isinstance(settlement, Refusal):
        return settlement
    work = partial(settle_purchase, request.context.postgres, purchase_id, settlement)
    settled = await request.background_tasks.run(partial(_settle, request, settlement, work))
    if isinstance(settled, Refusal):
        return settled
    purchase = await find_purchase(request.context.postgres, purchase_id)
    assert purchase is not None, "purchases are never deleted"
    return _purchase_card(purchase)


async def _settle(
    request: Request, settlement: Settlement, decide: Callable[[], Awaitable[Settled | Refusal]]
) -> Settled | Refusal:
    """Store the decision, then credit an accepted purchase; after a crash in between, maintenance credits it."""
    settled, payments = await decide(), request.context.payments
    if isinstance(settled, Refusal):
        return settled
    if settled.is_new:
        request.context.metrics.payments.labels(f"{settlement.action}ed_by_operator").inc()
    if settlement.action == "credit":
        assert settled.purchase is not None, "only purchases are credited"
        if await payments.credit(settled.purchase) == "not_credited":
            return WALLET_FULL
    await payments.count_open()
    return settled


def _purchase_card(purchase: Purchase) -> PurchaseOfUser:
    return PurchaseOfUser(
        **msgspec.structs.asdict(card_of(purchase)),
        user_id=purchase.user_id,
        provider=purchase.provider,
        checkout_id=purchase.checkout_id,
        paid_twice=purchase.paid_twice,
        reversed_as=purchase.reversed_as,
    )


def _payment_card(payment: Payment) -> PaymentCard:
    fields = msgspec.structs.asdict(payment)
    fields["payment_id"] = fields.pop("id")
    for name in ("created_at", "settled_at"):
        fields[name] = time_text(fields[name])
    return PaymentCard(**fields)
