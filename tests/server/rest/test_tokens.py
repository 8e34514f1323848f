"""Token purchases: packs, purchases under a key, and a provider that does not always answer."""

from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import msgspec
import pytest
import trio

from server.config.packs import Pack
from server.context import Context
from server.money.payments.stripe import Stripe
from tests.server.rest.conftest import Caller, Users
from tests.server.rest.problems import SOMEBODY, check
from tests.server.rest.shop import Shop, open_shop
from tests.support.stripe_stand_in import SECRET_KEY, WEBHOOK_SECRET


@pytest.fixture
async def shop(dsn: str) -> AsyncIterator[Shop]:
    async with open_shop(dsn) as opened:
        yield opened


async def test_any_client_may_read_the_packs_and_the_price_of_a_token(web: httpx.AsyncClient) -> None:
    packs = (await web.get("/api/tokens/packs")).json()["items"]
    assert [(pack["packId"], pack["tokens"]) for pack in packs] == [
        ("small", 100),
        ("medium", 500),
        ("large", 1000),
        ("huge", 5000),
    ]
    assert packs[0] == {
        "packId": "small",
        "tokens": 100,
        "price": "6.99",
        "priceCents": 699,
        "currency": "USD",
        "costPerToken": "0.0699",
    }


async def test_a_purchase_begins_with_a_checkout_that_the_provider_created(shop: Shop) -> None:
    fan = shop.users.stranger()
    purchase = await shop.buy(fan)
    assert UUID(purchase["purchaseId"]).version == 7
    assert purchase["checkoutUrl"] == "https://checkout.example/c/pay/cs_test_0"
    assert [purchase[name] for name in ("status", "packId", "tokens", "priceCents", "currency", "paidAt")] == [
        "pending",
        "small",
        100,
        699,
        "USD",
        None,
    ]
    (request,) = shop.stripe.requests
    assert request == {
        "path": "/v1/checkout/sessions",
        "authorization": f"Bearer {SECRET_KEY}",
        "content-type": "application/x-www-form-urlencoded",
        "idempotency-key": purchase["purchaseId"],
        "stripe-version": "2025-06-30.basil",
        "mode": "payment",
        "adaptive_pricing[enabled]": "false",
        "client_reference_id": purchase["purchaseId"],
        "metadata[purchase_id]": purchase["purchaseId"],
        "payment_intent_data[metadata][purchase_id]": purchase["purchaseId"],
        "line_items[0][quantity]": "1",
        "line_items[0][price_data][currency]": "usd",
        "line_items[0][price_data][unit_amount]": "699",
        "line_items[0][price_data][product_data][name]": "100 tokens",
        "success_url": "http://localhost:8000/",
        "cancel_url": "http://localhost:8000/",
    }


async def test_a_purchase_is_visible_only_to_its_buyer(shop: Shop) -> None:
    fan, other = shop.users.stranger(), shop.users.stranger()
    first, second = await shop.buy(fan), await shop.buy(fan, "large")
    assert (await fan.get(f"/tokens/purchases/{first['purchaseId']}")).json() == first
    listed = (await fan.get("/tokens/purchases")).json()
    assert (listed["items"], listed["total"]) == ([second, first], 2)
    assert (await other.get("/tokens/purchases")).json()["items"] == []
    for purchase_id in (first["purchaseId"], SOMEBODY):
        check(await other.get(f"/tokens/purchases/{purchase_id}"), 404, "NOT_FOUND")


async def test_an_invalid_purchase_is_refused_by_name(shop: Shop) -> None:
    fan = shop.users.stranger()
    for pack_id in ("", "x" * 41, 5, None):
        fields = check(await fan.post("/tokens/purchases", {"packId": pack_id}), 400, "VALIDATION_FAILED")
        assert [error["field"] for error in fields["errors"]] == ["packId"]
    check(await fan.post("/tokens/purchases", {"packId": "unheard of"}), 404, "NOT_FOUND")
    assert shop.stripe.requests == []


# The same key


async def test_the_same_key_finds_the_same_purchase_whatever_is_on_offer_by_then(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    fan, other = shop.users.stranger(), shop.users.stranger()
    first = await shop.buy(fan, key="k")
    dearer = msgspec.structs.replace(shop.context.settings.packs, offers={"large": Pack(1, 100)})
    changed = msgspec.structs.replace(shop.context.settings, packs=dearer)
    monkeypatch.setattr(shop.context, "settings", changed)
    assert await shop.buy(fan, key="k") == first
    assert (await fan.get("/tokens/purchases")).json()["total"] == 1
    check(await fan.post("/tokens/purchases", {"packId": "large"}, key="k"), 422, "IDEMPOTENCY_CONFLICT")
    assert (await shop.buy(other, "large", key="k"))["tokens"] == 1  # a key is each user's own


async def test_one_key_space_for_purchases_and_postings(shop: Shop) -> None:
    operator, fan = await shop.users.operator(), await shop.users.fan(0)
    gift = {"userId": str(fan.user_id), "tokens": 5, "reason": "welcome"}
    assert (await operator.post("/admin/credits", gift, key="a")).status_code == 201
    check(await operator.post("/tokens/purchases", {"packId": "small"}, key="a"), 422, "IDEMPOTENCY_CONFLICT")
    await shop.buy(operator, key="b")
    check(await operator.post("/admin/credits", gift, key="b"), 422, "IDEMPOTENCY_CONFLICT")


async def test_fifty_at_once_under_one_key_are_one_purchase(shop: Shop) -> None:
    fan = shop.users.stranger()
    answers = await _at_once(fan, 50)
    assert [answer.status_code for answer in answers] == [201] * 50, {answer.text for answer in answers}
    assert len({answer.json()["purchaseId"] for answer in answers}) == 1
    assert len({answer.json()["checkoutUrl"] for answer in answers}) == 1
    assert len(shop.stripe.sessions) == 1
    assert (await fan.get("/tokens/purchases")).json()["total"] == 1


async def _at_once(caller: Caller, count: int) -> list[httpx.Response]:
    answers: list[httpx.Response] = []

    async def ask() -> None:
        answers.append(await caller.post("/tokens/purchases", {"packId": "small"}, key="tap"))

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(ask)
    return answers


# The provider


async def test_a_provider_that_fails_is_asked_again_under_the_same_key(shop: Shop) -> None:
    fan = shop.users.stranger()
    shop.stripe.refusals = [500]
    answer = await fan.post("/tokens/purchases", {"packId": "small"}, key="k")
    fields = check(answer, 503, "PAYMENTS_UNAVAILABLE")
    assert answer.headers["Retry-After"] == "30"
    assert "card" not in fields["detail"], "the provider's words are not for clients"
    begun = (await fan.get("/tokens/purchases")).json()["items"]
    assert [(purchase["status"], purchase["checkoutUrl"]) for purchase in begun] == [("pending", None)]
    again = await shop.buy(fan, key="k")
    assert again == {**begun[0], "checkoutUrl": "https://checkout.example/c/pay/cs_test_0"}


async def test_a_provider_that_is_busy_with_this_key_is_waited_for(shop: Shop) -> None:
    shop.stripe.refusals = [409, 429]
    assert (await shop.buy(shop.users.stranger()))["checkoutUrl"] is not None
    assert len({request["idempotency-key"] for request in shop.stripe.requests}) == 1
    shop.stripe.refusals = [409, 429, 429]
    answer = await shop.users.stranger().post("/tokens/purchases", {"packId": "small"})
    check(answer, 503, "PAYMENTS_UNAVAILABLE")


async def test_an_unavailable_provider_is_answered_as_such(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shop.context.payments.stripe is not None
    nowhere = msgspec.structs.replace(shop.context.settings.payments, stripe_url="http://127.0.0.1:1")
    unreachable = Stripe(nowhere, secret_key=SECRET_KEY, webhook_secret=WEBHOOK_SECRET)
    monkeypatch.setattr(shop.context.payments, "stripe", unreachable)
    answer = await shop.users.stranger().post("/tokens/purchases", {"packId": "small"})
    check(answer, 503, "PAYMENTS_UNAVAILABLE")


async def test_without_a_provider_nothing_is_for_sale(context: Context, users: Users) -> None:
    fan = users.stranger()
    check(await fan.post("/tokens/purchases", {"packId": "small"}, key="k"), 503, "PAYMENTS_UNAVAILABLE")
    assert (await fan.get("/tokens/purchases")).json()["items"] == []


async def test_a_server_that_drains_returns_begun_purchases_and_begins_no_more(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    fan = shop.users.stranger()
    first = await shop.buy(fan, key="k")
    monkeypatch.setattr(shop.context, "draining", True)
    assert await shop.buy(fan, key="k") == first
    check(await fan.post("/tokens/purchases", {"packId": "small"}), 503, "DRAINING")
