"""The interface of payment providers, their events and their errors.

A provider charges the buyer on its own page (a checkout) and reports the outcome later by a webhook. Card data never
reaches this server. Amounts are in cents of the purchase's currency.
"""

from typing import Literal, NamedTuple, Protocol
from uuid import UUID

from storage.market.purchases import Purchase


class Checkout(NamedTuple):
    """A checkout: the provider's id of it, and the page where the buyer pays."""

    id: str
    url: str


class PaymentEvent(NamedTuple):
    """The outcome of a checkout, the purchase that it names, and the charged amount.

    Nothing in it is trusted beyond the provider's signature: the service compares it with the stored purchase. `id` is
    the provider's id of the event, by which a repeated event is recognised.
    """

    id: str
    outcome: Literal["paid", "failed", "expired"]
    checkout_id: str
    purchase_id: UUID | None
    amount_cents: int
    currency: str  # ISO 4217, in capitals
    reference: str  # the provider's reference: the purchase id, or the order of another shop
    intent_id: str = ""  # the provider's id of the payment, which refunds and chargebacks refer to


class ReversalEvent(NamedTuple):
    """A refund or chargeback: the provider returned the money of a payment to its buyer, or may do so.

    One reversal may be reported by several events with different states.
    """

    id: str
    kind: Literal["refund", "chargeback"]
    reversal_id: str  # of the refunded charge, or of the chargeback
    intent_id: str
    purchase_id: UUID | None  # if the event has it
    amount_cents: int
    currency: str
    state: str  # as the provider reports it


class ProviderUnavailable(Exception):
    """The provider made no checkout: it is unreachable or refused. The same purchase may be tried again."""


class EventRefused(Exception):
    """An event has no valid and recent signature of the provider. It is answered 403 and counted by address."""


class EventUnreadable(EventRefused):
    """An event is signed by the provider and cannot be decoded: its format has changed, or this code is wrong."""


class Provider(Protocol):
    """A payment provider that makes checkouts; its events arrive at its own webhook."""

    @property
    def name(self) -> str:
        """Return the name under which purchases store their provider."""
        ...

    async def check_out(self, purchase: Purchase) -> Checkout:
        """Make a checkout for a purchase; a repeated call returns the same one. Raises ProviderUnavailable.

        Cancelled, the provider may have made the checkout; the next call then returns it.
        """
