"""The demo's checkout page: it sells tokens without a provider, and only where no other machine can reach it."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from server.access.tokens import issue_token
from server.context import Context
from server.demo.seed import FAN_TOKENS
from server.demo.users import FANS
from server.money.payments.demo import Demo, demo_url
from tests.server.rest.conftest import Users
from tests.server.rest.problems import SOMEBODY, check
from tests.server.rest.shop import Shop, balance, open_shop
from tests.support.clients import PATIENCE_SECONDS
from tests.support.processes import ServerProcess


@pytest.fixture
async def shop(dsn: str) -> AsyncIterator[Shop]:
    async with open_shop(dsn) as opened:
        yield opened


# The demo


async def test_the_demo_checkout_is_a_page_whose_button_pays(
    context: Context, users: Users, web: httpx.AsyncClient
) -> None:
    context.payments.open_demo(f"http://127.0.0.1:{context.http_port}")
    fan = users.stranger()
    purchase = (await fan.post("/tokens/purchases", {"packId": "small"})).json()
    shown = await web.get(purchase["checkoutUrl"])
    assert (shown.status_code, shown.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "100 tokens for 6.99 USD" in shown.text and "<button>" in shown.text
    german = await web.get(purchase["checkoutUrl"], headers={"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"})
    assert "100 Token für 6.99 USD" in german.text and '<html lang="de">' in german.text
    assert await balance(fan) == 0, "to look at it pays nothing"
    for _ in range(2):
        paid = await web.post(purchase["checkoutUrl"])
        assert paid.status_code == 200 and "<button>" not in paid.text
    assert await balance(fan) == 100
    check(await web.post(f"/api/payments/demo/{SOMEBODY}"), 404, "NOT_FOUND")


async def test_a_server_without_demo_has_no_such_page(shop: Shop) -> None:
    fan = shop.users.stranger()
    purchase = await shop.buy(fan)
    path = f"/payments/demo/{purchase['purchaseId']}"
    check(await fan.post(path), 404, "NOT_FOUND")
    check(await fan.get(path), 404, "NOT_FOUND")
    shop.context.payments.demo = Demo("http://127.0.0.1")
    check(await fan.post(path), 404, "NOT_FOUND")  # it is Stripe's to pay
    assert await balance(fan) == 0


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("localhost", "http://127.0.0.1:80"),
        ("::1", "http://[::1]:80"),
        ("0.0.0.0", None),
        ("::", None),
        ("192.168.1.2", None),
        ("example.org", None),
    ],
)
def test_a_demo_sells_only_where_no_other_machine_can_reach_it(host: str, url: str | None) -> None:
    assert demo_url(host, 80) == url


def test_serve_demo_sells_tokens(data_dir: Path) -> None:
    with ServerProcess(data_dir, "--demo") as server:
        token = issue_token(server.jwt_secret(), FANS[0].user_id, role=None, ttl_seconds=60, now=time.time())
        bought = server.post("/api/tokens/purchases", token, {"packId": "small"})
        assert bought.status_code == 201, bought.text
        assert httpx.post(bought.json()["checkoutUrl"], timeout=PATIENCE_SECONDS, verify=False).status_code == 200
        assert server.get("/api/wallet", token).json()["balance"] == FAN_TOKENS + 100
