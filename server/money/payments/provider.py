"""What every payment provider does for us, and what it may fail at."""

from typing import Literal, NamedTuple, Protocol
from uuid import UUID

from storage.market.purchases import Purchase


class Checkout(NamedTuple):
    """Where a buyer pays, and the provider's name of it."""

    id: str
    url: str


class PaymentEvent(NamedTuple):
    """What became of a checkout; whose purchase it says it is, and what was charged."""

    id: str
    outcome: Literal["paid", "failed", "expired"]
    checkout_id: str
    purchase_id: UUID | None
    amount_cents: int
    currency: str  # ISO 4217, in capitals
    reference: str  # what the provider says was bought: the purchase's id, or another shop's order
    intent_id: str = ""  # the provider's name of the payment itself, by which it names refunds and chargebacks


class ReversalEvent(NamedTuple):
    """The provider took the money of a payment back, or may do so, for its buyer."""

    id: str
    kind: Literal["refund", "chargeback"]
    reversal_id: str  # of the refunded charge, or of the chargeback
    intent_id: str
    purchase_id: UUID | None  # where the event says it
    amount_cents: int
    currency: str
    state: str  # in the provider's words


class ProviderUnavailable(Exception):
    """The provider made no checkout: it is out of reach, or would not; the same purchase may be tried again."""


class EventRefused(Exception):
    """What came to the webhook is not what the provider signed, or not lately."""


class EventUnreadable(EventRefused):
    """The provider signed it, and it is not in a shape that we know."""


class Provider(Protocol):
    """One payment provider, as who buys meets it; what it tells us comes to its own webhook."""

    @property
    def name(self) -> str: ...

    async def check_out(self, purchase: Purchase) -> Checkout:
        """A checkout for this purchase; asked again, the same one. Raises ProviderUnavailable."""
