"""The payment provider's events: signed, late, duplicated, out of order, and booked once each."""

from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest
import trio

from domain.ids import TOKEN_SALES
from storage.market.purchases import expire_purchases
from tests.server.rest.problems import SOMEBODY, check
from tests.server.rest.shop import Shop, balance, open_shop

PAID = "checkout.session.completed"
PAID_LATER = "checkout.session.async_payment_succeeded"


@pytest.fixture
async def shop(dsn: str) -> AsyncIterator[Shop]:
    async with open_shop(dsn) as opened:
        yield opened


async def counted(shop: Shop, outcome: str) -> float:
    """Return the value that /metrics has for events with this outcome."""
    name = f'halfminute_payments_total{{outcome="{outcome}"}} '
    lines = shop.context.metrics.exposition().decode().splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


async def waiting(shop: Shop) -> dict[str, int]:
    """Return how many payments wait for an operator, by problem, from /metrics."""
    lines = shop.context.metrics.exposition().decode().splitlines()
    gauges = (line.partition('halfminute_payments_open{problem="')[2].partition('"} ') for line in lines)
    return {problem: int(float(count)) for problem, _, count in gauges if problem}


async def test_a_paid_purchase_is_credited_and_its_buyer_is_notified(shop: Shop) -> None:
    fan = shop.users.stranger()
    phone = await shop.users.phone(fan)
    purchase = await shop.buy(fan)
    await shop.pay(purchase)
    changed = await trio.to_thread.run_sync(phone.wait_for, "wallet:changed")
    assert (changed["balance"], changed["tokens"], changed["cause"]) == (100, 100, "purchase")
    assert changed["ref"] == {"purchaseId": purchase["purchaseId"]}
    paid = (await fan.get(f"/tokens/purchases/{purchase['purchaseId']}")).json()
    assert paid == {**purchase, "status": "paid", "paidAt": paid["paidAt"]}
    assert paid["paidAt"] > purchase["createdAt"]
    entry = (await fan.get("/wallet/ledger", kind="purchase")).json()["items"][0]
    assert (entry["tokens"], entry["counterparty"], entry["refId"]) == (100, "token_sales", purchase["purchaseId"])
    await shop.check_ledger()


async def test_fifty_events_at_once_of_one_purchase_credit_it_once(shop: Shop) -> None:
    fan = shop.users.stranger()
    purchase = await shop.buy(fan)
    events = [shop.stripe.event(purchase, PAID if i % 2 else PAID_LATER, id=f"evt_{i // 4}") for i in range(50)]
    answers: list[httpx.Response] = []

    async def send(raw: bytes) -> None:
        answers.append(await shop.send_event(raw))

    async with trio.open_nursery() as nursery:
        for raw in events:
            nursery.start_soon(send, raw)
    assert [answer.status_code for answer in answers] == [200] * 50
    assert await balance(fan) == 100
    row = await shop.context.postgres.fetchrow("SELECT balance FROM wallets WHERE id = $1", TOKEN_SALES)
    assert row is not None and row["balance"] == -100
    await shop.check_ledger()


async def test_every_purchase_is_credited_on_its_own(shop: Shop) -> None:
    fan = shop.users.stranger()
    for _ in range(2):
        await shop.pay(await shop.buy(fan))  # the stand-in gives all its events one id
    assert await balance(fan) == 200


# The payments that events report


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("checkout.session.expired", "expired"),
        ("checkout.session.async_payment_failed", "failed"),
        ("charge.refunded", "pending"),
    ],
)
async def test_a_checkout_that_fails_moves_nothing(shop: Shop, kind: str, status: str) -> None:
    fan = shop.users.stranger()
    purchase = await shop.buy(fan)
    for _ in range(2):
        await shop.pay(purchase, kind=kind)
    assert (await fan.get(f"/tokens/purchases/{purchase['purchaseId']}")).json()["status"] == status
    assert await balance(fan) == 0


async def test_events_in_any_order_credit_what_is_paid(shop: Shop) -> None:
    fan = shop.users.stranger()
    purchase = await shop.buy(fan)
    await shop.pay(purchase, kind="checkout.session.expired")
    await shop.pay(purchase)
    await shop.pay(purchase, kind="checkout.session.expired")
    assert (await fan.get(f"/tokens/purchases/{purchase['purchaseId']}")).json()["status"] == "paid"
    assert await balance(fan) == 100


async def test_a_slow_payment_is_credited_when_it_succeeds(shop: Shop) -> None:
    fan = shop.users.stranger()
    purchase = await shop.buy(fan)
    await shop.pay(purchase, payment_status="unpaid")
    assert await balance(fan) == 0
    await shop.pay(purchase, kind=PAID_LATER)
    assert await balance(fan) == 100


@pytest.mark.parametrize("wrong", [{"amount_total": 698}, {"amount_total": None}, {"currency": "jpy"}])
async def test_a_payment_of_another_amount_is_not_credited_and_waits_for_an_operator(
    shop: Shop, wrong: dict[str, object]
) -> None:
    fan = shop.users.stranger()
    purchase = await shop.buy(fan)
    await shop.pay(purchase, **wrong)
    assert (await fan.get(f"/tokens/purchases/{purchase['purchaseId']}")).json()["status"] == "review"
    assert (await balance(fan), await counted(shop, "wrong_amount")) == (0, 1)


async def test_the_price_is_that_of_the_moment_when_the_checkout_began(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    fan = shop.users.stranger()
    purchase = await shop.buy(fan)
    await shop.context.postgres.execute("UPDATE purchases SET tokens = 77, price_cents = 500")
    await shop.pay({**purchase, "priceCents": 500})
    assert await balance(fan) == 77, "what stands in the purchase counts, not the pack of today"


async def test_a_payment_of_an_unknown_purchase_is_acknowledged_and_counted(shop: Shop) -> None:
    fan = shop.users.stranger()
    purchase = await shop.buy(fan)
    for number, reference in enumerate((str(SOMEBODY), "another shop's order", None)):
        for _ in range(2):  # the provider sends an event again now and then
            await shop.pay(purchase, checkout=f"cs_test_other_{number}", client_reference_id=reference)
    assert (await balance(fan), await counted(shop, "unknown"), await counted(shop, "repeated")) == (0, 3, 3)
    assert await waiting(shop) == {"unknown": 3, "wrong_amount": 0, "paid_twice": 0, "not_credited": 0}


async def test_a_payment_of_a_purchase_that_did_not_exist_yet_is_credited_when_it_is_reported_again(shop: Shop) -> None:
    fan = shop.users.stranger()
    purchase = await shop.buy(fan)
    await shop.context.postgres.execute("UPDATE purchases SET provider = 'elsewhere'")
    await shop.pay(purchase)
    assert (await balance(fan), await counted(shop, "unknown")) == (0, 1)
    await shop.context.postgres.execute("UPDATE purchases SET provider = 'stripe'")
    await shop.pay(purchase)
    assert (await balance(fan), await counted(shop, "credited"), (await waiting(shop))["unknown"]) == (100, 1, 0)


async def test_one_checkout_pays_for_one_purchase_whatever_its_events_name(shop: Shop) -> None:
    fan = shop.users.stranger()
    first, second = await shop.buy(fan), await shop.buy(fan)
    await shop.pay(first)
    await shop.pay(second, checkout=shop.stripe.sessions[first["purchaseId"]]["id"])
    assert (await balance(fan), await counted(shop, "credited")) == (100, 1)


async def test_a_purchase_that_a_server_accepted_and_did_not_credit_is_credited_by_the_next_round(shop: Shop) -> None:
    fan = shop.users.stranger()
    purchase = await shop.buy(fan)
    await shop.context.postgres.execute("UPDATE purchases SET accepted = true")
    for _ in range(2):
        await shop.context.payments.reconcile()
    assert await balance(fan) == 100
    assert (await fan.get(f"/tokens/purchases/{purchase['purchaseId']}")).json()["status"] == "paid"


async def test_a_second_payment_of_one_purchase_is_reported_to_the_operators(shop: Shop) -> None:
    fan = shop.users.stranger()
    purchase = await shop.buy(fan)
    await shop.pay(purchase)
    await shop.pay(purchase, checkout="cs_test_another")
    assert (await balance(fan), await counted(shop, "paid_twice")) == (100, 1)


async def test_two_checkouts_of_one_purchase_that_are_paid_at_once_are_one_credit_and_one_paid_twice(
    shop: Shop,
) -> None:
    fan = shop.users.stranger()
    purchases = [await shop.buy(fan) for _ in range(10)]
    events = []
    for number, purchase in enumerate(purchases):
        events += [shop.stripe.event(purchase), shop.stripe.event(purchase, checkout=f"cs_test_another_{number}")]
    async with trio.open_nursery() as nursery:
        for raw in events:
            nursery.start_soon(shop.send_event, raw)
    assert await balance(fan) == 1000
    assert (await counted(shop, "credited"), await counted(shop, "paid_twice")) == (10, 10)
    await shop.check_ledger()


async def test_two_payments_of_one_purchase_wait_for_each_other_before_either_is_decided(shop: Shop) -> None:
    fan = shop.users.stranger()
    purchase = await shop.buy(fan)
    holder = await shop.context.postgres.connect()
    await holder.fetchrow("BEGIN")
    await holder.fetchrow("SELECT FROM purchases WHERE id = $1 FOR NO KEY UPDATE", UUID(purchase["purchaseId"]))
    waiting = (
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        " AND query LIKE '%purchases%'"
    )
    async with trio.open_nursery() as nursery:
        for raw in (shop.stripe.event(purchase), shop.stripe.event(purchase, checkout="cs_test_another")):
            nursery.start_soon(shop.send_event, raw)
        with trio.fail_after(10):
            while len(await shop.context.postgres.fetch(waiting)) < 2:
                await trio.lowlevel.checkpoint()
        holder.terminate()
    assert (await balance(fan), await counted(shop, "credited"), await counted(shop, "paid_twice")) == (100, 1, 1)
    await shop.check_ledger()


async def test_a_second_payment_is_never_recorded_as_the_first_though_a_crash_came_between(shop: Shop) -> None:
    fan = shop.users.stranger()
    purchase = await shop.buy(fan)
    await shop.pay(purchase)
    await shop.context.postgres.execute("UPDATE purchases SET status = 'pending', paid_at = NULL")
    await shop.pay(purchase, checkout="cs_test_another")
    assert (await balance(fan), await counted(shop, "credited"), await counted(shop, "paid_twice")) == (100, 1, 1)


async def test_a_payment_that_was_booked_but_not_recorded_is_recorded_by_the_next_event(shop: Shop) -> None:
    fan = shop.users.stranger()
    purchase = await shop.buy(fan)
    await shop.pay(purchase)
    await shop.context.postgres.execute("UPDATE purchases SET status = 'pending', paid_at = NULL")
    await shop.pay(purchase)
    assert (await fan.get("/tokens/purchases")).json()["items"][0]["status"] == "paid"
    assert await balance(fan) == 100


async def test_a_checkout_without_any_event_expires_and_can_be_paid_all_the_same(shop: Shop) -> None:
    fan = shop.users.stranger()
    old, fresh = await shop.buy(fan), await shop.buy(fan)
    await shop.context.postgres.execute(
        "UPDATE purchases SET created_at = now() - interval '26 hours' WHERE id = $1", old["purchaseId"]
    )
    await expire_purchases(shop.context.postgres)
    statuses = {each["purchaseId"]: each["status"] for each in (await fan.get("/tokens/purchases")).json()["items"]}
    assert statuses == {old["purchaseId"]: "expired", fresh["purchaseId"]: "pending"}
    await shop.pay(old)
    assert await balance(fan) == 100


async def test_a_server_that_drains_has_the_event_sent_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = shop.stripe.event(await shop.buy(shop.users.stranger()))
    monkeypatch.setattr(shop.context, "draining", True)
    check(await shop.send_event(raw), 503, "DRAINING")
