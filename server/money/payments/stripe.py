"""Stripe: makes Checkout Sessions with the stripe package, and verifies and decodes signed events.

Events are decoded by structs of our own with only the fields that are needed: a webhook has the API version of the
account's settings, so its other fields may change at any time.
"""

import hashlib
import hmac
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import msgspec
import stripe
import structlog
import trio

from server.access.webhook_signatures import MAX_SIGNATURES, is_recent
from server.config.packs import PaymentSettings
from server.money.payments.provider import (
    Checkout,
    EventRefused,
    EventUnreadable,
    PaymentEvent,
    ProviderUnavailable,
    ReversalEvent,
)
from storage.market.purchases import Purchase

# Pinned, so that a new default of the account changes neither requests nor answers.
API_VERSION = "2025-06-30.basil"
ANSWER_SECONDS = 2.5  # of one try; all tries end within a REST request
RETRY_SECONDS = (0.2, 0.5)  # between tries after a conflict of keys or a rate limit
PASSING = (HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS)
CONNECTIONS = 8  # at once: more buyers wait, so that a slow provider holds few sockets
MAX_CENTS = 10**15  # of one payment: more than there is, and fits the database's integers

if TYPE_CHECKING:
    from stripe.params.checkout import SessionCreateParams

log = structlog.get_logger(__name__)
stripe.enable_telemetry = False  # requests would carry how long earlier ones took


# Stripe's ids have at most 255 characters, and a client_reference_id 200; U+0000 is what PostgreSQL cannot store.
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"^[^\u0000]+$")]

Cents = Annotated[int, msgspec.Meta(ge=0, le=MAX_CENTS)]
Currency = Annotated[str, msgspec.Meta(pattern="^[A-Za-z]{3,16}$")]


class _Session(msgspec.Struct):
    """The fields of a Checkout Session that are read from events."""

    id: Id
    client_reference_id: Id | None = None
    metadata: dict[str, str] | None = None
    payment_status: str = "unpaid"
    amount_total: Cents | None = None
    currency: Currency | None = None
    payment_intent: Any = None

    @property
    def reference(self) -> str:
        """Return the purchase id, which Stripe has in two places."""
        return self.client_reference_id or (self.metadata or {}).get("purchase_id", "")[:255].replace("\0", "")


class _EventData(msgspec.Struct):
    """`data` of an event about a Checkout Session."""

    object: _Session


class _Reversed(msgspec.Struct):
    """The fields of a refunded charge or of a dispute that are read from events."""

    id: Id
    payment_intent: Any = None  # an id, or the expanded object
    metadata: dict[str, str] | None = None
    amount: Cents = 0
    amount_refunded: Cents | None = None
    currency: Currency | None = None
    status: Annotated[str, msgspec.Meta(max_length=40)] = ""


class _ReversedData(msgspec.Struct):
    """`data` of an event about a charge or a dispute."""

    object: _Reversed


class _Event(msgspec.Struct):
    """The envelope that all events of Stripe share."""

    id: Id
    type: str
    data: msgspec.Raw = msgspec.Raw(b"{}")  # decoded only for known types: others have other shapes


class Stripe:
    """One Stripe account: its secret key makes checkouts, its webhook secret verifies events.

    Its HTTP client keeps connections open until `aclose`.
    """

    name = "stripe"

    def __init__(self, settings: PaymentSettings, *, secret_key: str, webhook_secret: str) -> None:
        self._settings = settings
        self._webhook_secret = webhook_secret.encode()
        self._http = stripe.HTTPXClient(timeout=ANSWER_SECONDS)
        self._client = stripe.StripeClient(
            secret_key,
            http_client=self._http,
            base_addresses={"api": settings.stripe_url.rstrip("/")},
            stripe_version=API_VERSION,
            max_network_retries=0,  # it would not retry TOO_MANY_REQUESTS, and its pauses are longer than a buyer waits
        )
        self._limiter = trio.CapacityLimiter(CONNECTIONS)

    async def check_out(self, purchase: Purchase) -> Checkout:
        """Make a Checkout Session under the purchase's id, so that a repeat finds the same one.

        Redirects are not followed: the secret goes to the configured address or nowhere. Raises ProviderUnavailable
        after a refusal, without an answer in ANSWER_SECONDS, and where Stripe is still busy after RETRY_SECONDS.
        """
        for pause in (*RETRY_SECONDS, None):
            try:
                session = await self._create_session(purchase)
            except (stripe.APIConnectionError, trio.TooSlowError) as error:
                log.warning("stripe.away", reason=type(error.__cause__ or error).__name__)
                raise ProviderUnavailable(type(error).__name__) from error
            except stripe.StripeError as error:
                if error.http_status not in PASSING or pause is None:
                    log.error("stripe.refused", purchase=str(purchase.id), status=error.http_status, **_fault(error))
                    raise ProviderUnavailable(f"HTTP status {error.http_status}") from error
                await trio.sleep(pause)
            else:
                return _checkout(session)
        raise AssertionError("the last try has no pause")

    async def aclose(self) -> None:
        """Close the connections that are kept open."""
        await self._http.close_async()  # type: ignore[no-untyped-call]  # reason: the package does not annotate it

    async def _create_session(self, purchase: Purchase) -> stripe.checkout.Session:
        """Send one request. Raises TooSlowError after ANSWER_SECONDS, the wait for a free connection included."""
        options: stripe.RequestOptions = {"idempotency_key": str(purchase.id)}
        with trio.fail_after(ANSWER_SECONDS):
            async with self._limiter:
                return await self._client.v1.checkout.sessions.create_async(_fields(purchase, self._settings), options)

    def read_event(self, raw: bytes, signature: str, now: float) -> PaymentEvent | ReversalEvent | None:
        """Verify and decode an event that arrived at `now` (unix seconds); return None for an event without effect.

        `raw` is the body as it was received, since the signature covers its bytes. `signature` is the header
        `Stripe-Signature`. Raises EventRefused, EventUnreadable. Never waits.
        """
        if not self._is_signed(raw, signature, now):
            raise EventRefused("The signature does not hold")
        try:
            event = msgspec.json.decode(raw, type=_Event)
            if event.type in _REVERSALS:
                return _reversal(event, msgspec.json.decode(event.data, type=_ReversedData).object)
            outcome = _OUTCOMES.get(event.type)
            if outcome is None:
                return None
            session = msgspec.json.decode(event.data, type=_EventData).object
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise EventUnreadable("The event cannot be read") from error
        if outcome == "paid" and session.payment_status == "unpaid":  # a delayed payment method: another event follows
            return None
        return PaymentEvent(
            id=event.id,
            outcome=outcome,
            checkout_id=session.id,
            purchase_id=_uuid(session.reference),
            amount_cents=session.amount_total or 0,
            currency=(session.currency or "").upper(),
            reference=session.reference,
            intent_id=_intent(session.payment_intent),
        )

    def _is_signed(self, raw: bytes, header: str, now: float) -> bool:
        """Whether the header `t=…,v1=…` has the HMAC-SHA256 of the time, a dot and the body; one signature suffices.

        Stripe sends several signatures while a secret is being rotated. The scheme is described at
        https://docs.stripe.com/webhooks#verify-manually.
        Our own code: the package's check reads the machine's clock, accepts times of the future and times that are
        written in other ways than signed, and cannot verify bytes that are not UTF-8.
        """
        parts = [part.partition("=") for part in header.split(",")[: MAX_SIGNATURES + 1]]
        times = [value for name, _, value in parts if name.strip() == "t"]
        if len(times) != 1 or not is_recent(times[0], now):
            return False
        expected = hmac.digest(self._webhook_secret, times[0].encode() + b"." + raw, hashlib.sha256).hex().encode()
        is_valid = False
        for name, _, signature in parts:
            if name.strip() == "v1":
                is_valid |= hmac.compare_digest(
                    signature.encode(), expected
                )  # compare all of them, so that timing reveals nothing
        return is_valid


_REVERSALS: dict[str, Literal["refund", "chargeback"]] = {
    "charge.refunded": "refund",
    "charge.dispute.created": "chargeback",
    "charge.dispute.funds_withdrawn": "chargeback",
    "charge.dispute.closed": "chargeback",
}
_OUTCOMES: dict[str, Any] = {
    "checkout.session.completed": "paid",
    "checkout.session.async_payment_succeeded": "paid",
    "checkout.session.async_payment_failed": "failed",
    "checkout.session.expired": "expired",
}


def _reversal(event: _Event, reversed_: _Reversed) -> ReversalEvent:
    return ReversalEvent(
        id=event.id,
        kind=_REVERSALS[event.type],
        reversal_id=reversed_.id,
        intent_id=_intent(reversed_.payment_intent),
        purchase_id=_uuid((reversed_.metadata or {}).get("purchase_id", "")),
        amount_cents=reversed_.amount if reversed_.amount_refunded is None else reversed_.amount_refunded,
        currency=(reversed_.currency or "").upper(),
        state=reversed_.status.replace("\0", ""),
    )


def _intent(given: Any) -> str:
    """The id of a PaymentIntent, which an event holds as an id or as the expanded object; empty if there is none."""
    found = given.get("id") if isinstance(given, dict) else given
    return found[:255].replace("\0", "") if isinstance(found, str) else ""


def _fields(purchase: Purchase, settings: PaymentSettings) -> "SessionCreateParams":
    """The parameters of a Checkout Session. The purchase id is in three places, so that every event names it."""
    return {
        "mode": "payment",
        "adaptive_pricing": {"enabled": False},  # a converted price would not be the agreed one, and not be credited
        "client_reference_id": str(purchase.id),
        "metadata": {"purchase_id": str(purchase.id)},
        "payment_intent_data": {"metadata": {"purchase_id": str(purchase.id)}},  # of its charge: a refund names it
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": purchase.currency.lower(),
                    "unit_amount": purchase.price_cents,
                    "product_data": {"name": f"{purchase.tokens} tokens"},
                },
            }
        ],
        "success_url": settings.success_url,
        "cancel_url": settings.cancel_url,
    }


def _checkout(session: stripe.checkout.Session) -> Checkout:
    """The checkout of a session. Raises ProviderUnavailable for an answer without the address of a page."""
    if not isinstance(url := getattr(session, "url", None), str):
        raise ProviderUnavailable("an answer without an address")
    return Checkout(session.id, url)


def _fault(error: stripe.StripeError) -> dict[str, str]:
    """The constants with which Stripe describes an error, for the log; its messages may contain card data."""
    found = error.error
    if found is None:
        return {}
    fields = {name: getattr(found, name, None) for name in ("type", "code", "param")}
    return {name: str(value)[:80] for name, value in fields.items() if value}


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
