"""A server that sells tokens, with a payment provider that runs in this process."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from server.config.settings import Settings
from server.context import Context
from storage.ledger.audit import audit
from tests.server.rest.conftest import Caller, Users, users_of
from tests.support.clients import PATIENCE_SECONDS
from tests.support.servers import SECRETS, running_server, with_section
from tests.support.stripe_stand_in import SECRET_KEY, WEBHOOK_SECRET, StripeStandIn, signature, stripe_stand_in

SELLING = msgspec.structs.replace(SECRETS, stripe_secret_key=SECRET_KEY, stripe_webhook_secret=WEBHOOK_SECRET)


class Shop:
    """A server, its users, and the provider."""

    def __init__(self, context: Context, users: Users, stripe: StripeStandIn, web: httpx.AsyncClient) -> None:
        self.context = context
        self.users = users
        self.stripe = stripe
        self._web = web

    async def send_event(self, raw: bytes, *, sign: str | None = None) -> httpx.Response:
        """Send an event to the webhook as the provider does."""
        headers = {b"Stripe-Signature": (signature(raw, time.time()) if sign is None else sign).encode()}
        return await self._web.post("/api/payments/webhook/stripe", content=raw, headers=headers)

    async def buy(self, buyer: Caller, pack_id: str = "small", *, key: str | None = None) -> dict[str, Any]:
        answer = await buyer.post("/tokens/purchases", {"packId": pack_id}, key=key)
        assert answer.status_code == 201, answer.text
        purchase: dict[str, Any] = answer.json()
        return purchase

    async def pay(self, purchase: dict[str, Any], **changed: Any) -> None:
        """Report that a purchase was paid, and check that the event is acknowledged."""
        answer = await self.send_event(self.stripe.event(purchase, **changed))
        assert (answer.status_code, answer.json()) == (200, {"received": True})

    async def check_ledger(self) -> None:
        assert [finding.sentence async for finding in audit(self.context.postgres) if finding.rows] == []


def selling(stripe: StripeStandIn, **calls: Any) -> Settings:
    """Settings of a server that sells tokens, and where a single one can be cashed out."""
    usual = with_section("payments", stripe_url=stripe.url)
    return msgspec.structs.replace(
        usual,
        payouts=msgspec.structs.replace(usual.payouts, min_tokens=1),
        calls=msgspec.structs.replace(usual.calls, **calls),
    )


@asynccontextmanager
async def open_shop(dsn: str, **calls: Any) -> AsyncIterator[Shop]:
    """Run such a server, with blocks of 30 s unless the settings of calls say otherwise."""
    with stripe_stand_in() as stripe:
        async with running_server(dsn, selling(stripe, **calls), SELLING) as context, users_of(context) as users:
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{context.http_port}", timeout=PATIENCE_SECONDS, verify=False
            ) as web:
                yield Shop(context, users, stripe, web)


async def balance(user: Caller) -> int:
    return int((await user.get("/wallet")).json()["balance"])
