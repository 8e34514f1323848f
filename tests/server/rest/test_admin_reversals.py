"""Refunds and chargebacks at the provider: counted, shown to operators, and the wallet frozen until one decides."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from domain.billing.posting import Posting
from storage.database_errors import StatementRefused
from tests.server.rest.conftest import Caller
from tests.server.rest.problems import SOMEBODY, check
from tests.server.rest.shop import Shop, balance, open_shop
from tests.storage.ledger_pair import tip

RELEASE = {"action": "release", "reason": "The bank took it back"}


@pytest.fixture
async def shop(dsn: str) -> AsyncIterator[Shop]:
    async with open_shop(dsn) as opened:
        yield opened


async def deliver(shop: Shop, raw: bytes) -> None:
    answer = await shop.send_event(raw)
    assert (answer.status_code, answer.json()) == (200, {"received": True})


async def reversals(operator: Caller, **query: Any) -> list[dict[str, Any]]:
    listed = await operator.get("/admin/reversals", **query)
    assert listed.status_code == 200, listed.text
    found: list[dict[str, Any]] = listed.json()["items"]
    return found


def figure(shop: Shop, name: str) -> float:
    lines = shop.context.metrics.exposition().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name)


def counted(shop: Shop, outcome: str) -> float:
    return figure(shop, f'halfminute_payments_total{{outcome="{outcome}"}}')


async def is_frozen(user: Caller) -> bool:
    return bool((await user.get("/wallet")).json()["frozen"])


async def test_a_chargeback_freezes_the_wallet_until_an_operator_releases_it(shop: Shop) -> None:
    fan, operator = shop.users.stranger(), await shop.users.operator()
    creator = await shop.users.online_creator()
    purchase = await shop.buy(fan)
    await shop.pay(purchase)
    gift = {"toCreatorId": str(creator.user_id), "amountTokens": 5}
    assert (await fan.post("/tips/send", gift)).status_code == 200
    for step, status in (("created", "needs_response"), ("funds_withdrawn", "under_review"), ("closed", "lost")):
        await deliver(shop, shop.stripe.dispute(purchase, step, status))
    assert await is_frozen(fan)
    fields = check(await fan.post("/tips/send", gift), 403, "FORBIDDEN")
    assert "frozen" in fields["message"]
    check(await fan.post("/calls/init", {"creatorId": str(creator.user_id)}), 403, "FORBIDDEN")
    assert await balance(fan) == 95
    (reversal,) = await reversals(operator, status="open")
    assert reversal == {
        "reversalId": reversal["reversalId"],
        "status": "open",
        "kind": "chargeback",
        "provider": "stripe",
        "providerId": "dp_cs_test_0",
        "eventId": "evt_created",
        "paymentIntent": "pi_cs_test_0",
        "purchaseId": purchase["purchaseId"],
        "userId": str(fan.user_id),
        "amountCents": 699,
        "currency": "USD",
        "state": "lost",
        "createdAt": reversal["createdAt"],
        "reason": None,
        "operatorId": None,
        "settledAt": None,
    }
    assert (counted(shop, "chargeback"), figure(shop, "halfminute_payment_reversals_open")) == (1, 1)
    (marked,) = (await operator.get("/admin/purchases", userId=str(fan.user_id))).json()["items"]
    assert (marked["status"], marked["reversedAs"]) == ("paid", "chargeback")
    path = f"/admin/reversals/{reversal['reversalId']}/settle"
    released = await operator.post(path, RELEASE, key="k")
    assert (released.status_code, released.json()["status"]) == (200, "released")
    assert (released.json()["reason"], released.json()["operatorId"]) == (RELEASE["reason"], str(operator.user_id))
    assert (await operator.post(path, RELEASE, key="k")).json() == released.json()
    check(await operator.post(path, {**RELEASE, "reason": "Another"}, key="k"), 422, "IDEMPOTENCY_CONFLICT")
    assert not await is_frozen(fan)
    assert (await fan.post("/tips/send", gift)).status_code == 200
    assert (await fan.get("/wallet")).json()["limits"] == {"dailySpendLimit": None}
    assert figure(shop, "halfminute_payment_reversals_open") == 0
    await shop.check_ledger()


async def test_a_refund_freezes_and_a_larger_one_of_the_same_charge_freezes_again(shop: Shop) -> None:
    fan, operator = shop.users.stranger(), await shop.users.operator()
    purchase = await shop.buy(fan)
    await shop.pay(purchase)
    await deliver(shop, shop.stripe.refund(purchase, 100))
    assert await is_frozen(fan)
    (reversal,) = await reversals(operator, status="open")
    await operator.post(f"/admin/reversals/{reversal['reversalId']}/settle", RELEASE)
    await deliver(shop, shop.stripe.refund(purchase, 100))  # again, and an operator has decided about it
    assert not await is_frozen(fan)
    await deliver(shop, shop.stripe.refund(purchase, 699))
    assert await is_frozen(fan)
    assert (counted(shop, "refund"), counted(shop, "repeated")) == (2, 1)


async def test_a_wallet_is_frozen_for_as_long_as_one_of_its_reversals_is_open(shop: Shop) -> None:
    fan, operator = shop.users.stranger(), await shop.users.operator()
    for _ in range(2):
        purchase = await shop.buy(fan)
        await shop.pay(purchase)
        await deliver(shop, shop.stripe.refund(purchase))
    held = []
    for reversal in await reversals(operator, status="open"):
        held.append(await is_frozen(fan))
        await operator.post(f"/admin/reversals/{reversal['reversalId']}/settle", RELEASE)
    assert (held, await is_frozen(fan)) == ([True, True], False)


async def test_a_reversal_of_money_that_was_not_credited_freezes_nobody(shop: Shop) -> None:
    fan, operator = shop.users.stranger(), await shop.users.operator()
    purchase = await shop.buy(fan)
    await shop.pay(purchase)
    await shop.pay(purchase, checkout="cs_test_another")
    (payment,) = (await operator.get("/admin/payments", status="open")).json()["items"]
    rejected = {"action": "reject", "reason": "Paid twice"}
    assert (await operator.post(f"/admin/payments/{payment['paymentId']}/settle", rejected)).status_code == 200
    await deliver(shop, shop.stripe.refund(purchase, checkout="cs_test_another"))
    assert not await is_frozen(fan)
    (reversal,) = await reversals(operator)
    assert (reversal["status"], counted(shop, "expected_reversal")) == ("expected", 1)


async def test_a_reversal_of_an_unknown_payment_waits_for_an_operator(shop: Shop) -> None:
    fan, operator = shop.users.stranger(), await shop.users.operator()
    purchase = await shop.buy(fan)
    await deliver(shop, shop.stripe.dispute(purchase))
    await deliver(shop, shop.stripe.refund(purchase, metadata={}, payment_intent=None))
    assert not await is_frozen(fan)
    found = await reversals(operator, status="open")
    assert [(each["purchaseId"], each["userId"]) for each in found] == [(None, None)] * 2
    for reversal in found:
        released = await operator.post(f"/admin/reversals/{reversal['reversalId']}/settle", RELEASE)
        assert released.json()["status"] == "released"


# Frozen wallets


async def test_nothing_is_cashed_out_of_a_frozen_wallet_and_no_payout_of_it_is_paid(shop: Shop) -> None:
    creator, operator, fan = await shop.users.creator(), await shop.users.operator(), shop.users.stranger()
    await shop.pay(await shop.buy(fan))  # tokens credited by operators could not be cashed out
    await shop.context.actor.post([tip(fan.user_id, creator.user_id, 50)])
    asked = (await creator.post("/payouts", {"tokens": 10})).json()
    purchase = await shop.buy(creator)
    await shop.pay(purchase)
    await deliver(shop, shop.stripe.refund(purchase))
    check(await creator.post("/payouts", {"tokens": 10}), 403, "FORBIDDEN")
    path = f"/admin/payouts/{asked['payoutId']}"
    check(await operator.post(path, {"status": "paid"}), 403, "FORBIDDEN")
    (reversal,) = await reversals(operator)
    await operator.post(f"/admin/reversals/{reversal['reversalId']}/settle", RELEASE)
    assert (await operator.post(path, {"status": "paid"})).json()["status"] == "paid"
    assert (await creator.post("/payouts", {"tokens": 10})).status_code == 201


async def test_a_call_that_runs_ends_with_the_next_block_of_a_frozen_wallet(dsn: str) -> None:
    async with open_shop(dsn, block_seconds=1) as shop:
        fan, creator = shop.users.stranger(), await shop.users.creator()
        purchase = await shop.buy(fan)
        await shop.pay(purchase)
        _, phone, _ = await shop.users.start_call(fan, creator)
        await deliver(shop, shop.stripe.refund(purchase))
        ended = await trio.to_thread.run_sync(phone.wait_for, "call:ended")
        assert ended["reason"] == "budget_reached"  # the reason at any spend limit


async def test_credits_and_operators_corrections_are_not_frozen(shop: Shop) -> None:
    fan, operator = shop.users.stranger(), await shop.users.operator()
    purchase = await shop.buy(fan)
    await shop.pay(purchase)
    await deliver(shop, shop.stripe.refund(purchase))
    await shop.pay(await shop.buy(fan))
    taken = {"userId": str(fan.user_id), "tokens": -100, "reason": "charged back"}
    assert (await operator.post("/admin/credits", taken)).status_code == 201
    assert await balance(fan) == 100


@pytest.mark.parametrize("own", [None, 50], ids=["no limit", "a limit"])
async def test_a_users_own_limit_survives_a_freeze_with_its_changes_meanwhile(shop: Shop, own: int | None) -> None:
    fan, creator, operator = shop.users.stranger(), await shop.users.creator(), await shop.users.operator()
    purchase = await shop.buy(fan)
    await shop.pay(purchase)
    if own is not None:
        await fan.put("/wallet/limits", {"dailySpendLimit": own})
    await shop.context.actor.post([tip(fan.user_id, creator.user_id, 20)])
    before = (await fan.get("/wallet")).json()["limits"]
    await deliver(shop, shop.stripe.refund(purchase))
    during = (await fan.get("/wallet")).json()["limits"]
    assert during["dailySpendLimit"] == before["dailySpendLimit"] == own
    assert (await fan.put("/wallet/limits", {"dailySpendLimit": 30})).json()["dailySpendLimit"] == 30
    raised = (await fan.put("/wallet/limits", {"dailySpendLimit": 1000})).json()
    assert (raised["dailySpendLimit"], raised["next"]["dailySpendLimit"]) == (30, 1000)
    check(await fan.post("/tips/send", {"toCreatorId": str(creator.user_id), "amountTokens": 1}), 403, "FORBIDDEN")
    (reversal,) = await reversals(operator)
    await operator.post(f"/admin/reversals/{reversal['reversalId']}/settle", RELEASE)
    assert (await fan.get("/wallet")).json()["limits"] == raised
    too_much = tip(fan.user_id, creator.user_id, 11)
    assert (await shop.context.actor.post([too_much]))[0].outcome.name == "LIMITED"
    await shop.check_ledger()


async def test_every_posting_under_way_when_a_wallet_freezes_is_booked_before_or_refused(shop: Shop) -> None:
    fan, creator = shop.users.stranger(), await shop.users.creator()
    purchase = await shop.buy(fan)
    await shop.pay(purchase)
    outcomes: list[str] = []

    async def pay(posting: Posting) -> None:
        outcomes.append((await shop.context.actor.post([posting]))[0].outcome.name)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(pay, tip(fan.user_id, creator.user_id, 1))
        nursery.start_soon(deliver, shop, shop.stripe.refund(purchase))
    await pay(tip(fan.user_id, creator.user_id, 1))
    assert outcomes[-1] == "LIMITED" and set(outcomes) <= {"COMMITTED", "LIMITED"}
    assert await balance(fan) == 100 - outcomes.count("COMMITTED")
    assert await is_frozen(fan)
    await shop.check_ledger()


# Permissions


async def test_nobody_releases_their_own_wallet_and_only_operators_release(shop: Shop) -> None:
    operator, other, fan = await shop.users.operator(), await shop.users.operator(), shop.users.stranger()
    purchase = await shop.buy(operator)
    await shop.pay(purchase)
    await deliver(shop, shop.stripe.dispute(purchase))
    (reversal,) = await reversals(other)
    path = f"/admin/reversals/{reversal['reversalId']}/settle"
    check(await operator.post(path, RELEASE), 403, "FORBIDDEN")
    check(await fan.post(path, RELEASE), 403, "FORBIDDEN")
    check(await fan.get("/admin/reversals"), 403, "FORBIDDEN")
    assert await is_frozen(operator)
    assert (await other.post(path, RELEASE)).status_code == 200
    check(await other.post(f"/admin/reversals/{SOMEBODY}/settle", RELEASE), 404, "NOT_FOUND")
    check(await other.post(path, {**RELEASE, "reason": " "}), 400, "VALIDATION_FAILED")
    for change in ("UPDATE reversal_settlements SET reason = 'x'", "DELETE FROM reversal_settlements"):
        with pytest.raises(StatementRefused):
            await shop.context.postgres.execute(change)


async def test_a_reversal_that_cannot_be_read_raises_an_alert(shop: Shop) -> None:
    purchase = await shop.buy(shop.users.stranger())
    for wrong in ({"id": ""}, {"amount_refunded": -1}, {"id": "a\0b"}, {"metadata": 5}):
        check(await shop.send_event(shop.stripe.refund(purchase, **wrong)), 403, "FORBIDDEN")
    assert counted(shop, "unreadable") == 4
