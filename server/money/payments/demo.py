"""The demo payment provider: its checkout is a page of this server, and nobody is charged.

`halfminute serve --demo` opens it, and only on a loopback address. Everything after the checkout is the same as with a
real provider.
"""

from html import escape
from ipaddress import ip_address

from server.money.payments.provider import Checkout, PaymentEvent
from storage.market.purchases import Purchase

PAGE = """<!doctype html>
<html lang="{language}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/elements/theme.css">
<link rel="stylesheet" href="/checkout/checkout.css">
<main>
<h1>{title}</h1>
<p class="sum">{offer}</p>
<p role="status">{state}</p>
{button}
<p class="quiet">{free}</p>
</main>
</html>
"""
BUTTON = '<form method="post"><button>{pay}</button></form>'
POLICY = (
    "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
TEXTS = {
    "en": {
        "title": "Demo checkout",
        "offer": "{tokens} tokens for {price} {currency}",
        "pending": "Not paid yet.",
        "paid": "Paid. You can close this window.",
        "other": "This purchase cannot be paid any more.",
        "free": "This is a demo: nobody is charged.",
        "pay": "Pay",
    },
    "de": {
        "title": "Kasse der Demo",
        "offer": "{tokens} Token für {price} {currency}",
        "pending": "Noch nicht bezahlt.",
        "paid": "Bezahlt. Sie können dieses Fenster schließen.",
        "other": "Dieser Kauf kann nicht mehr bezahlt werden.",
        "free": "Das ist eine Demo: Niemandem wird etwas berechnet.",
        "pay": "Bezahlen",
    },
}


class Demo:
    """The demo provider. It has no webhook: the form on its page reports the payment. `api_url` is its base URL."""

    name = "demo"

    def __init__(self, api_url: str) -> None:
        self._api_url = api_url

    async def check_out(self, purchase: Purchase) -> Checkout:
        """Return the checkout page of a purchase on this server; its id is derived from that of the purchase."""
        return Checkout(_checkout_id(purchase), f"{self._api_url}/api/payments/demo/{purchase.id}")

    def paid(self, purchase: Purchase) -> PaymentEvent:
        """Return the event of a paid checkout, as a provider would send it; the same one for each click on Pay."""
        checkout_id = _checkout_id(purchase)
        return PaymentEvent(
            id=f"{checkout_id}_paid",
            outcome="paid",
            checkout_id=checkout_id,
            purchase_id=purchase.id,
            amount_cents=purchase.price_cents,
            currency=purchase.currency,
            reference=str(purchase.id),
        )


def demo_url(host: str, port: int) -> str | None:
    """Return the base URL of the demo, or None unless `host` is a loopback address: its tokens are free."""
    try:
        address = ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return None
    if not address.is_loopback:
        return None
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"


def page(purchase: Purchase, accepted_language: str) -> str:
    """Return the HTML of the checkout page, with a button while the purchase is pending.

    It is German for a browser that prefers that (`Accept-Language`), and English for all others.
    """
    language = "de" if accepted_language.lower().startswith("de") else "en"
    texts = TEXTS[language]
    price = f"{purchase.price_cents // 100}.{purchase.price_cents % 100:02d}"
    return PAGE.format(
        language=language,
        title=texts["title"],
        offer=texts["offer"].format(tokens=purchase.tokens, price=price, currency=escape(purchase.currency)),
        state=texts.get(purchase.status, texts["other"]),
        button=BUTTON.format(pay=texts["pay"]) if purchase.status == "pending" else "",
        free=texts["free"],
    )


def _checkout_id(purchase: Purchase) -> str:
    return f"demo_{purchase.id}"
