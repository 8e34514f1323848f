"""The webhook of the payment provider, and the checkout page of the demo."""

from functools import partial
from uuid import UUID

import msgspec
import structlog

from domain.refusals import Code, Refusal
from server.context import Context
from server.money.payments.demo import POLICY, page
from server.money.payments.provider import EventRefused, EventUnreadable, PaymentEvent, ReversalEvent
from server.rest.request import Request
from server.rest.responses import Plain
from server.rest.route import Needs, Routes
from storage.market.purchases import Purchase, find_purchase

NO_DEMO = Refusal(Code.NOT_FOUND, "No such path")
HTML = "text/html; charset=utf-8"

log = structlog.get_logger(__name__)
routes = Routes("/api/payments")


class Heard(msgspec.Struct, frozen=True, rename="camel"):
    """Acknowledges an event, so that the provider does not send it again."""

    received: bool = True


@routes.post(
    "/webhook/stripe",
    needs=Needs.ANYONE,
    refuses=(Code.FORBIDDEN,),
    serves_while_draining="none",
    proofs=(("Stripe-Signature",),),
)
async def receive_stripe_event(request: Request) -> Heard | Refusal:
    """Receive a signed event of Stripe. Each event and each purchase is credited once.

    An event of another type is acknowledged and ignored. A payment of an unknown purchase, of another amount than
    agreed, or the second one of a purchase is acknowledged, moves no tokens and is kept for an operator to settle. A
    refund or chargeback freezes the wallet that the payment was credited to, until an operator releases it.
    """
    stripe = request.context.payments.stripe
    if stripe is None:
        return Refusal(Code.FORBIDDEN, "Stripe is not configured here")
    try:
        event = stripe.read_event(
            request.raw, request.headers.get("Stripe-Signature", ""), request.context.clock.now() / 1_000_000
        )
    except EventUnreadable as unreadable:  # it is signed, so it may be about a real payment
        log.error("payment.event_unreadable", reason=str(unreadable))
        request.context.metrics.payments.labels("unreadable").inc()
        return Refusal(Code.FORBIDDEN, str(unreadable))
    except EventRefused as refused:
        log.warning("payment.event_refused", reason=str(refused))
        request.context.metrics.payments.labels("refused").inc()
        return Refusal(Code.FORBIDDEN, str(refused))
    if event is not None:
        await _settle(request, stripe.name, event)
    return Heard()


@routes.get("/demo/{purchaseId}", needs=Needs.ANYONE, refuses=(Code.NOT_FOUND,), media=HTML)
async def show_demo_checkout(request: Request, purchase_id: UUID) -> Plain | Refusal:
    """The checkout page of the demo; only with `serve --demo` on a loopback address, else NOT_FOUND."""
    purchase = await _demo_purchase(request.context, purchase_id)
    return NO_DEMO if purchase is None else _checkout_page(request, purchase)


@routes.post("/demo/{purchaseId}", needs=Needs.ANYONE, refuses=(Code.NOT_FOUND,), media=HTML)
async def pay_demo_checkout(request: Request, purchase_id: UUID) -> Plain | Refusal:
    """Mark a purchase of the demo as paid, without money, and show its page again."""
    demo, purchase = request.context.payments.demo, await _demo_purchase(request.context, purchase_id)
    if demo is None or purchase is None:
        return NO_DEMO
    await _settle(request, demo.name, demo.paid(purchase))
    paid = await find_purchase(request.context.postgres, purchase_id)
    assert paid is not None, "purchases are never deleted"
    return _checkout_page(request, paid)


def _checkout_page(request: Request, purchase: Purchase) -> Plain:
    request.answer_headers["Content-Security-Policy"] = POLICY
    return Plain(page(purchase, request.headers.get("Accept-Language", "")).encode(), HTML)


async def _settle(request: Request, provider: str, event: PaymentEvent | ReversalEvent) -> None:
    """Carry out an event in the background, so that it completes even if the sender disconnects."""
    payments = request.context.payments
    if isinstance(event, ReversalEvent):
        await request.background_tasks.run(partial(payments.reverse, provider, event))
    else:
        await request.background_tasks.run(partial(payments.settle, provider, event))


async def _demo_purchase(context: Context, purchase_id: UUID) -> Purchase | None:
    demo = context.payments.demo
    purchase = None if demo is None else await find_purchase(context.postgres, purchase_id)
    return purchase if purchase is not None and demo is not None and purchase.provider == demo.name else None
