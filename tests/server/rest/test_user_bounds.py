"""Objects that one user may leave behind: each kind has a bound with an error of its own."""

from typing import Any

import trio

from server.context import Context
from tests.server.rest.conftest import Caller, users_of
from tests.server.rest.problems import check
from tests.support.servers import running_server, with_section

STREAM = {"title": "a show", "type": "public"}


async def count(context: Context, table: str) -> int:
    row = await context.postgres.fetchrow(f"SELECT count(*) FROM {table}")
    assert row is not None
    return int(row[0])


async def at_once(caller: Caller, path: str, body: Any, times: int) -> list[int]:
    """Return the statuses of equal requests at the same moment."""
    statuses: list[int] = []

    async def ask() -> None:
        statuses.append((await caller.post(path, body)).status_code)

    async with trio.open_nursery() as nursery:
        for _ in range(times):
            nursery.start_soon(ask)
    return sorted(statuses)


async def test_scheduled_streams_are_bounded_also_at_the_same_moment(dsn: str) -> None:
    async with (
        running_server(dsn, with_section("limits", streams_scheduled=3)) as context,
        users_of(context) as users,
    ):
        creator, other = await users.creator(), await users.creator()
        assert await at_once(creator, "/streams", STREAM, 6) == [201] * 3 + [429] * 3
        check(await creator.post("/streams", STREAM), 429, "RATE_LIMITED")
        assert (await other.post("/streams", STREAM)).status_code == 201
        first = (await creator.get("/streams", creatorId=creator.user_id)).json()["items"][0]["id"]
        assert (await creator.post(f"/streams/{first}/end")).status_code == 200
        assert (await creator.post("/streams", STREAM)).status_code == 201


async def test_streams_of_a_day_are_bounded_though_they_have_ended(dsn: str) -> None:
    async with running_server(dsn, with_section("limits", streams_per_day=3)) as context, users_of(context) as users:
        creator = await users.creator()
        for _ in range(3):
            stream = (await creator.post("/streams", STREAM)).json()["stream"]
            assert (await creator.post(f"/streams/{stream['id']}/end")).status_code == 200
        fields = check(await creator.post("/streams", STREAM), 429, "RATE_LIMITED")
        assert 86_000 < fields["retryAfterSeconds"] <= 86_400
        await context.postgres.execute("UPDATE streams SET created_at = created_at - interval '1 day'")
        assert (await creator.post("/streams", STREAM)).status_code == 201


async def test_equal_reports_of_a_day_are_one(context: Context) -> None:
    async with users_of(context) as users:
        fan, other = await users.fan(), await users.fan()
        about = {"userId": str(other.user_id), "reason": "rude"}
        assert await at_once(fan, "/reports", about, 5) == [201] * 5
        assert await count(context, "reports") == 1
        first = (await fan.post("/reports", about)).json()
        assert (await fan.post("/reports", {**about, "reason": "rude again"})).json() != first
        await context.postgres.execute("UPDATE reports SET created_at = created_at - interval '1 day'")
        assert (await fan.post("/reports", about)).json() != first
        assert await count(context, "reports") == 3


async def test_reports_of_a_day_are_bounded(dsn: str) -> None:
    async with running_server(dsn, with_section("limits", reports_per_day=2)) as context, users_of(context) as users:
        fan, other = await users.fan(), await users.fan()
        reports = [{"userId": str(other.user_id), "reason": f"rude {number}"} for number in range(3)]
        assert [(await fan.post("/reports", report)).status_code for report in reports] == [201, 201, 429]
        assert (await fan.post("/reports", reports[0])).status_code == 201, "an equal one is answered with the first"
        assert (await other.post("/reports", {"userId": str(fan.user_id), "reason": "no"})).status_code == 201


async def test_unpaid_purchases_are_bounded(dsn: str) -> None:
    async with (
        running_server(dsn, with_section("limits", purchases_pending=2)) as context,
        users_of(context) as users,
    ):
        context.payments.open_demo("http://127.0.0.1/pay")
        fan = await users.fan()
        for number in range(2):
            assert (await fan.post("/tokens/purchases", {"packId": "small"}, key=f"{number}")).status_code == 201
        check(await fan.post("/tokens/purchases", {"packId": "small"}, key="2"), 429, "RATE_LIMITED")
        assert (await fan.post("/tokens/purchases", {"packId": "small"}, key="1")).status_code == 201, "a repeat"
        assert await count(context, "purchases") == 2


async def test_only_the_latest_revoked_overlay_tokens_are_kept(dsn: str) -> None:
    async with (
        running_server(dsn, with_section("limits", overlay_tokens_revoked=2)) as context,
        users_of(context) as users,
    ):
        creator = await users.creator()
        made = []
        for number in range(5):
            made.append((await creator.post("/overlay-tokens", {"name": f"scene {number}"})).json()["overlayTokenId"])
            assert (await creator.ask("DELETE", f"/overlay-tokens/{made[-1]}")).status_code == 200
        await creator.post("/overlay-tokens", {"name": "the last"})
        names = [item["name"] for item in (await creator.get("/overlay-tokens")).json()["items"]]
        assert names == ["the last", "scene 4", "scene 3"]


async def test_blocked_users_are_bounded(dsn: str) -> None:
    async with running_server(dsn, with_section("limits", blocked_users=2)) as context, users_of(context) as users:
        creator = await users.creator()
        fans = [await users.fan() for _ in range(3)]
        for fan in fans[:2]:
            assert (await creator.put(f"/creators/me/blocks/{fan.user_id}")).status_code == 200
        check(await creator.put(f"/creators/me/blocks/{fans[2].user_id}"), 429, "RATE_LIMITED")
        assert (await creator.put(f"/creators/me/blocks/{fans[1].user_id}")).status_code == 200, "already blocked"
