"""Figures are net of refunds and show them: overview, stats, billing, leaderboards, statements and debts."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from domain.ids import RoomId, block_key
from server.context import Context
from storage.ledger.refunds import Advance
from tests.server.rest.conftest import Caller
from tests.server.rest.ended_calls import book, call_of
from tests.server.rest.problems import check
from tests.server.rest.shop import Shop, open_shop
from tests.storage.ledger_pair import OPERATOR, in_room, purchase, ticket, tip
from tests.support.days import day, wait_past_midnight


@pytest.fixture
async def shop(dsn: str) -> AsyncIterator[Shop]:
    await wait_past_midnight()
    async with open_shop(dsn) as opened:
        yield opened
        await opened.check_ledger()


async def fan_with(shop: Shop, tokens: int) -> Caller:
    """A user who has bought so many tokens."""
    fan = shop.users.stranger()
    await fan.get("/me")
    await book(shop.context, purchase(fan.user_id, tokens))
    return fan


async def announce(creator: Caller, **wanted: Any) -> RoomId:
    stream = await creator.post("/streams", {"title": "A show", "type": "private", **wanted})
    assert stream.status_code == 201, stream.text
    return RoomId(UUID(stream.json()["stream"]["id"]))


async def refund(operator: Caller, **target: object) -> dict[str, Any]:
    body = {name: str(value) for name, value in target.items()} | {"reason": "sorry"}
    answer = await operator.post("/admin/refunds", body)
    assert answer.status_code == 201, answer.text
    given: dict[str, Any] = answer.json()
    return given


async def overview(operator: Caller) -> dict[str, Any]:
    answer = await operator.get("/admin/overview", days=2)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def net(count: int, tokens: int, *, refunds: int = 0, refunded: int = 0) -> dict[str, int]:
    return {"count": count, "tokens": tokens, "refunds": refunds, "refundedTokens": refunded}


async def test_the_overview_is_net_of_refunds_and_shows_their_sum(shop: Shop) -> None:
    fan, creator, operator = await fan_with(shop, 1000), await shop.users.creator(), await shop.users.operator()
    stream = await announce(creator, ticketPriceTokens=30)
    tips = [in_room(tip(fan.user_id, creator.user_id, tokens), stream, 0) for tokens in (40, 10)]
    sold = ticket(stream, fan.user_id, creator.user_id, 30)
    await book(shop.context, *tips, sold)
    call_id = await call_of(shop, fan, creator, 2)
    await overview(operator)  # the figures include everything so far
    for target in ({"tipId": tips[0].ref_id}, {"ticketId": sold.ref_id}, {"callId": call_id}):
        await refund(operator, **target)
    shown = await overview(operator)
    total = shown["total"]
    assert total["tips"] == net(2, 10, refunds=1, refunded=40)
    assert total["ticketSales"] == net(1, 0, refunds=1, refunded=30)
    assert total["blocks"] == net(2, 0, refunds=2, refunded=30)
    assert shown["tipsPerStream"] == {
        "streams": 1,
        "tokens": 10,
        "refundedTokens": 40,
        "best": [{"streamId": str(stream), "tips": 2, "tokens": 10, "refunds": 1, "refundedTokens": 40}],
    }
    assert shown["averageStreamTips"] == 10
    assert {name: shown["days"][0][name] for name in ("tips", "ticketSales", "blocks")} == {
        name: total[name] for name in ("tips", "ticketSales", "blocks")
    }


async def test_a_refund_counts_on_its_own_day(shop: Shop) -> None:
    fan, creator, operator = await fan_with(shop, 100), await shop.users.creator(), await shop.users.operator()
    paid = tip(fan.user_id, creator.user_id, 40)
    await book(shop.context, paid)
    await _a_day_earlier(shop.context)
    await refund(operator, tipId=paid.ref_id)
    today, yesterday = (await overview(operator))["days"]
    assert (today["day"], today["tips"]) == (day(0), net(0, -40, refunds=1, refunded=40))
    assert (yesterday["day"], yesterday["tips"]) == (day(1), net(1, 40))


async def test_a_ticket_is_counted_as_sold_until_it_is_released_by_a_refund(shop: Shop) -> None:
    fan, creator, operator = await fan_with(shop, 100), await shop.users.creator(), await shop.users.operator()
    stream = await announce(creator, ticketPriceTokens=30)
    answer = await fan.post(f"/streams/{stream}/tickets")
    assert answer.status_code == 201, answer.text
    assert (await overview(operator))["total"]["ticketSales"] == net(1, 30)
    await shop.context.actor.release(stream)
    assert (await overview(operator))["total"]["ticketSales"] == net(1, 30)
    await refund(operator, streamId=stream, userId=fan.user_id)
    assert (await overview(operator))["total"]["ticketSales"] == net(1, 0, refunds=1, refunded=30)


async def test_cash_out_is_net_of_the_refunds_taken_out_of_payouts(shop: Shop) -> None:
    fan, creator, operator = await fan_with(shop, 100), await shop.users.creator(), await shop.users.operator()
    tips = [tip(fan.user_id, creator.user_id, tokens) for tokens in (40, 60)]
    await book(shop.context, *tips)
    for tokens in (50, 50):
        await creator.post("/payouts", {"tokens": tokens})
    await refund(operator, tipId=tips[1].ref_id)  # cancels the second and takes 10 of the first
    shown = await overview(operator)
    assert shown["total"]["cashOut"] == {"count": 1, "tokens": 40, "returnedTokens": 10}
    assert shown["total"]["cashOutCents"] == 200
    assert shown["openPayouts"] == {"count": 1, "tokens": 40}
    assert shown["cashOutRate"] == 1.0


async def test_the_overview_shows_the_advances_of_losses_and_their_repayment_and_debts_are_listed(shop: Shop) -> None:
    fan, creator, operator = await fan_with(shop, 200), await shop.users.creator(), await shop.users.operator()
    other = await shop.users.creator()
    paid = tip(fan.user_id, creator.user_id, 100)
    await book(shop.context, paid, tip(creator.user_id, other.user_id, 70))
    assert (await refund(operator, tipId=paid.ref_id))["fromLosses"] == 70
    await book(shop.context, tip(fan.user_id, creator.user_id, 20))
    shown = await overview(operator)
    assert shown["total"]["losses"] == {"advanced": 70, "repaid": 20}
    assert shown["openDebts"] == {"count": 1, "tokens": 50, "writtenOffTokens": 0}
    (debt,) = (await operator.get("/admin/debts")).json()["items"]
    assert debt == {
        "debtId": debt["debtId"],
        "status": "open",
        "userId": str(creator.user_id),
        "tokens": 70,
        "repaidTokens": 20,
        "openTokens": 50,
        "refundedTo": str(fan.user_id),
        "refundOf": "tip",
        "roomId": None,
        "blockNo": None,
        "refId": str(paid.ref_id),
        "operatorId": str(operator.user_id),
        "reason": "sorry",
        "at": debt["at"],
    }
    await book(shop.context, tip(fan.user_id, creator.user_id, 60))
    assert (await overview(operator))["openDebts"] == {"count": 0, "tokens": 0, "writtenOffTokens": 0}
    for query, count in (
        ({"status": "open"}, 0), ({"status": "repaid"}, 1), ({"status": "written_off"}, 0),
        ({"userId": str(creator.user_id)}, 1), ({"userId": str(fan.user_id)}, 0),
        ({"userId": str(creator.user_id), "status": "repaid"}, 1),
    ):  # fmt: skip
        assert (await operator.get("/admin/debts", **query)).json()["total"] == count, query
    check(await creator.get("/admin/debts"), 403, "FORBIDDEN")
    check(await operator.get("/admin/debts", status="gone"), 400, "VALIDATION_FAILED")


async def test_debts_are_paged_newest_first(shop: Shop) -> None:
    operator, creator = await shop.users.operator(), await shop.users.creator()
    other = await shop.users.creator()
    fan = await fan_with(shop, 60)
    tips = [tip(fan.user_id, creator.user_id, tokens) for tokens in (10, 20, 30)]
    await book(shop.context, *tips, tip(creator.user_id, other.user_id, 60))
    for paid in tips:
        await refund(operator, tipId=paid.ref_id)
    first = await operator.get("/admin/debts", limit=2)
    rest = await operator.follow(first.links["next"]["url"])
    assert [debt["tokens"] for debt in first.json()["items"] + rest.json()["items"]] == [30, 20, 10]


# A call of which half is refunded


async def test_half_a_call_that_is_refunded_shows_in_all_its_figures(shop: Shop) -> None:
    fan, creator = await fan_with(shop, 100), await shop.users.creator()
    other = await shop.users.creator()
    call_id = await call_of(shop, fan, creator, 4)
    await book(shop.context, tip(creator.user_id, other.user_id, 50))  # 10 are left, so `losses` advances the rest
    keys = [block_key(call_id, fan.user_id, n) for n in (3, 4)]
    await shop.context.actor.refund(keys, "half of it", Advance(OPERATOR, None))
    for party in (fan, creator):
        shown = (await party.get(f"/billing/{call_id}")).json()
        totals = {name: shown["totals"][name] for name in ("blocks", "tokens", "refundedBlocks", "refundedTokens")}
        assert totals == {"blocks": 4, "tokens": 30, "refundedBlocks": 2, "refundedTokens": 30}
        assert [each["refundedTokens"] for each in shown["blocks"]] == [0, 0, 15, 15]
        assert [each["refundedAt"] is None for each in shown["blocks"]] == [True, True, False, False]
        history = (await party.get("/billing/history", callId=call_id)).json()["items"]
        assert [(each["blockNo"], each["tokens"], each["refundedTokens"]) for each in history] == [
            (4, 15, 15), (3, 15, 15), (2, 15, 0), (1, 15, 0),
        ]  # fmt: skip
        assert (await party.get("/billing/history")).json()["items"] == history
    for role, party, counterparty in (("fan", fan, creator), ("creator", creator, fan)):
        sums = {"blocks": 4, "tokens": 30, "refundedBlocks": 2, "refundedTokens": 30}
        stats = (await party.get("/billing/stats")).json()[role]
        assert {name: stats[name] for name in sums} == sums
        assert stats["byDay"] == [{"day": day(0), **sums}]
        (row,) = stats["byCounterparty"]
        assert {name: row[name] for name in ("userId", *sums)} == {"userId": str(counterparty.user_id), **sums}
        calls = (await party.get("/calls/stats")).json()[role]
        assert {name: calls[name] for name in ("calls", *sums)} == {"calls": 1, **sums}


async def test_stats_count_a_refund_on_its_own_day(shop: Shop) -> None:
    fan, creator, operator = await fan_with(shop, 100), await shop.users.creator(), await shop.users.operator()
    call_id = await call_of(shop, fan, creator, 2)
    await _a_day_earlier(shop.context)
    await refund(operator, callId=call_id)
    for role, party in (("fan", fan), ("creator", creator)):
        stats = (await party.get("/billing/stats")).json()[role]
        assert stats["byDay"] == [
            {"day": day(0), "blocks": 0, "tokens": -30, "refundedBlocks": 2, "refundedTokens": 30},
            {"day": day(1), "blocks": 2, "tokens": 30, "refundedBlocks": 0, "refundedTokens": 0},
        ]
        since = (await party.get("/billing/stats", **{"from": day(0)})).json()[role]
        assert (since["blocks"], since["tokens"], since["refundedTokens"]) == (0, -30, 30)


async def test_a_refund_in_a_statement_names_the_refunded_posting(shop: Shop) -> None:
    fan, creator, operator = await fan_with(shop, 200), await shop.users.creator(), await shop.users.operator()
    stream = await announce(creator, ticketPriceTokens=30)
    paid, sold = tip(fan.user_id, creator.user_id, 40), ticket(stream, fan.user_id, creator.user_id, 30)
    await book(shop.context, paid, sold)
    call_id = await call_of(shop, fan, creator, 2)
    for target in ({"tipId": paid.ref_id}, {"ticketId": sold.ref_id}, {"callId": call_id}):
        await refund(operator, **target)
    expected = [
        ("block", str(call_id), 2, None),
        ("block", str(call_id), 1, None),
        ("ticket", str(stream), None, str(sold.ref_id)),
        ("tip", None, None, str(paid.ref_id)),
    ]
    for party in (fan, creator):
        for query in ({"kind": "refund"}, {"limit": 4}):
            entries = (await party.get("/wallet/ledger", **query)).json()["items"]
            assert [
                (entry["refundOf"], entry["roomId"], entry["blockNo"], entry["refId"]) for entry in entries
            ] == expected
        (entry,) = (await party.get("/wallet/ledger", kind="tip")).json()["items"]
        assert entry["refundOf"] is None


# Leaderboards


async def test_a_leaderboard_is_net_of_refunds(shop: Shop) -> None:
    one, other, gone = [await fan_with(shop, 100) for _ in range(3)]
    creator, friend, operator = [await shop.users.creator() for _ in range(2)] + [await shop.users.operator()]
    stream = await announce(creator, type="public")
    started = await creator.post(f"/streams/{stream}/start")
    assert started.status_code == 200, started.text
    channel = started.json()["stream"]["channel"]
    tips = {
        name: in_room(tip(who.user_id, creator.user_id, tokens), stream, 0)
        for name, who, tokens in (("one", one, 50), ("more", one, 20), ("other", other, 60), ("gone", gone, 10))
    }
    await book(shop.context, *tips.values(), tip(creator.user_id, friend.user_id, 110))  # 30 are left
    await refund(operator, tipId=tips["one"].ref_id)  # 20 of it are advanced
    await refund(operator, tipId=tips["gone"].ref_id)
    expected = [
        {"userId": str(other.user_id), "displayName": "", "tips": 1, "tokens": 60, "refundedTokens": 0},
        {"userId": str(one.user_id), "displayName": "", "tips": 1, "tokens": 20, "refundedTokens": 50},
    ]
    for query in ({"creatorId": str(creator.user_id)}, {"channel": channel}):
        for caller in (creator, one, operator):
            items = (await caller.get("/tips/leaderboard", **query)).json()["items"]
            assert [{**item, "displayName": ""} for item in items] == expected, query


async def _a_day_earlier(context: Context) -> None:
    """Move all bookings back by a day."""
    for statement in (
        "ALTER TABLE journal DISABLE TRIGGER journal_is_append_only",
        "UPDATE journal SET created_at = created_at - interval '1 day'",
        "ALTER TABLE journal ENABLE TRIGGER journal_is_append_only",
        "UPDATE figures SET through = through - interval '2 days'",
    ):
        await context.postgres.execute(statement)
