"""Every money action of an operator is recorded with its effect, and nobody acts on their own money."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.ids import ESCROW, RoomId
from server.ids import new_channel, new_uuid
from storage.database_errors import StatementRefused
from storage.ledger.audit import audit
from tests.server.rest.conftest import Caller
from tests.server.rest.problems import check
from tests.server.rest.shop import Shop, balance, open_shop
from tests.storage.ledger_pair import block, make_stream, purchase, ticket, tip

ACTIONS = "/admin/actions"
SETTLED = "what operators settled is kept among their actions, and nothing else is"


@pytest.fixture
async def shop(dsn: str) -> AsyncIterator[Shop]:
    async with open_shop(dsn) as opened:
        yield opened
        await opened.check_ledger()


async def actions(operator: Caller, **query: Any) -> list[dict[str, Any]]:
    """Return them newest first."""
    answer = await operator.get(ACTIONS, **query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def earned(shop: Shop, creator: Caller, tokens: int) -> str:
    """Return the id of a tip that was paid with bought tokens."""
    fan = shop.users.stranger()
    await fan.get("/me")
    paid = tip(fan.user_id, creator.user_id, tokens)
    assert all(receipt.paid for receipt in await shop.context.actor.post([purchase(fan.user_id, tokens), paid]))
    return str(paid.ref_id)


async def test_each_settled_payout_is_recorded_with_what_was_left_of_it(shop: Shop) -> None:
    creator, operator = await shop.users.creator(), await shop.users.operator()
    tip_id = await earned(shop, creator, 30)
    await earned(shop, creator, 70)
    payouts = [(await creator.post("/payouts", {"tokens": 50})).json()["payoutId"] for _ in range(2)]
    await operator.post("/admin/refunds", {"tipId": tip_id, "reason": "a slip"})
    for payout, status in zip(payouts, ("paid", "rejected"), strict=True):
        for _ in range(2):  # a repetition is no second action
            answer = await operator.post(f"/admin/payouts/{payout}", {"status": status, "note": "as agreed"})
            assert answer.status_code == 200, answer.text
    kept = [each for each in await actions(operator) if each["action"] != "refund"]
    fields = ("action", "operatorId", "targetId", "refId", "tokens", "reason")
    who = (str(operator.user_id), str(creator.user_id))
    assert [tuple(each[name] for name in fields) for each in kept] == [
        ("reject_payout", *who, payouts[1], 20, "as agreed"),
        ("pay_payout", *who, payouts[0], 50, "as agreed"),
    ]


async def test_each_decision_about_a_payment_is_recorded(shop: Shop) -> None:
    buyer, operator = shop.users.stranger(), await shop.users.operator()
    wrong, other = await shop.buy(buyer, "small"), await shop.buy(buyer, "medium")
    for bought in (wrong, other):
        await shop.send_event(shop.stripe.event(bought, amount_total=1))
    payments = {
        each["purchaseId"]: each["paymentId"] for each in (await operator.get("/admin/payments")).json()["items"]
    }
    rejected, credited = payments[wrong["purchaseId"]], payments[other["purchaseId"]]
    for payment, action in ((rejected, "reject"), (credited, "credit")):
        for _ in range(2):
            body = {"action": action, "reason": "as agreed"}
            answer = await operator.post(f"/admin/payments/{payment}/settle", body, key=action)
            assert answer.status_code == 200, answer.text
    kept = await actions(operator, targetId=str(buyer.user_id))
    assert [(each["action"], each["refId"], each["tokens"]) for each in kept] == [
        ("credit_purchase", credited, 500),
        ("reject_payment", rejected, None),
    ]
    assert all(each["key"] for each in kept) and {each["operatorId"] for each in kept} == {str(operator.user_id)}


async def test_a_rejected_payment_of_an_unknown_purchase_is_about_nobody(shop: Shop) -> None:
    buyer, operator = shop.users.stranger(), await shop.users.operator()
    await shop.pay(await shop.buy(buyer), client_reference_id="an order of another shop")
    payment = (await operator.get("/admin/payments")).json()["items"][0]["paymentId"]
    body = {"action": "reject", "reason": "not ours"}
    assert (await operator.post(f"/admin/payments/{payment}/settle", body)).status_code == 200
    (kept,) = await actions(operator)
    assert (kept["action"], kept["targetId"], kept["refId"]) == ("reject_payment", None, payment)


async def test_a_released_reversal_is_recorded_and_that_it_unfroze_the_wallet(shop: Shop) -> None:
    buyer, operator = shop.users.stranger(), await shop.users.operator()
    bought = [await shop.buy(buyer) for _ in range(2)]
    for each in bought:
        await shop.pay(each)
        await shop.send_event(shop.stripe.refund(each))
    reversals = [each["reversalId"] for each in (await operator.get("/admin/reversals")).json()["items"]]
    for reversal in reversals:
        body = {"action": "release", "reason": "cleared up"}
        assert (await operator.post(f"/admin/reversals/{reversal}/settle", body)).status_code == 200
    kept = [(each["action"], each["refId"], each["targetId"]) for each in await actions(operator)]
    who = str(buyer.user_id)
    assert kept == [
        ("unfreeze", reversals[1], who),
        ("release_reversal", reversals[1], who),
        ("release_reversal", reversals[0], who),
    ]


async def test_bans_and_lifted_bans_are_recorded(shop: Shop) -> None:
    fan, operator = await shop.users.fan(0), await shop.users.operator()
    ban = await operator.post("/admin/bans", {"userId": str(fan.user_id), "reason": "rude"})
    for _ in range(2):
        await operator.ask("DELETE", f"/admin/bans/{fan.user_id}")
    kept = await actions(operator, targetId=str(fan.user_id))
    assert [(each["action"], each["refId"], each["reason"]) for each in kept] == [
        ("lift_ban", ban.json()["banId"], ""),
        ("ban", ban.json()["banId"], "rude"),
    ]


async def test_actions_are_filtered_and_paged(shop: Shop) -> None:
    fan, other = await shop.users.fan(0), await shop.users.fan(0)
    one, two = await shop.users.operator(), await shop.users.operator()
    for operator, user, tokens in ((one, fan, 1), (two, fan, 2), (one, other, 3)):
        gift = {"userId": str(user.user_id), "tokens": tokens, "reason": "welcome"}
        assert (await operator.post("/admin/credits", gift)).status_code == 201
    await one.post("/admin/bans", {"userId": str(other.user_id), "reason": "rude"})
    hour, now = timedelta(hours=1), datetime.now(UTC)
    for query, shown in (
        ({}, [None, 3, 2, 1]),
        ({"operatorId": str(one.user_id)}, [None, 3, 1]),
        ({"targetId": str(fan.user_id)}, [2, 1]),
        ({"operatorId": str(one.user_id), "targetId": str(fan.user_id)}, [1]),
        ({"action": "credit"}, [3, 2, 1]),
        ({"action": "refund"}, []),
        ({"from": (now - hour).isoformat()}, [None, 3, 2, 1]),
        ({"to": (now - hour).isoformat()}, []),
    ):
        assert [each["tokens"] for each in await actions(one, **query)] == shown, query
    first = await one.get(ACTIONS, limit=3)
    rest = await one.follow(first.links["next"]["url"])
    assert [each["tokens"] for each in first.json()["items"] + rest.json()["items"]] == [None, 3, 2, 1]
    for query in ({"action": "steal"}, {"operatorId": "x"}, {"from": "x"}):
        check(await one.get(ACTIONS, **query), 400, "VALIDATION_FAILED")
    check(await fan.get(ACTIONS), 403, "FORBIDDEN")


# One's own money


async def test_nobody_refunds_what_they_paid_or_were_paid_themselves(shop: Shop) -> None:
    operator, fan, creator = await shop.users.operator(), await shop.users.fan(100), await shop.users.creator()
    await operator.put("/creators/me", {"rateTokensPerMin": 60})
    postgres = shop.context.postgres
    stream = RoomId(new_uuid())
    await postgres.execute(
        "INSERT INTO rooms (id, kind, channel, opened) VALUES ($1, 'stream', $2, false)", stream, new_channel()
    )
    await make_stream(postgres, stream, operator.user_id)
    await postgres.execute("INSERT INTO meters (room_id, payer_id) VALUES ($1, $2)", stream, fan.user_id)
    received = tip(fan.user_id, operator.user_id, 10)
    in_escrow = ticket(stream, fan.user_id, ESCROW, 10)
    sent = tip(operator.user_id, creator.user_id, 5)
    watched = block(stream, fan.user_id, operator.user_id, 1)
    assert all(receipt.paid for receipt in await shop.context.actor.post([received, in_escrow, sent, watched]))
    for target in (
        {"tipId": str(received.ref_id)},
        {"tipId": str(sent.ref_id)},
        {"ticketId": str(in_escrow.ref_id)},
        {"streamId": str(stream), "userId": str(fan.user_id)},
    ):
        check(await operator.post("/admin/refunds", {**target, "reason": "for me"}), 400, "SELF_PAYMENT")
    colleague = await shop.users.operator()
    for target in ({"tipId": str(received.ref_id)}, {"ticketId": str(in_escrow.ref_id)}):
        assert (await colleague.post("/admin/refunds", {**target, "reason": "a slip"})).status_code == 201


async def test_nobody_settles_their_own_payout(shop: Shop) -> None:
    operator, colleague = await shop.users.operator(), await shop.users.operator()
    await operator.put("/creators/me", {"rateTokensPerMin": 60})
    await earned(shop, operator, 50)
    payout = (await operator.post("/payouts", {"tokens": 50})).json()["payoutId"]
    for status in ("paid", "rejected"):
        check(await operator.post(f"/admin/payouts/{payout}", {"status": status}), 403, "FORBIDDEN")
    assert (await operator.get("/payouts")).json()["items"][0]["status"] == "requested"
    assert (await colleague.post(f"/admin/payouts/{payout}", {"status": "paid"})).status_code == 200


async def test_nobody_settles_their_own_purchase_in_either_way(shop: Shop) -> None:
    operator = await shop.users.operator()
    bought = await shop.buy(operator)
    await shop.send_event(shop.stripe.event(bought, amount_total=1))
    payment = (await operator.get("/admin/payments")).json()["items"][0]["paymentId"]
    for action in ("credit", "reject"):
        body = {"action": action, "reason": "for me"}
        for path in (f"/admin/payments/{payment}/settle", f"/admin/purchases/{bought['purchaseId']}/settle"):
            check(await operator.post(path, body), 403, "FORBIDDEN")
    assert (await balance(operator), await actions(operator)) == (0, [])


# The audit


@pytest.mark.parametrize(
    "forgery",
    [
        "DELETE FROM operator_actions",
        "UPDATE operator_actions SET operator_id = gen_random_uuid()",
        "UPDATE operator_actions SET tokens = tokens + 1",
        "INSERT INTO operator_actions (id, action, target_id, tokens)"
        " SELECT gen_random_uuid(), action, target_id, tokens FROM operator_actions",
    ],
)
async def test_the_audit_checks_that_settlements_and_actions_match_one_to_one(dsn: str, forgery: str) -> None:
    async with open_shop(dsn) as shop:
        creator, operator = await shop.users.creator(), await shop.users.operator()
        await earned(shop, creator, 50)
        payout = (await creator.post("/payouts", {"tokens": 50})).json()["payoutId"]
        await operator.post(f"/admin/payouts/{payout}", {"status": "paid"})
        assert await _broken(shop) == []
        with pytest.raises(StatementRefused):
            await shop.context.postgres.execute("UPDATE operator_actions SET reason = 'nothing'")
        for statement in ("DISABLE TRIGGER operator_actions_are_append_only", None):
            sql = forgery if statement is None else f"ALTER TABLE operator_actions {statement}"
            await shop.context.postgres.execute(sql)
        assert await _broken(shop) == [SETTLED]


async def _broken(shop: Shop) -> list[str]:
    return [finding.sentence async for finding in audit(shop.context.postgres) if finding.rows]
