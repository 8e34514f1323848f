"""Operators find users, and see of each what the user sees themselves."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio

from domain.ids import UserId
from server.context import Context
from server.ids import new_uuid
from tests.server.rest.conftest import Caller, Users
from tests.server.rest.problems import SOMEBODY, check
from tests.server.rest.shop import Shop, open_shop
from tests.storage.ledger_pair import purchase, tip
from tests.support.servers import add_creator, give, phone_of

LISTS = ("sessions", "ledger", "blocks", "tips", "calls", "streams", "purchases", "payouts", "reports", "bans")


@pytest.fixture
async def shop(dsn: str) -> AsyncIterator[Shop]:
    async with open_shop(dsn) as opened:
        yield opened


async def add_named(context: Context, *names: str) -> dict[str, str]:
    """Add a creator for each name, one after the other. Return their ids by name."""
    return {name: str(await add_creator(context, 60, name)) for name in names}


async def found(operator: Caller, **query: Any) -> list[str]:
    """Return the names that a search finds, as they are listed."""
    answer = await operator.get("/admin/users", **query)
    assert answer.status_code == 200, answer.text
    return [each["displayName"] for each in answer.json()["items"]]


async def walk(
    operator: Caller, path: str, between: Callable[[], Awaitable[Any]], **query: Any
) -> list[dict[str, Any]]:
    """Return the rows of all pages; `between` runs before each page but the first."""
    page = await operator.get(path, **query)
    rows: list[dict[str, Any]] = page.json()["items"]
    while "next" in page.links:
        await between()
        page = await operator.follow(page.links["next"]["url"])
        assert page.status_code == 200, page.text
        rows += page.json()["items"]
    return rows


# Search


async def test_users_are_found_by_the_beginning_of_their_name_in_any_case(context: Context, users: Users) -> None:
    operator = await users.operator()
    await add_named(context, "Cleo", "cleopatra", "CLEMENS", "Uncle", "Émile", "100%", "100 percent", "a_b", "axb")
    assert await found(operator, name="cle") == ["CLEMENS", "cleopatra", "Cleo"]
    assert await found(operator, name="CLEO") == ["cleopatra", "Cleo"]
    assert await found(operator, name="cleopatra") == ["cleopatra"]
    assert await found(operator, name="cleopatras") == []
    assert await found(operator, name="émi") == ["Émile"]
    assert await found(operator, name="100%") == ["100%"], "a name is no pattern"
    assert await found(operator, name="a_") == ["a_b"]


async def test_users_are_found_by_the_beginning_of_the_address_that_their_token_names(users: Users) -> None:
    operator, one, other = await users.operator(), users.stranger(), users.stranger()
    one.claim(email="Anna.B@example.com", user_metadata={"full_name": "Anna"})
    other.claim(email="anna.c@example.com", user_metadata={"full_name": "Other"})
    for caller in (one, other):
        assert (await caller.get("/me")).status_code == 200
    assert await found(operator, email="anna.b@EXAMPLE.com") == ["Anna"]
    assert await found(operator, email="anna.") == ["Other", "Anna"]
    assert await found(operator, email="anna_") == [], "an address is no pattern"
    assert await found(operator, email="anna.", name="oth") == ["Other"]
    assert await found(operator, email="@") == [], "users without an address are not found by one"
    account = (await operator.get(f"/admin/users/{one.user_id}")).json()
    assert account["user"]["email"] == "Anna.B@example.com"


async def test_an_address_changes_with_the_token_and_is_kept_if_a_token_has_none(users: Users) -> None:
    operator, user = await users.operator(), users.stranger()
    for claims, expected in (
        ({}, ""),
        ({"email": "old@example.com"}, "old@example.com"),
        ({}, "old@example.com"),
        ({"email": "no address"}, "old@example.com"),
        ({"email": ["new@example.com"]}, "old@example.com"),
        ({"user_metadata": {"email": "mine@example.com"}}, "old@example.com"),
        ({"email": "new@example.com"}, "new@example.com"),
        ({"email": "old@example.com"}, "old@example.com"),
    ):
        user.claim(**claims)
        assert (await user.get("/me")).status_code == 200
        account = (await operator.get(f"/admin/users/{user.user_id}")).json()
        assert account["user"]["email"] == expected, claims


async def test_a_websocket_stores_the_address_too_and_only_operators_see_it(context: Context, users: Users) -> None:
    operator, fan, creator = await users.operator(), await users.fan(), await users.creator()
    address = "finn@example.com"
    fan.claim(email=address, user_metadata={"full_name": "Finn"})
    phone = phone_of(context, fan.user_id)
    phone.token = fan.token
    await trio.to_thread.run_sync(phone.open)
    try:
        assert await found(operator, email=address) == ["Finn"]
    finally:
        await trio.to_thread.run_sync(phone.__exit__)
    for answer in (await fan.get("/me"), await creator.get("/me"), await creator.get("/creators")):
        assert address not in answer.text


async def test_users_are_found_by_id_and_by_the_time_of_their_first_request(context: Context, users: Users) -> None:
    operator, ids = await users.operator(), await add_named(context, "Anna", "Berta", "Carla")
    assert await found(operator, userId=ids["Berta"]) == ["Berta"]
    assert await found(operator, userId=ids["Berta"], name="anna") == []
    assert await found(operator, userId=str(SOMEBODY)) == []
    since = await context.postgres.fetchrow("SELECT created_at FROM users WHERE supabase_id = $1", ids["Berta"])
    assert since is not None
    berta = since["created_at"].isoformat()
    assert set(await found(operator, **{"from": berta})) - {""} == {"Berta", "Carla"}
    assert set(await found(operator, to=berta)) - {""} == {"Anna"}
    (card,) = (await operator.get("/admin/users", userId=ids["Anna"])).json()["items"]
    assert card == {
        "userId": ids["Anna"],
        "displayName": "Anna",
        "email": "",
        "isCreator": True,
        "createdAt": card["createdAt"],
    }


async def test_an_invalid_search_is_refused_by_name(users: Users) -> None:
    operator = await users.operator()
    for name, value in (("name", ""), ("name", "\u200b"), ("name", "x" * 81), ("userId", "x"), ("email", "x" * 255)):
        check(await operator.get("/admin/users", **{name: value}), 400, "VALIDATION_FAILED")
    check(await operator.get("/admin/users", mail="a@b.c"), 400, "UNKNOWN_PARAMETER")


# One user


async def test_the_account_of_a_user_is_what_the_user_sees(users: Users, context: Context) -> None:
    operator, creator, fan = await users.operator(), await users.creator(tokens=30), await users.fan(20)
    await fan.put("/wallet/limits", {"dailySpendLimit": 5})
    for user in (creator, fan):
        account = (await operator.get(f"/admin/users/{user.user_id}")).json()
        assert account["wallet"] == (await user.get("/wallet")).json()
        assert (await operator.get(f"/admin/users/{user.user_id}/wallet")).json() == {
            "userId": str(user.user_id),
            "wallet": account["wallet"],
        }
        assert (account["user"]["userId"], account["online"]) == (str(user.user_id), False)
    assert account["wallet"]["limits"]["dailySpendLimit"] == 5
    assert (account["creator"], account["ban"]) == (None, None)
    card = (await operator.get(f"/admin/users/{creator.user_id}")).json()["creator"]
    assert (card["rateTokensPerMin"], card["acceptsCalls"], card["busy"]) == (60, True, False)
    await users.phone(fan)
    ban = (await operator.post("/admin/bans", {"userId": str(creator.user_id), "reason": "rude"})).json()
    assert (await operator.get(f"/admin/users/{creator.user_id}")).json()["ban"] == ban
    assert (await operator.get(f"/admin/users/{fan.user_id}")).json()["online"] is True


async def test_an_unknown_user_is_not_found(users: Users) -> None:
    operator = await users.operator()
    for name in ("", "/wallet", *(f"/{each}" for each in LISTS)):
        check(await operator.get(f"/admin/users/{SOMEBODY}{name}"), 404, "NOT_FOUND")
    reads = (await operator.get("/admin/reads", userId=str(SOMEBODY))).json()
    assert reads["items"] == [], "nobody's data was read"


async def test_a_users_lists_have_the_rows_that_the_user_sees(users: Users) -> None:
    operator, fan, creator = await users.operator(), await users.fan(1000), await users.creator()
    call_id, _, _ = await users.start_call(fan, creator)
    for context in ({"callId": call_id}, None):
        body = {"toCreatorId": str(creator.user_id), "amountTokens": 1, "context": context}
        assert (await fan.post("/tips/send", body)).status_code == 200
    await fan.post(f"/billing/{call_id}/stop")
    middle = (await fan.get("/wallet/ledger")).json()["items"][1]["at"]
    periods: tuple[dict[str, Any], ...] = ({}, {"from": middle}, {"to": middle})
    for theirs, own, filters in (
        ("ledger", "/wallet/ledger", ({}, {"kind": "tip"}, {"kind": "block"}, {"limit": 1})),
        ("blocks", "/billing/history", ({}, {"callId": call_id}, {"role": "fan"}, {"role": "creator"})),
        ("tips", "/tips", ({}, {"callId": call_id}, {"role": "sent"}, {"role": "received"})),
        ("calls", "/calls/history", ({}, {"role": "creator"}, {"status": "ended"}, {"status": "active"})),
        ("payouts", "/payouts", ({}, {"status": "paid"})),
    ):
        for user in (fan, creator):
            for query in ({**period, **chosen} for period in periods for chosen in filters):
                seen = (await operator.get(f"/admin/users/{user.user_id}/{theirs}", **query)).json()
                assert seen == (await user.get(own, **query)).json(), (theirs, query)
                assert seen["items"] or query or theirs == "payouts", (theirs, user.user_id)
    for each in ("blocks", "tips"):
        both = {"callId": call_id, "streamId": call_id}
        check(await operator.get(f"/admin/users/{fan.user_id}/{each}", **both), 400, "VALIDATION_FAILED")


async def test_streams_are_those_of_one_creator(users: Users) -> None:
    operator, one, other = await users.operator(), await users.creator(), await users.creator()
    for creator, title in ((one, "a"), (one, "b"), (other, "c"), (one, "d")):
        assert (await creator.post("/streams", {"title": title, "type": "public"})).status_code == 201
    path = f"/admin/users/{one.user_id}/streams"

    async def titles(**query: Any) -> list[str]:
        return [each["title"] for each in (await operator.get(path, **query)).json()["items"]]

    all_streams = (await operator.get(path)).json()["items"]
    middle = all_streams[1]["createdAt"]
    assert await titles() == ["d", "b", "a"]
    assert await titles(status="live") == await titles(type="private") == []
    assert await titles(status="scheduled", type="public") == ["d", "b", "a"]
    assert set(await titles(**{"from": middle})) | set(await titles(to=middle)) == {"a", "b", "d"}
    assert "a" not in await titles(**{"from": middle}) or all_streams[2]["createdAt"] == middle
    assert "d" not in await titles(to=middle)


async def test_purchases_and_payouts_are_those_of_one_user(shop: Shop) -> None:
    operator, buyer, other = await shop.users.operator(), shop.users.stranger(), shop.users.stranger()
    bought = [await shop.buy(buyer) for _ in range(2)]
    await shop.buy(other)
    await shop.pay(bought[0])
    path = f"/admin/users/{buyer.user_id}/purchases"
    for query, ids in (({}, [1, 0]), ({"status": "paid"}, [0]), ({"status": "pending"}, [1]), ({"limit": 1}, [1])):
        items = (await operator.get(path, **query)).json()["items"]
        assert [each["purchaseId"] for each in items] == [bought[n]["purchaseId"] for n in ids]
        assert {each["userId"] for each in items} == {str(buyer.user_id)}
    one, two = await shop.users.creator(), await shop.users.creator()
    for creator in (one, two):
        paid = [purchase(buyer.user_id, 10), tip(buyer.user_id, creator.user_id, 10)]
        assert all(receipt.paid for receipt in await shop.context.actor.post(paid))
        assert (await creator.post("/payouts", {"tokens": 5})).status_code == 201
    (payout,) = (await operator.get(f"/admin/users/{one.user_id}/payouts")).json()["items"]
    assert payout["creatorId"] == str(one.user_id)


async def test_reports_are_those_about_a_user_and_by_the_user(users: Users) -> None:
    operator, one, other = await users.operator(), await users.fan(), await users.fan()
    for reporter, about, reason in ((one, other, "a"), (other, one, "b"), (one, other, "c")):
        body = {"userId": str(about.user_id), "reason": reason}
        assert (await reporter.post("/reports", body)).status_code == 201
    path = f"/admin/users/{one.user_id}/reports"
    for query, reasons in (({}, "cba"), ({"side": "about"}, "b"), ({"side": "by"}, "ca")):
        page = (await operator.get(path, **query)).json()
        assert "".join(each["reason"] for each in page["items"]) == reasons
        assert page["total"] == len(reasons)
    everybodys = (await operator.get("/admin/reports", reporterId=str(one.user_id))).json()["items"]
    assert [each["reason"] for each in everybodys] == ["c", "a"]
    check(await operator.get(path, side="both"), 400, "VALIDATION_FAILED")


async def test_bans_are_listed_after_they_were_lifted(users: Users) -> None:
    operator, fan, other = await users.operator(), await users.fan(), await users.fan()
    for user, reason in ((fan, "first"), (other, "other"), (fan, "second")):
        await operator.post("/admin/bans", {"userId": str(user.user_id), "reason": reason})
    await operator.ask("DELETE", f"/admin/bans/{other.user_id}")
    bans = (await operator.get(f"/admin/users/{fan.user_id}/bans")).json()["items"]
    assert [(ban["reason"], ban["liftedAt"] is None) for ban in bans] == [("second", True), ("first", False)]
    (lifted,) = (await operator.get(f"/admin/users/{other.user_id}/bans")).json()["items"]
    assert lifted["liftedAt"] is not None and lifted["bannedBy"] == str(operator.user_id)
    standing = (await operator.get("/admin/bans")).json()["items"]
    assert [ban["reason"] for ban in standing] == ["second"]
    assert (await operator.get("/admin/bans", to=standing[0]["createdAt"])).json()["items"] == []


async def test_sessions_are_those_that_are_open_now(users: Users) -> None:
    operator, fan, creator = await users.operator(), await users.fan(), await users.creator()
    call_id, _, _ = await users.start_call(fan, creator)
    second = await users.phone(fan)
    path = f"/admin/users/{fan.user_id}/sessions"
    newest, oldest = (await operator.get(path)).json()["items"]
    assert [each["connected"] for each in (newest, oldest)] == [True, True]
    assert (newest["rooms"], [room["roomId"] for room in oldest["rooms"]]) == ([], [call_id])
    assert newest["isOperator"] is newest["isOverlay"] is False
    pages = await walk(operator, path, trio.lowlevel.checkpoint, limit=1)
    assert [each["sessionId"] for each in pages] == [newest["sessionId"], oldest["sessionId"]]
    await trio.to_thread.run_sync(second.__exit__)
    (await operator.get(path)).raise_for_status()
    check(await operator.get(path, before="x"), 400, "VALIDATION_FAILED")


# Pages


async def test_pages_are_not_shifted_by_rows_that_are_added_meanwhile(context: Context, users: Users) -> None:
    operator, fan = await users.operator(), await users.fan(0)
    about = await users.fan(0)

    async def add_one(name: str) -> None:
        await add_named(context, f"Same {name}")
        await give(context, fan.user_id, 1)
        gift = {"userId": str(fan.user_id), "tokens": 1, "reason": name}
        assert (await operator.post("/admin/credits", gift)).status_code == 201
        reporter = await users.fan(0)
        assert (await reporter.post("/reports", {"userId": str(about.user_id), "reason": name})).status_code == 201

    for name in "abcdefg":
        await add_one(name)
    for path, field in (
        ("/admin/users?name=same", "userId"),
        (f"/admin/users/{fan.user_id}/ledger", "n"),
        (f"/admin/users/{about.user_id}/reports", "reportId"),
        (f"/admin/credits?userId={fan.user_id}", "actionId"),
    ):
        before = (await operator.get(path)).json()["items"]
        rows = await walk(operator, f"{path}{'&' if '?' in path else '?'}limit=2", lambda: add_one("later"))
        assert [row[field] for row in rows] == [row[field] for row in before], path


async def test_every_row_is_on_one_page_while_others_write(context: Context, users: Users) -> None:
    operator, fan = await users.operator(), await users.fan(0)
    for _ in range(20):
        await give(context, fan.user_id, 1)
    path = f"/admin/users/{fan.user_id}/ledger"
    before = [row["n"] for row in (await operator.get(path)).json()["items"]]

    async def write() -> None:
        while True:
            await give(context, fan.user_id, 1)
            await context.user_cache.ensure_user(UserId(new_uuid()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        for _ in range(5):
            rows = [row["n"] for row in await walk(operator, path, trio.lowlevel.checkpoint, limit=3)]
            assert rows == list(range(rows[0], 0, -1)) and rows[-len(before) :] == before
            listed = await walk(operator, "/admin/users", trio.lowlevel.checkpoint, limit=10)
            ids = [row["userId"] for row in listed]
            assert len(set(ids)) == len(ids) and {str(fan.user_id), str(operator.user_id)} <= set(ids)
        nursery.cancel_scope.cancel()
