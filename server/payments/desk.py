"""From a purchase to its tokens: which provider takes the money, and what its events do.

An event may come late, twice, or before another; a purchase is credited under one key, whatever tells that it is paid.
A payment that fits no purchase of ours, or is not of the agreed amount, moves nothing: it is acknowledged, since asking
again would not change it, and logged and counted for a person to look at.
"""

from uuid import UUID

import structlog

from domain.ids import TOKEN_SALES, purchase_key
from domain.posting import Kind, Posting
from server.market_settings import PaymentSettings
from server.payments.demo import Demo
from server.payments.provider import PaymentEvent, Provider, ProviderAway
from server.payments.stripe import Stripe
from server.telemetry import Telemetry
from storage.actor import StorageActor
from storage.postgres import Postgres
from storage.purchases import Purchase, close_purchase, find_purchase, mark_paid, note_checkout

log = structlog.get_logger(__name__)


class PaymentDesk:
    """Knows the providers, and books what they tell."""

    def __init__(
        self,
        postgres: Postgres,
        actor: StorageActor,
        telemetry: Telemetry,
        settings: PaymentSettings,
        stripe_secret_key: str | None,
        stripe_webhook_secret: str | None,
    ) -> None:
        self._postgres = postgres
        self._actor = actor
        self._telemetry = telemetry
        self.demo: Demo | None = None
        self.stripe: Stripe | None = None
        if stripe_secret_key is not None and stripe_webhook_secret is not None:
            self.stripe = Stripe(settings, secret_key=stripe_secret_key, webhook_secret=stripe_webhook_secret)

    def open_demo(self, house_url: str) -> None:
        """From here on nobody is charged, whatever other provider is configured."""
        self.demo = Demo(house_url)

    @property
    def provider(self) -> Provider | None:
        """Who makes new checkouts; None where nothing can be bought."""
        return self.demo or self.stripe

    async def check_out(self, purchase: Purchase) -> Purchase:
        """The purchase with its checkout, from the provider with whom it began. Raises ProviderAway."""
        if purchase.status != "pending" or purchase.checkout_url is not None:
            return purchase
        provider = next((each for each in (self.demo, self.stripe) if each and each.name == purchase.provider), None)
        if provider is None:
            raise ProviderAway("its provider is not configured any more")
        checkout = await provider.check_out(purchase)
        return await note_checkout(self._postgres, purchase.id, checkout.id, checkout.url)

    async def settle(self, provider: str, event: PaymentEvent) -> None:
        """Do what an event says, once. Raises StorageUnavailable, and the event is then to be sent again."""
        purchase = await self._find(provider, event.purchase_id)
        if purchase is None:
            self._complain("unknown", event)
        elif event.outcome == "paid":
            await self._take_money(purchase, event)
        else:
            await close_purchase(self._postgres, purchase.id, event.outcome)
            self._count(event.outcome)

    async def _find(self, provider: str, purchase_id: UUID | None) -> Purchase | None:
        purchase = None if purchase_id is None else await find_purchase(self._postgres, purchase_id)
        return purchase if purchase is not None and purchase.provider == provider else None

    async def _take_money(self, purchase: Purchase, event: PaymentEvent) -> None:
        if (event.amount_cents, event.currency) != (purchase.price_cents, purchase.currency):
            self._complain("wrong_amount", event)
            await close_purchase(self._postgres, purchase.id, "review")
        elif purchase.status == "paid":
            if purchase.checkout_id == event.checkout_id:
                self._count("repeated")
            else:  # two checkouts of one purchase, and both were paid: one of them is to be paid back
                self._complain("paid_twice", event)
        else:
            await self._credit(purchase, event)

    async def _credit(self, purchase: Purchase, event: PaymentEvent) -> None:
        receipt = (await self._actor.post([_posting(purchase)]))[0]
        if receipt.paid:
            await mark_paid(self._postgres, purchase.id, event.checkout_id)
            self._count("credited")
        else:  # more than the wallet can hold
            self._complain("not_credited", event)
            await close_purchase(self._postgres, purchase.id, "review")

    def _complain(self, what: str, event: PaymentEvent) -> None:
        log.error(f"payment.{what}", event_id=event.id, checkout=event.checkout_id, purchase=str(event.purchase_id))
        self._count(what)

    def _count(self, what: str) -> None:
        self._telemetry.payments.labels(what).inc()


def _posting(purchase: Purchase) -> Posting:
    return Posting(
        key=purchase_key(purchase.provider, purchase.id),
        kind=Kind.PURCHASE,
        debit=TOKEN_SALES,
        credit=purchase.user_id,
        tokens=purchase.tokens,
        ref_id=purchase.id,
    )
