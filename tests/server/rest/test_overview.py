"""The operators' overview: sales, tickets, tips, calls, cash-out and margin, each counted once."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from domain.billing.posting import Kind, Posting
from domain.ids import ESCROW, PAYOUTS, RoomId, UserId, client_key
from server.ids import new_uuid
from tests.server.rest.conftest import Caller
from tests.server.rest.problems import check
from tests.server.rest.shop import Shop, open_shop
from tests.storage.ledger_pair import purchase, tip

NONE = {"count": 0, "tokens": 0}
NOTHING = {**NONE, "refunds": 0, "refundedTokens": 0}


BALANCES = ("users", "escrow", "tokenSales", "promotions", "payouts", "losses")


def net(count: int, tokens: int, *, refunds: int = 0, refunded: int = 0) -> dict[str, int]:
    """The number of postings, and their tokens net of refunds."""
    return {"count": count, "tokens": tokens - refunded, "refunds": refunds, "refundedTokens": refunded}


@pytest.fixture
async def shop(dsn: str) -> AsyncIterator[Shop]:
    async with open_shop(dsn) as opened:
        yield opened


async def move(shop: Shop, kind: Kind, debit: UUID, credit: UUID, tokens: int, room: RoomId | None = None) -> None:
    posting = Posting(
        key=client_key(UserId(debit), str(new_uuid())),
        kind=kind,
        debit=UserId(debit),
        credit=UserId(credit),
        tokens=tokens,
        room_id=room,
        ref_id=new_uuid(),
    )
    assert (await shop.context.actor.post([posting]))[0].paid


async def open_stream(creator: Caller) -> RoomId:
    wanted = {"title": "A show", "type": "private", "ticketPriceTokens": 25}
    announced = await creator.post("/streams", wanted)
    assert announced.status_code == 201, announced.text
    return RoomId(UUID(announced.json()["stream"]["id"]))


async def overview(operator: Caller, days: int = 2) -> dict[str, Any]:
    answer = await operator.get("/admin/overview", days=days)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def test_a_server_without_postings_has_nothing_to_show(shop: Shop) -> None:
    shown = await overview(await shop.users.operator(), days=3)
    assert len(shown["days"]) == 3
    assert shown["days"][0]["day"] == f"{datetime.now(UTC):%Y-%m-%d}"
    assert shown["total"] == {
        "tokenSales": {**NONE, "revenueCents": 0},
        "ticketSales": NOTHING,
        "tips": NOTHING,
        "blocks": NOTHING,
        "calls": {"ended": 0, "answered": 0, "activeSeconds": 0},
        "averageCallSeconds": None,
        "cashOut": {**NONE, "returnedTokens": 0},
        "cashOutCents": 0,
        "losses": {"advanced": 0, "repaid": 0},
        "purchases": NOTHING,
        "credits": NOTHING,
        "payouts": NOTHING,
        "refunds": NONE,
    }
    assert shown["opening"] == shown["closing"] == dict.fromkeys(BALANCES, 0)
    assert [shown[name] for name in ("averageStreamTips", "cashOutRate")] == [None, None]
    assert shown["margin"]["marginCentsPerBuyer"] is None


async def test_sales_and_the_margin_of_each_buyer(shop: Shop) -> None:
    one, other, operator = shop.users.stranger(), shop.users.stranger(), await shop.users.operator()
    for buyer, pack in ((one, "small"), (one, "medium"), (other, "small")):
        await shop.pay(await shop.buy(buyer, pack))
    await shop.buy(other, "huge")  # and does not pay
    shown = await overview(operator)
    assert shown["total"]["tokenSales"] == {"count": 3, "tokens": 700, "revenueCents": 2 * 699 + 3299}
    assert shown["margin"] == {
        "buyers": 2,
        "revenueCents": 4697,
        "payoutValueCents": 3500,
        "marginCents": 1197,
        "marginCentsPerBuyer": 598.5,
    }
    assert shown["days"][0]["tokenSales"] == shown["total"]["tokenSales"]


async def test_tips_sales_and_cash_out_are_counted_once_however_often_they_are_read(shop: Shop) -> None:
    fan, creator, operator = await shop.users.fan(0), await shop.users.creator(), await shop.users.operator()
    assert (await shop.context.actor.post([purchase(fan.user_id, 1000)]))[0].paid
    streams = [await open_stream(creator) for _ in range(2)]
    for tokens, room in ((10, streams[0]), (20, streams[0]), (40, streams[1]), (5, None)):
        await move(shop, Kind.TIP, fan.user_id, creator.user_id, tokens, room)
        await overview(operator)
    await move(shop, Kind.TICKET, fan.user_id, ESCROW, 25, streams[0])
    await shop.context.actor.release(streams[0])
    payouts = [(await creator.post("/payouts", {"tokens": tokens})).json()["payoutId"] for tokens in (30, 40)]
    await operator.post(f"/admin/payouts/{payouts[1]}", {"status": "rejected"})
    shown = await overview(operator)
    assert shown["total"]["tips"] == net(4, 75)
    assert shown["total"]["ticketSales"] == net(1, 25)
    assert shown["total"]["cashOut"] == {"count": 1, "tokens": 30, "returnedTokens": 0}
    assert shown["total"]["cashOutCents"] == 150
    assert (shown["openPayouts"], shown["centsPerToken"]) == ({"count": 1, "tokens": 30}, 5)
    assert shown["cashOutRate"] == 0.3
    assert shown["averageStreamTips"] == 35
    assert shown["tipsPerStream"] == {
        "streams": 2,
        "tokens": 70,
        "refundedTokens": 0,
        "best": [
            {"streamId": str(streams[1]), "tips": 1, "tokens": 40, "refunds": 0, "refundedTokens": 0},
            {"streamId": str(streams[0]), "tips": 2, "tokens": 30, "refunds": 0, "refundedTokens": 0},
        ],
    }
    for stream in streams:
        assert (await creator.post(f"/streams/{stream}/end")).status_code == 200
    assert (await overview(operator))["total"]["calls"]["ended"] == 0, "a stream is no call"


async def test_calls_and_their_lengths(shop: Shop) -> None:
    fan, creator, operator = await shop.users.fan(1000), await shop.users.creator(), await shop.users.operator()
    call_id, _, _ = await shop.users.start_call(fan, creator)
    await fan.post(f"/billing/{call_id}/stop")
    active = (await fan.get(f"/billing/{call_id}")).json()["totals"]["activeSeconds"]
    rung = await fan.post("/calls/init", {"creatorId": str(creator.user_id)})
    await fan.post(f"/calls/{rung.json()['callId']}/cancel")
    for room in shop.context.registry:
        await room.settled.wait()
    total = (await overview(operator))["total"]
    assert total["calls"] == {"ended": 2, "answered": 1, "activeSeconds": int(active)}
    assert total["averageCallSeconds"] == int(active)
    assert total["blocks"] == net(1, 30)


async def test_only_operators_see_it_and_only_so_far_back(shop: Shop) -> None:
    fan, operator = await shop.users.fan(), await shop.users.operator()
    check(await fan.get("/admin/overview"), 403, "FORBIDDEN")
    for days in ("0", "93", "x", "-1"):
        check(await operator.get("/admin/overview", days=days), 400, "VALIDATION_FAILED")
    assert len((await operator.get("/admin/overview")).json()["days"]) == 30


@pytest.mark.parametrize("name", ["Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu", "UTC"])
async def test_days_are_those_of_the_time_zone(shop: Shop, name: str) -> None:
    """The first two zones are 25 hours apart, so that their dates differ at any time."""
    fan, creator, operator = await shop.users.fan(0), await shop.users.creator(), await shop.users.operator()
    await shop.pay(await shop.buy(fan))
    paid = [purchase(fan.user_id, 10), tip(fan.user_id, creator.user_id, 10)]
    assert all(receipt.paid for receipt in await shop.context.actor.post(paid))
    assert (await creator.post("/payouts", {"tokens": 5})).status_code == 201
    before = datetime.now(ZoneInfo(name)).date()
    shown = (await operator.get("/admin/overview", days=2, tz=name)).json()
    days = [before, datetime.now(ZoneInfo(name)).date()]
    assert (shown["tz"], shown["days"][0]["day"] in map(str, days)) == (name, True)
    for figure in ("tokenSales", "tips", "cashOut"):
        assert sum(day[figure]["count"] for day in shown["days"]) == shown["total"][figure]["count"] == 1
    booked = await shop.context.postgres.fetch(
        "SELECT (created_at AT TIME ZONE $1)::date AS day FROM journal WHERE kind = 2", name
    )
    assert [day["day"] for day in shown["days"] if day["tips"]["count"]] == [str(row["day"]) for row in booked]


async def test_a_time_zone_that_does_not_exist_is_refused_by_name(shop: Shop) -> None:
    operator = await shop.users.operator()
    for name in ("Europe/Atlantis", "EST", "CET-1CEST", ""):
        fields = check(await operator.get("/admin/overview", tz=name), 400, "VALIDATION_FAILED")
        assert [error["field"] for error in fields["errors"]] == ["tz"]


async def test_open_payouts_are_not_counted(shop: Shop) -> None:
    creator, operator = await shop.users.creator(), await shop.users.operator()
    await shop.context.postgres.execute(
        "INSERT INTO payouts (id, creator_id, posting_key, tokens, cents, currency) VALUES ($1, $2, $3, 5, 25, 'USD')",
        *(PAYOUTS, creator.user_id, PAYOUTS),
    )
    shown = await overview(operator)
    assert (shown["total"]["cashOut"], shown["openPayouts"]) == ({**NONE, "returnedTokens": 0}, NONE)


async def test_the_days_of_a_period(shop: Shop) -> None:
    operator = await shop.users.operator()
    today = datetime.now(UTC).date()
    answer = await operator.get("/admin/overview", **{"from": "2026-10-24", "to": "2026-10-27", "tz": "Europe/Berlin"})
    shown = answer.json()
    assert [day["day"] for day in shown["days"]] == ["2026-10-26", "2026-10-25", "2026-10-24"]
    assert (shown["from"], shown["to"], shown["tz"]) == ("2026-10-24", "2026-10-27", "Europe/Berlin")
    latest = (await operator.get("/admin/overview", days=7)).json()
    assert (latest["from"], latest["to"]) == (f"{today - timedelta(days=6)}", f"{today + timedelta(days=1)}")
    before = (await operator.get("/admin/overview", days=2, to="2026-03-01")).json()
    assert [day["day"] for day in before["days"]] == ["2026-02-28", "2026-02-27"]
    for wrong in (
        {"from": "2026-10-24", "to": "2026-10-24"},
        {"from": "2026-10-24", "to": "2026-10-23"},
        {"from": "2024-01-01", "to": "2025-01-02"},
        {"from": "0001-01-01", "to": "0001-02-01"},
        {"to": "9999-12-31"},
        {"from": "2026-13-01"},
        {"from": f"{today + timedelta(days=3)}"},
    ):
        check(await operator.get("/admin/overview", **wrong), 400, "VALIDATION_FAILED")


async def test_balances_at_both_ends_explain_the_period(shop: Shop) -> None:
    fan, creator, operator = await shop.users.fan(0), await shop.users.creator(), await shop.users.operator()
    assert (await shop.context.actor.post([purchase(fan.user_id, 1000)]))[0].paid
    await move(shop, Kind.TIP, fan.user_id, creator.user_id, 100)
    stream = await open_stream(creator)
    await move(shop, Kind.TICKET, fan.user_id, ESCROW, 25, stream)
    gift = {"userId": str(fan.user_id), "tokens": 50, "reason": "welcome"}
    assert (await operator.post("/admin/credits", gift)).status_code == 201
    assert (await creator.post("/payouts", {"tokens": 30})).status_code == 201
    shown = await overview(operator)
    assert shown["opening"] == dict.fromkeys(BALANCES, 0)
    assert shown["closing"] == {
        "users": 1000 - 25 + 50 - 30, "escrow": 25, "tokenSales": -1000, "promotions": -50, "payouts": 30, "losses": 0,
    }  # fmt: skip
    total = shown["total"]
    assert (total["purchases"], total["credits"], total["payouts"]) == (net(1, 1000), net(1, 50), net(1, 30))
