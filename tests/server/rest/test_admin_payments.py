"""Payments that were not credited: operators see them and settle each once, whatever happens at the same moment."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from itertools import cycle
from typing import Any
from uuid import UUID

import pytest
import trio

from domain.billing.posting import Outcome, Receipt
from server.money.payments.service import PaymentService
from storage.database_errors import StatementRefused, StorageUnavailable
from storage.ledger.actor import StorageActor
from tests.server.rest.conftest import Caller
from tests.server.rest.problems import SOMEBODY, check
from tests.server.rest.shop import Shop, balance, open_shop

CREDIT, REJECT = {"action": "credit", "reason": "The bank confirms it"}, {"action": "reject", "reason": "Sent back"}


@pytest.fixture
async def shop(dsn: str) -> AsyncIterator[Shop]:
    async with open_shop(dsn) as opened:
        yield opened


async def payments(operator: Caller, **query: Any) -> list[dict[str, Any]]:
    listed = await operator.get("/admin/payments", **query)
    assert listed.status_code == 200, listed.text
    found: list[dict[str, Any]] = listed.json()["items"]
    return found


async def status_of(buyer: Caller, purchase: dict[str, Any]) -> str:
    return str((await buyer.get(f"/tokens/purchases/{purchase['purchaseId']}")).json()["status"])


async def trace(shop: Shop) -> list[tuple[Any, ...]]:
    rows = await shop.context.postgres.fetch(
        "SELECT action, reason, operator_id, payment_id IS NOT NULL FROM payment_settlements ORDER BY created_at, id"
    )
    return [tuple(row) for row in rows]


def waiting(shop: Shop) -> float:
    lines = shop.context.metrics.exposition().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("halfminute_payments_open{"))


async def test_a_payment_in_another_currency_is_listed_and_credited_by_an_operator(shop: Shop) -> None:
    fan, operator = shop.users.stranger(), await shop.users.operator()
    purchase = await shop.buy(fan)
    await shop.pay(purchase, amount_total=599, currency="eur")
    (payment,) = await payments(operator, status="open")
    assert payment == {
        "paymentId": payment["paymentId"],
        "status": "open",
        "problem": "wrong_amount",
        "provider": "stripe",
        "checkoutId": "cs_test_0",
        "eventId": "evt_1",
        "reference": purchase["purchaseId"],
        "purchaseId": purchase["purchaseId"],
        "userId": str(fan.user_id),
        "amountCents": 599,
        "currency": "EUR",
        "createdAt": payment["createdAt"],
        "action": None,
        "reason": None,
        "operatorId": None,
        "settledAt": None,
    }
    assert (await status_of(fan, purchase), waiting(shop)) == ("review", 1)
    path = f"/admin/payments/{payment['paymentId']}/settle"
    settled = await operator.post(path, CREDIT)
    assert settled.status_code == 200, settled.text
    decision = {name: settled.json()[name] for name in ("status", "action", "reason", "operatorId")}
    assert decision == {"status": "accepted", **CREDIT, "operatorId": str(operator.user_id)}
    assert (await balance(fan), await status_of(fan, purchase), waiting(shop)) == (100, "paid", 0)
    assert (await operator.post(path, CREDIT)).json() == settled.json()
    check(await operator.post(path, REJECT), 409, "PAYMENT_SETTLED")
    await shop.pay(purchase, amount_total=599, currency="eur")
    assert await trace(shop) == [("credit", CREDIT["reason"], operator.user_id, True)]
    assert await balance(fan) == 100
    await shop.check_ledger()


async def test_a_payment_that_is_rejected_credits_nothing_however_often_it_is_reported(shop: Shop) -> None:
    fan, operator = shop.users.stranger(), await shop.users.operator()
    purchase = await shop.buy(fan)
    await shop.pay(purchase, amount_total=1)
    path = f"/admin/purchases/{purchase['purchaseId']}/settle"
    for _ in range(2):
        assert (await operator.post(path, REJECT)).json()["status"] == "failed"
        await shop.pay(purchase, amount_total=1)
    assert (await balance(fan), await status_of(fan, purchase), waiting(shop)) == (0, "failed", 0)
    (payment,) = await payments(operator, status="rejected", purchaseId=purchase["purchaseId"])
    check(await operator.post(f"/admin/payments/{payment['paymentId']}/settle", CREDIT), 409, "PAYMENT_SETTLED")
    assert await trace(shop) == [("reject", REJECT["reason"], operator.user_id, True)]
    await shop.pay(purchase, checkout="cs_test_new")  # the buyer tries again, and pays the price
    assert (await balance(fan), await status_of(fan, purchase)) == (100, "paid")


async def test_a_payment_of_an_unknown_purchase_is_credited_to_the_one_that_an_operator_names(shop: Shop) -> None:
    fan, operator = shop.users.stranger(), await shop.users.operator()
    purchase = await shop.buy(fan)
    await shop.pay(purchase, client_reference_id="an order of another shop")
    (payment,) = await payments(operator, status="open")
    assert (payment["problem"], payment["reference"]) == ("unknown", "an order of another shop")
    path = f"/admin/payments/{payment['paymentId']}/settle"
    for named in ({}, {"purchaseId": str(SOMEBODY)}):
        fields = check(await operator.post(path, {**CREDIT, **named}), 400, "VALIDATION_FAILED")
        assert [error["field"] for error in fields["errors"]] == ["purchaseId"]
    settled = await operator.post(path, {**CREDIT, "purchaseId": purchase["purchaseId"]})
    assert (settled.status_code, settled.json()["userId"]) == (200, str(fan.user_id))
    other = await shop.buy(fan)
    fields = check(await operator.post(path, {**CREDIT, "purchaseId": other["purchaseId"]}), 400, "VALIDATION_FAILED")
    assert (await balance(fan), await status_of(fan, purchase), waiting(shop)) == (100, "paid", 0)
    check(await operator.post(f"/admin/payments/{SOMEBODY}/settle", CREDIT), 404, "NOT_FOUND")


async def test_a_second_payment_of_a_purchase_is_marked_and_can_only_be_refunded(shop: Shop) -> None:
    fan, operator = shop.users.stranger(), await shop.users.operator()
    once, twice = await shop.buy(fan), await shop.buy(fan)
    await shop.pay(once)
    await shop.pay(twice)
    await shop.pay(twice, checkout="cs_test_another")
    (listed,) = (await operator.get("/admin/purchases", status="paid_twice")).json()["items"]
    assert (listed["purchaseId"], listed["status"], listed["paidTwice"]) == (twice["purchaseId"], "paid", True)
    assert (listed["userId"], listed["checkoutId"]) == (str(fan.user_id), "cs_test_1")
    (payment,) = await payments(operator, status="open")
    assert (payment["problem"], payment["checkoutId"]) == ("paid_twice", "cs_test_another")
    for path in (f"/admin/payments/{payment['paymentId']}", f"/admin/purchases/{twice['purchaseId']}"):
        check(await operator.post(f"{path}/settle", CREDIT), 409, "PAYMENT_SETTLED")
    rejected = await operator.post(f"/admin/payments/{payment['paymentId']}/settle", REJECT)
    assert rejected.json()["status"] == "rejected"
    assert (await balance(fan), await status_of(fan, twice), waiting(shop)) == (200, "paid", 0)
    everything = (await operator.get("/admin/purchases", userId=str(fan.user_id))).json()
    assert (everything["total"], {each["paidTwice"] for each in everything["items"]}) == (2, {True, False})


async def test_a_payment_without_an_event_is_credited_once_even_if_the_event_comes_later(shop: Shop) -> None:
    fan, operator = shop.users.stranger(), await shop.users.operator()
    purchase = await shop.buy(fan)
    path = f"/admin/purchases/{purchase['purchaseId']}/settle"
    check(await operator.post(path, REJECT), 409, "PAYMENT_SETTLED")
    for _ in range(2):
        assert (await operator.post(path, CREDIT)).json()["status"] == "paid"
    assert await trace(shop) == [("credit", CREDIT["reason"], operator.user_id, False)]
    await shop.pay(purchase)
    assert (await balance(fan), waiting(shop)) == (100, 0), "it is the payment of which the operator knew"
    await shop.pay(purchase, checkout="cs_test_another")
    assert (await balance(fan), waiting(shop)) == (100, 1)
    assert (await payments(operator, status="open"))[0]["problem"] == "paid_twice"


async def test_another_payment_of_a_credited_purchase_is_paid_twice(shop: Shop) -> None:
    fan, operator = shop.users.stranger(), await shop.users.operator()
    purchase = await shop.buy(fan)
    await shop.pay(purchase, amount_total=1)
    await shop.pay(purchase, amount_total=2, checkout="cs_test_another")
    settled = await operator.post(f"/admin/purchases/{purchase['purchaseId']}/settle", CREDIT)
    assert (settled.json()["status"], settled.json()["paidTwice"]) == ("paid", True)
    (left,) = await payments(operator, status="open")
    assert (left["problem"], left["checkoutId"], await balance(fan)) == ("paid_twice", "cs_test_another", 100)


# Races


async def test_however_events_and_settlements_race_a_purchase_is_credited_at_most_once(shop: Shop) -> None:
    fan, operators = shop.users.stranger(), [await shop.users.operator() for _ in range(2)]
    purchases = [await shop.buy(fan) for _ in range(8)]
    for purchase in purchases[:4]:
        await shop.pay(purchase, amount_total=1)
    requests: list[Callable[[], Any]] = []
    for number, purchase in enumerate(purchases):
        path = f"/admin/purchases/{purchase['purchaseId']}/settle"
        for operator, decision in zip(cycle(operators), (CREDIT, REJECT, CREDIT), strict=False):
            requests.append(partial(operator.post, path, decision))
        for checkout in (None, None, f"cs_test_another_{number}"):
            requests.append(partial(shop.send_event, shop.stripe.event(purchase, checkout=checkout)))
        requests.append(partial(shop.send_event, shop.stripe.event(purchase, "checkout.session.expired")))
    async with trio.open_nursery() as nursery:
        for request in requests:
            nursery.start_soon(request)
    rows = await shop.context.postgres.fetch(
        """
        SELECT p.status, p.accepted, p.paid_twice,
               (SELECT count(*) FROM journal j WHERE j.kind = 4 AND j.ref_id = p.id) AS credits,
               (SELECT count(*) FROM payments y WHERE y.purchase_id = p.id AND y.status = 'accepted') AS payments,
               (SELECT count(*) FROM payments y WHERE y.purchase_id = p.id AND y.problem = 'paid_twice') AS too_many
          FROM purchases p
        """
    )
    for row in rows:
        assert (row["status"], row["accepted"], row["credits"]) == ("paid", True, 1), dict(row)
        assert row["payments"] <= 1
        assert row["paid_twice"] == (row["too_many"] > 0)
    assert await balance(fan) == 100 * len(purchases)
    open_payments = await payments(operators[0], status="open", limit=100)
    assert waiting(shop) == len(open_payments)
    await shop.check_ledger()


async def test_the_same_key_settles_once_and_answers_alike_and_no_refusal_uses_it_up(shop: Shop) -> None:
    fan, operator = shop.users.stranger(), await shop.users.operator()
    purchase = await shop.buy(fan)
    path = f"/admin/purchases/{purchase['purchaseId']}/settle"
    check(await operator.post(path, REJECT, key="k"), 409, "PAYMENT_SETTLED")
    settled = await operator.post(path, CREDIT, key="k")
    assert (settled.status_code, settled.json()["status"]) == (200, "paid")
    assert (await operator.post(path, CREDIT, key="k")).json() == settled.json()
    check(await operator.post(path, {**CREDIT, "reason": "Another"}, key="k"), 422, "IDEMPOTENCY_CONFLICT")
    gift = {"userId": str(fan.user_id), "tokens": 5, "reason": "welcome"}
    check(await operator.post("/admin/credits", gift, key="k"), 422, "IDEMPOTENCY_CONFLICT")
    assert (await operator.post("/admin/credits", gift, key="g")).status_code == 201
    check(await operator.post(path, CREDIT, key="g"), 422, "IDEMPOTENCY_CONFLICT")
    assert await balance(fan) == 105


async def test_payments_that_a_server_had_no_time_to_credit_are_credited_by_the_next_round(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    fan, operator = shop.users.stranger(), await shop.users.operator()
    purchase = await shop.buy(fan)

    async def stop(payment_service: PaymentService, purchase: Any) -> str:
        raise StorageUnavailable("the server stops here")

    with monkeypatch.context() as patched:
        patched.setattr(PaymentService, "credit", stop)
        answer = await operator.post(f"/admin/purchases/{purchase['purchaseId']}/settle", CREDIT)
        check(answer, 503, "STORAGE_UNAVAILABLE")
        assert (await shop.send_event(shop.stripe.event(purchase))).status_code == 503
    assert await balance(fan) == 0
    await shop.context.payments.reconcile()
    assert (await balance(fan), await status_of(fan, purchase)) == (100, "paid")


async def test_a_payment_that_the_ledger_refuses_waits_again_and_its_trace_says_so(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    fan, operator = shop.users.stranger(), await shop.users.operator()
    purchase = await shop.buy(fan)

    async def refuse(actor: StorageActor, postings: list[Any]) -> list[Receipt]:
        return [Receipt(posting, Outcome.INVALID) for posting in postings]

    path = f"/admin/purchases/{purchase['purchaseId']}/settle"
    with monkeypatch.context() as patched:
        patched.setattr(StorageActor, "post", refuse)
        await shop.pay(purchase)
        (payment,) = await payments(operator, status="open")
        assert (payment["problem"], await status_of(fan, purchase)) == ("not_credited", "review")
        check(await operator.post(path, CREDIT), 400, "VALIDATION_FAILED")
    assert [action for action, *_ in await trace(shop)] == ["credit", "not_booked"]
    assert (await balance(fan), waiting(shop)) == (0, 1)
    assert (await operator.post(path, CREDIT)).status_code == 200
    assert (await balance(fan), await status_of(fan, purchase), waiting(shop)) == (100, "paid", 0)


# Permissions


async def test_nobody_credits_themselves_and_only_operators_settle(shop: Shop) -> None:
    operator, fan = await shop.users.operator(), shop.users.stranger()
    purchase = await shop.buy(operator)
    path = f"/admin/purchases/{purchase['purchaseId']}/settle"
    check(await operator.post(path, CREDIT), 403, "FORBIDDEN")
    check(await fan.post(path, CREDIT), 403, "FORBIDDEN")
    for listed in ("/admin/purchases", "/admin/payments"):
        check(await fan.get(listed), 403, "FORBIDDEN")
    assert (await balance(operator), await trace(shop)) == (0, [])


async def test_a_decision_has_a_reason(shop: Shop) -> None:
    operator, purchase = await shop.users.operator(), await shop.buy(shop.users.stranger())
    for unfit in ({"reason": ""}, {"reason": " "}, {"reason": "x" * 501}, {"action": "refund"}):
        answer = await operator.post(f"/admin/purchases/{purchase['purchaseId']}/settle", {**CREDIT, **unfit})
        check(answer, 400, "VALIDATION_FAILED")
    check(await operator.post(f"/admin/purchases/{SOMEBODY}/settle", CREDIT), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    "change",
    ["UPDATE payment_settlements SET reason = 'x'", "DELETE FROM payment_settlements", "TRUNCATE payments CASCADE"],
)
async def test_the_trace_of_decisions_cannot_be_changed(shop: Shop, change: str) -> None:
    operator, purchase = await shop.users.operator(), await shop.buy(shop.users.stranger())
    await operator.post(f"/admin/purchases/{purchase['purchaseId']}/settle", CREDIT, key="k")
    before = await trace(shop)
    with pytest.raises(StatementRefused):
        await shop.context.postgres.execute(change)
    assert await trace(shop) == before
    (row,) = await shop.context.postgres.fetch("SELECT key, purchase_id FROM payment_settlements")
    assert row["key"] is not None and row["purchase_id"] == UUID(purchase["purchaseId"])
