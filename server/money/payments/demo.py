"""A provider for trying things out: its checkout is a page of our own, and nobody is charged."""

from html import escape
from ipaddress import ip_address

from server.money.payments.provider import Checkout, PaymentEvent
from storage.market.purchases import Purchase

PAGE = """<!doctype html>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Demo checkout</title>
<h1>Demo checkout</h1>
<p>{tokens} tokens for {price} {currency}: {status}. Nobody is charged.</p>
"""
BUTTON = '<form method="post"><button>Pay</button></form>\n'


class Demo:
    """It has no webhook: what is paid is told from its page."""

    name = "demo"

    def __init__(self, api_url: str) -> None:
        self._api_url = api_url

    async def check_out(self, purchase: Purchase) -> Checkout:
        return Checkout(_checkout_id(purchase), f"{self._api_url}/api/payments/demo/{purchase.id}")

    def paid(self, purchase: Purchase) -> PaymentEvent:
        """What a provider would tell us after the button was pressed."""
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
    """Where a demo is served; None where others can reach it: who presses the button is given tokens for nothing."""
    try:
        address = ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return None
    if not address.is_loopback:
        return None
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"


def page(purchase: Purchase) -> str:
    price = f"{purchase.price_cents // 100}.{purchase.price_cents % 100:02d}"
    text = PAGE.format(
        tokens=purchase.tokens, price=price, currency=escape(purchase.currency), status=escape(purchase.status)
    )
    return text + BUTTON if purchase.status == "pending" else text


def _checkout_id(purchase: Purchase) -> str:
    return f"demo_{purchase.id}"
