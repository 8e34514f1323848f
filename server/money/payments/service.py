"""The payment service: makes checkouts for purchases, carries out the provider's events, and credits the tokens.

Events may arrive late, repeated or out of order, so a purchase is credited under one posting key. A payment of an
unknown purchase, of another amount than agreed, or the second one of a purchase moves no tokens: it is acknowledged,
since a repeat would not change it, and kept, logged and counted until an operator settles it.

REST routes make the checkouts and receive the webhooks. Maintenance calls `reconcile`.
"""

from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from domain.billing.posting import Kind, Posting
from domain.ids import TOKEN_SALES, purchase_key
from server.config.packs import PaymentSettings
from server.ids import new_uuid
from server.money.payments.demo import Demo
from server.money.payments.provider import PaymentEvent, Provider, ProviderUnavailable, ReversalEvent
from server.observability.metrics import Metrics
from storage.ledger.actor import StorageActor
from storage.market.payments import PROBLEMS, Reported, count_open_payments, record_payment, withdraw_acceptance
from storage.market.purchases import (
    Purchase,
    close_purchase,
    find_purchase,
    mark_paid,
    note_checkout,
    purchases_to_credit,
)
from storage.market.reversals import ReversalReported, count_open_reversals, record_reversal
from storage.postgres import Postgres

if TYPE_CHECKING:
    from server.money.payments.stripe import Stripe

log = structlog.get_logger(__name__)


class PaymentService:
    """Owns the payment providers and books the events that they report.

    `stripe` is None without both of its secrets, and `demo` is None until `open_demo`.
    """

    def __init__(
        self,
        postgres: Postgres,
        actor: StorageActor,
        metrics: Metrics,
        settings: PaymentSettings,
        stripe_secret_key: str | None,
        stripe_webhook_secret: str | None,
    ) -> None:
        self._postgres = postgres
        self._actor = actor
        self._metrics = metrics
        self.demo: Demo | None = None
        self.stripe: Stripe | None = None
        if stripe_secret_key is not None and stripe_webhook_secret is not None:
            from server.money.payments import stripe  # takes half a second, and few servers need it

            self.stripe = stripe.Stripe(settings, secret_key=stripe_secret_key, webhook_secret=stripe_webhook_secret)

    async def aclose(self) -> None:
        """Close the connections to the providers; the last step of a drain."""
        if self.stripe is not None:
            await self.stripe.aclose()

    def open_demo(self, api_url: str) -> None:
        """Make all later checkouts with the demo provider, which charges nobody; `api_url` is its base URL."""
        self.demo = Demo(api_url)

    @property
    def provider(self) -> Provider | None:
        """Return the provider of new checkouts, or None if none is configured."""
        return self.demo or self.stripe

    async def check_out(self, purchase: Purchase) -> Purchase:
        """Return the purchase with its checkout, made by the provider that the purchase started with.

        A purchase that has a checkout, or is not pending, is returned unchanged. Raises ProviderUnavailable, also if
        that provider is not configured any more, and StorageUnavailable; a repeat then finds the same checkout.
        """
        if purchase.status != "pending" or purchase.checkout_url is not None:
            return purchase
        provider = next((each for each in (self.demo, self.stripe) if each and each.name == purchase.provider), None)
        if provider is None:
            raise ProviderUnavailable("its provider is not configured any more")
        checkout = await provider.check_out(purchase)
        return await note_checkout(self._postgres, purchase.id, checkout.id, checkout.url)

    async def settle(self, provider: str, event: PaymentEvent) -> None:
        """Carry out a payment event, once. Raises StorageUnavailable: the provider must then send the event again.

        A payment is stored whatever its outcome, and credited if it is as agreed. A failed or expired checkout closes
        its purchase. Every event is counted by its outcome.
        """
        if event.outcome == "paid":
            await self._book_payment(provider, event)
        elif (purchase := await self._find(provider, event.purchase_id)) is not None:
            await close_purchase(self._postgres, purchase.id, event.outcome)
            self._count(event.outcome)
        else:  # nothing was paid, so an operator has nothing to settle
            self._count("unknown_checkout")

    async def reverse(self, provider: str, event: ReversalEvent) -> None:
        """Store a refund or chargeback, and freeze the wallet that its payment was credited to.

        A reversal of a purchase that was not credited is stored as `expected` and freezes nothing. One of an unknown
        purchase waits for an operator. Idempotent. Raises StorageUnavailable.
        """
        reported = ReversalReported(
            id=new_uuid(),
            provider=provider,
            kind=event.kind,
            reversal_id=event.reversal_id,
            event_id=event.id,
            intent_id=event.intent_id,
            purchase_id=event.purchase_id,
            amount_cents=event.amount_cents,
            currency=event.currency,
            state=event.state,
        )
        kept = await record_reversal(self._postgres, reported)
        if not kept.is_new:
            self._count("repeated")
        elif kept.status == "expected":
            self._count("expected_reversal")
        else:
            purchase = None if kept.purchase is None else str(kept.purchase.id)
            log.error("payment.reversed", kind=event.kind, event_id=event.id, purchase=purchase, state=event.state)
            self._count(event.kind)
        await self.count_open()

    async def credit(self, purchase: Purchase) -> str:
        """Book an accepted purchase, once under its posting key.

        Returns `credited`, `repeated` if it was credited before, or `not_credited` if the wallet is too full:
        such a purchase waits for an operator. Raises StorageUnavailable.
        """
        if purchase.status == "paid":
            return "repeated"
        posting = _posting(purchase)
        receipt = (await self._actor.post([posting]))[0]
        if receipt.paid:
            return "credited" if await mark_paid(self._postgres, purchase.id) else "repeated"
        await withdraw_acceptance(self._postgres, purchase.id, posting.key)  # more than the wallet can hold
        return "not_credited"

    async def reconcile(self) -> None:
        """Credit accepted purchases that a stopped server left, and update the gauges. Raises StorageUnavailable."""
        for purchase in await purchases_to_credit(self._postgres):
            outcome = await self.credit(purchase)
            log.info("payment.finished", purchase=str(purchase.id), outcome=outcome)
            self._count(outcome)
        await self.count_open()

    async def count_open(self) -> None:
        """Update the gauges of payments and reversals that wait for operators. Raises StorageUnavailable."""
        self._metrics.payments_open(await count_open_payments(self._postgres))
        self._metrics.reversals_open.set(await count_open_reversals(self._postgres))

    async def _find(self, provider: str, purchase_id: UUID | None) -> Purchase | None:
        """The purchase, if it belongs to this provider: one provider's event must not close another's checkout."""
        purchase = None if purchase_id is None else await find_purchase(self._postgres, purchase_id)
        return purchase if purchase is not None and purchase.provider == provider else None

    async def _book_payment(self, provider: str, event: PaymentEvent) -> None:
        """Store a reported payment, credit it if it has no problem, and count the outcome."""
        verdict = await record_payment(self._postgres, _reported(provider, event))
        outcome = verdict.problem
        if outcome is None:
            assert verdict.purchase is not None, "an accepted payment has a purchase"
            outcome = await self.credit(verdict.purchase)
        elif not verdict.is_new:
            outcome = "repeated"
        if outcome in PROBLEMS:
            self._report_problem(outcome, event)
        else:
            self._count(outcome)
        await self.count_open()

    def _report_problem(self, problem: str, event: PaymentEvent) -> None:
        """Log a payment that was not credited, at level error, since an operator must settle it."""
        log.error(f"payment.{problem}", event_id=event.id, checkout=event.checkout_id, purchase=str(event.purchase_id))
        self._count(problem)

    def _count(self, outcome: str) -> None:
        self._metrics.payments.labels(outcome).inc()


def _reported(provider: str, event: PaymentEvent) -> Reported:
    return Reported(
        id=new_uuid(),
        provider=provider,
        checkout_id=event.checkout_id,
        event_id=event.id,
        reference=event.reference,
        purchase_id=event.purchase_id,
        amount_cents=event.amount_cents,
        currency=event.currency,
        intent_id=event.intent_id,
    )


def _posting(purchase: Purchase) -> Posting:
    return Posting(
        key=purchase_key(purchase.provider, purchase.id),
        kind=Kind.PURCHASE,
        debit=TOKEN_SALES,
        credit=purchase.user_id,
        tokens=purchase.tokens,
        ref_id=purchase.id,
    )
