"""`from` and `to` of the users' lists of tips, purchases and payouts: `from` is inclusive, `to` exclusive."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from itertools import product
from typing import Any, get_origin

import pytest

from server.rest.app import ROUTES
from server.rest.query import Exported
from tests.server.rest.conftest import Caller, Users
from tests.server.rest.problems import check
from tests.server.rest.shop import Shop, open_shop
from tests.storage.ledger_pair import purchase, tip

OPERATORS, USERS = 500, 100


@pytest.fixture
async def shop(dsn: str) -> AsyncIterator[Shop]:
    async with open_shop(dsn) as opened:
        yield opened


async def check_periods(caller: Caller, path: str, ids: Sequence[str], times: Sequence[datetime], **query: Any) -> None:
    """Request every period that begins and ends at one of these times; the ids and times are in ascending order."""
    (name,) = {"/tips": ("tipId",), "/payouts": ("payoutId",)}.get(path.split("?")[0], ("purchaseId",))
    rows = list(zip(ids, times, strict=True))
    for since, until in product([None, *times], repeat=2):
        period = {"from": since, "to": until}
        given = {key: moment.isoformat() for key, moment in period.items() if moment is not None}
        page = (await caller.get(path, **given, **query)).json()
        wanted = [each for each, at in rows if (since is None or at >= since) and (until is None or at < until)]
        assert [item[name] for item in page["items"]] == wanted[::-1], given
        assert page["total"] == len(wanted), given


async def test_tips_are_filtered_by_the_time_at_which_they_were_booked(shop: Shop) -> None:
    fan, creator = await shop.users.fan(100), await shop.users.creator()
    paid = [tip(fan.user_id, creator.user_id, 1) for _ in range(3)]
    for each in paid:
        assert (await shop.context.actor.post([each]))[0].paid
    rows = await shop.context.postgres.fetch("SELECT created_at FROM journal WHERE kind = 2 ORDER BY credit_n")
    ids, times = [str(each.ref_id) for each in paid], [row["created_at"] for row in rows]
    await check_periods(fan, "/tips", ids, times)
    await check_periods(creator, "/tips", ids, times, role="received")
    assert (await fan.get("/tips", role="received", **{"from": times[0].isoformat()})).json()["items"] == []


async def test_the_period_and_the_room_of_tips_are_combined(users: Users) -> None:
    fan, creator = await users.fan(100), await users.creator()
    call_id, _, _ = await users.start_call(fan, creator)
    ids = []
    for context in ({"callId": call_id}, None, {"callId": call_id}):
        body = {"toCreatorId": str(creator.user_id), "amountTokens": 1, "context": context}
        ids.append((await fan.post("/tips/send", body)).json()["tipId"])
    all_tips = (await fan.get("/tips")).json()["items"][::-1]
    for since in (0, 1, 2):
        query = {"callId": call_id, "from": all_tips[since]["at"]}
        shown = [item["tipId"] for item in (await fan.get("/tips", **query)).json()["items"]]
        in_call = [each["tipId"] for each in all_tips if each["at"] >= query["from"] and each["roomId"] == call_id]
        assert shown == in_call[::-1]
    assert (await fan.get("/tips", callId=call_id, to=all_tips[0]["at"])).json()["items"] == []
    assert [each["tipId"] for each in all_tips] == ids


async def test_purchases_are_filtered_by_the_time_at_which_they_were_begun(shop: Shop) -> None:
    buyer, other, operator = shop.users.stranger(), shop.users.stranger(), await shop.users.operator()
    bought = [await shop.buy(buyer) for _ in range(3)]
    await shop.buy(other)
    await shop.pay(bought[1])
    rows = await shop.context.postgres.fetch(
        "SELECT created_at FROM purchases WHERE user_id = $1 ORDER BY created_at, id", buyer.user_id
    )
    ids, times = [each["purchaseId"] for each in bought], [row["created_at"] for row in rows]
    await check_periods(buyer, "/tokens/purchases", ids, times)
    await check_periods(buyer, "/tokens/purchases", ids[1:2], times[1:2], status="paid")
    await check_periods(operator, "/admin/purchases", ids, times, userId=str(buyer.user_id))


async def test_payouts_are_filtered_by_the_time_at_which_they_were_requested(shop: Shop) -> None:
    fan, creator, operator = await shop.users.fan(0), await shop.users.creator(), await shop.users.operator()
    paid = [purchase(fan.user_id, 10), tip(fan.user_id, creator.user_id, 10)]
    assert all(receipt.paid for receipt in await shop.context.actor.post(paid))
    ids = [(await creator.post("/payouts", {"tokens": 2})).json()["payoutId"] for _ in range(3)]
    rows = await shop.context.postgres.fetch("SELECT created_at FROM payouts ORDER BY created_at, id")
    times = [row["created_at"] for row in rows]
    await check_periods(creator, "/payouts", ids, times)
    await check_periods(creator, "/payouts", ids, times, status="requested")
    await check_periods(creator, "/payouts", [], [], status="paid")
    for more in ({}, {"userId": str(creator.user_id)}):
        for since in range(3):
            page = await operator.get("/admin/payouts", **{"from": times[since].isoformat()}, **more)
            assert [item["payoutId"] for item in page.json()["items"]] == ids[since:][::-1]
    assert (await operator.get("/admin/payouts", userId=str(fan.user_id))).json()["items"] == []


async def test_an_invalid_period_is_refused_by_name(users: Users) -> None:
    fan = await users.fan(0)
    for path in ("/tips", "/tokens/purchases", "/payouts"):
        for name in ("from", "to"):
            for text in ("yesterday", "2026-01-31T12:00:00", "0001-01-01T00:00:00+01:00"):
                fields = check(await fan.get(path, **{name: text}), 400, "VALIDATION_FAILED")
                assert [error["field"] for error in fields["errors"]] == [name]


async def test_pages_hold_at_most_a_hundred_rows_for_users_and_five_hundred_for_operators(users: Users) -> None:
    fan, operator, nobody = await users.fan(0), await users.operator(), "01890000-0000-7000-8000-000000000000"
    limited = [route for route in ROUTES if "limit" in getattr(route.query, "__struct_fields__", ())]
    lists = [route for route in limited if get_origin(route.answer) is not Exported]
    assert len([route for route in lists if route.path.startswith("/api/admin")]) >= 20
    for route in lists:
        is_operators = route.path.startswith("/api/admin")
        caller, most = (operator, OPERATORS) if is_operators else (fan, USERS)
        path = route.path.removeprefix("/api")
        for name in route.parameters:
            path = path.replace(f"{{{name}}}", str(fan.user_id) if name == "userId" else nobody)
        assert (await caller.get(path, limit=most)).status_code in (200, 404), path
        fields = check(await caller.get(path, limit=most + 1), 400, "VALIDATION_FAILED")
        assert [error["field"] for error in fields["errors"]] == ["limit"]
