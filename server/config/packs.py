"""The settings of money: prices of token packs, the payment provider, payouts, and overlay tokens.

Prices are in cents, hundredths of the currency's unit, as the payment provider takes them.
"""

import math
from fractions import Fraction
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

Currency = Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]
Cents = Annotated[int, msgspec.Meta(ge=1, le=99_999_999)]  # the most that a card can be charged at once
PackId = Annotated[str, msgspec.Meta(pattern="^[a-z0-9_-]{1,40}$")]

# Currencies whose smallest unit is not a hundredth (ISO 4217): prices in cents would be wrong by a factor of 10 or 100.
WITHOUT_CENTS = frozenset(
    {"BHD", "BIF", "CLP", "DJF", "GNF", "IQD", "ISK", "JOD", "JPY", "KMF", "KRW", "KWD", "LYD", "MGA", "OMR", "PYG"}
    | {"RWF", "TND", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"}
)


class Pack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pack: a number of tokens and its price."""

    tokens: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
    price_cents: Cents


SMALL, MEDIUM, LARGE, HUGE = Pack(100, 699), Pack(500, 3_299), Pack(1_000, 6_299), Pack(5_000, 29_999)


class PackSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section `[packs]`: the packs on offer, by id. Raises ValueError for a currency without cents."""

    currency: Currency = "USD"
    offers: Annotated[dict[PackId, Pack], msgspec.Meta(max_length=50)] = msgspec.field(
        default_factory=lambda: {"small": SMALL, "medium": MEDIUM, "large": LARGE, "huge": HUGE}
    )

    def __hash__(self) -> int:  # the generated one would hash the dict
        return hash((self.currency, tuple(self.offers.items())))

    def __post_init__(self) -> None:
        if self.currency in WITHOUT_CENTS:
            raise ValueError(f"packs.currency must have cents, and {self.currency} has none")


class PaymentSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section `[payments]`: the address of the provider, and the pages that its checkout returns to.

    `max_event_bytes` bounds the body of the provider's webhook. Raises ValueError unless `stripe_url` is https, or http
    to 127.0.0.1 for tests.
    """

    success_url: str = "http://localhost:8000/"
    cancel_url: str = "http://localhost:8000/"
    stripe_url: str = "https://api.stripe.com"
    max_event_bytes: Annotated[int, msgspec.Meta(ge=65_536, le=16_777_216)] = 1_048_576

    def __post_init__(self) -> None:
        address = urlsplit(self.stripe_url)
        if address.scheme != "https" and (address.scheme, address.hostname) != ("http", "127.0.0.1"):
            raise ValueError("payments.stripe_url must be an https address: the secret key is sent there")


class PayoutSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section `[payouts]`: the value of a token and the terms of payouts.

    `losses_limit_tokens` is what the system wallet `losses` may advance in a UTC day for refunds that creators cannot
    cover. `exchange_rate` is the number of units of the payouts' currency for one unit of the packs' currency.
    """

    cents_per_token: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 5
    currency: Currency = "USD"
    min_tokens: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 1_000
    holding_days: Annotated[int, msgspec.Meta(ge=0, le=365)] = 0
    losses_limit_tokens: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)] = 100_000
    exchange_rate: Annotated[float, msgspec.Meta(ge=0, le=1_000_000_000)] = 0  # 0: both have the same currency

    def in_packs_currency(self, cents: int) -> int:
        """Convert cents of payouts to cents of the packs' currency, rounded up, so that no margin appears by rounding.

        Computed with fractions from the decimal text of the rate: a float would be off in its last digit.
        """
        rate = Fraction(str(self.exchange_rate)) or Fraction(1)
        return math.ceil(cents / rate)


class OverlaySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section `[overlays]`: limits of overlay tokens."""

    tokens_per_creator: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 10


def check_margin(packs: PackSettings, payouts: PayoutSettings) -> None:
    """Check the price of every pack against the payout of its tokens.

    Raises ValueError for a pack that costs no more: two users could buy it, pay each other and cash out with a profit.
    """
    _check_rate(packs.currency, payouts)
    for pack_id, pack in packs.offers.items():
        if pack.price_cents <= payouts.in_packs_currency(pack.tokens * payouts.cents_per_token):
            raise ValueError(f"packs.offers.{pack_id} must cost more than its tokens bring as a payout")


def _check_rate(currency: str, payouts: PayoutSettings) -> None:
    """Raise ValueError for different currencies without an exchange rate, and for equal ones with a rate."""
    if currency == payouts.currency and payouts.exchange_rate not in (0, 1):
        raise ValueError(f"payouts.exchange_rate must be 0: packs and payouts are both in {currency}")
    if currency != payouts.currency and payouts.exchange_rate == 0:
        raise ValueError(f"payouts.exchange_rate must say how many {payouts.currency} one {currency} is worth")
