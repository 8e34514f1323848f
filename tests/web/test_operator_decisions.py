"""Decisions of operators in the browser about payments, payouts and refunds, on a server that sells tokens."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
import trio

from tests.server.rest.conftest import Caller
from tests.server.rest.shop import Shop, balance, open_shop
from tests.web import decision_scenes
from tests.web.browser import play

pytestmark = pytest.mark.long


@pytest.fixture
async def shop(dsn: str) -> AsyncIterator[Shop]:
    async with open_shop(dsn, block_seconds=1) as opened:
        yield opened


async def play_as(shop: Shop, operator: Caller, scene: Callable[..., None], **given: Any) -> None:
    url = f"http://127.0.0.1:{shop.context.http_port}/"
    await trio.to_thread.run_sync(partial(play, scene, url=url, token=operator.token, **given))


async def test_payments_payouts_and_reversals_are_settled(shop: Shop) -> None:
    operator = await shop.users.operator()
    cheat, payer, owner, creator = (shop.users.stranger() for _ in range(4))
    await shop.pay(await shop.buy(cheat, "large"), amount_total=1, checkout="cs_test_one")
    await shop.pay(await shop.buy(payer), amount_total=599)
    bought = await shop.buy(owner)
    await shop.pay(bought)
    creator = await shop.users.online_creator()
    gift = {"toCreatorId": str(creator.user_id), "amountTokens": 40}
    assert (await owner.post("/tips/send", gift)).status_code == 200
    assert (await creator.post("/payouts", {"tokens": 40})).status_code == 201
    for step, status in (("created", "needs_response"), ("funds_withdrawn", "under_review"), ("closed", "lost")):
        assert (await shop.send_event(shop.stripe.dispute(bought, step, status))).status_code == 200
    assert (await owner.get("/wallet")).json()["frozen"]
    await play_as(shop, operator, decision_scenes.settle_everything)
    assert await balance(cheat) == 0
    assert await balance(payer) == 100
    assert not (await owner.get("/wallet")).json()["frozen"]
    assert await balance(creator) == 40
    assert (await creator.get("/payouts")).json()["items"][0]["status"] == "rejected"
    actions = (await operator.get("/admin/actions")).json()["items"]
    assert {each["action"] for each in actions} >= {
        "reject_payment",
        "credit_purchase",
        "release_reversal",
        "reject_payout",
    }
    await shop.check_ledger()


async def test_a_call_and_a_ticket_are_refunded(shop: Shop) -> None:
    operator, fan, creator = await shop.users.operator(), await shop.users.fan(1000), await shop.users.creator(60)
    call_id, _, _ = await shop.users.start_call(fan, creator)
    assert (await fan.post(f"/billing/{call_id}/stop")).status_code == 200
    announced = await creator.post("/streams", {"title": "A show", "type": "private", "ticketPriceTokens": 50})
    stream_id = announced.json()["stream"]["id"]
    assert (await fan.post(f"/streams/{stream_id}/tickets")).status_code == 201
    await play_as(shop, operator, decision_scenes.refund_call_and_ticket, fan=str(fan.user_id))
    assert await balance(fan) == 1000
    assert await balance(creator) == 0
    await shop.check_ledger()


async def test_users_are_found_by_address_and_id(shop: Shop) -> None:
    operator, fan = await shop.users.operator(), await shop.users.fan()
    fan.claim(email="lena@example.org")
    assert (await fan.get("/me")).status_code == 200
    given = {"email": "lena@example.org", "user_id": str(fan.user_id)}
    await play_as(shop, operator, decision_scenes.find_users, **given)
