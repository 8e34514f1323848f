"""Each read of users' data by an operator is recorded before it is answered."""

import re
from typing import Any, NamedTuple

import pytest

from server.context import Context
from server.rest.app import ROUTES
from storage.database_errors import StatementRefused
from tests.server.rest.conftest import Caller, Users
from tests.server.rest.problems import check

# Sums and proofs without users' data, and the record itself.
UNRECORDED = {"/api/admin/audit", "/api/admin/figures", "/api/admin/overview", "/api/admin/reads"}
READS = [
    route.path
    for route in ROUTES
    if route.method == "GET" and route.path.startswith("/api/admin") and route.path not in UNRECORDED
]
DISK_FULL = (
    "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$"
    " BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$",
    "CREATE TRIGGER full_disk BEFORE INSERT ON personal_reads FOR EACH STATEMENT EXECUTE FUNCTION fail()",
)


class Scene(NamedTuple):
    """A fan and a creator in a call, and the creator's stream."""

    fan: Caller
    creator: Caller
    ids: dict[str, str]

    def path(self, declared: str) -> str:
        """Return the path of a route with the ids of this scene."""
        return re.sub(r"\{(\w+)\}", lambda name: self.ids[name[1]], declared.removeprefix("/api"))


@pytest.fixture
async def scene(users: Users) -> Scene:
    fan, creator = await users.fan(1000), await users.creator()
    call_id, _, _ = await users.start_call(fan, creator)
    stream = (await creator.post("/streams", {"title": "Soon", "type": "public"})).json()["stream"]
    fan_id = str(fan.user_id)
    return Scene(fan, creator, {"userId": fan_id, "walletId": fan_id, "callId": call_id, "streamId": stream["id"]})


async def reads(operator: Caller, **query: Any) -> list[dict[str, Any]]:
    answer = await operator.get("/admin/reads", **query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_every_read_names_operator_user_route_and_time(users: Users, scene: Scene) -> None:
    operator, fan, creator = await users.operator(), scene.ids["userId"], str(scene.creator.user_id)
    assert len(READS) >= 25
    for declared in READS:
        assert (await operator.get(scene.path(declared))).status_code == 200, declared
        parties: list[str | None] = [None]
        if "{userId}" in declared or "{walletId}" in declared:
            parties = [fan]
        elif "{callId}" in declared:
            parties = [creator, fan]
        elif "{streamId}" in declared:
            parties = [creator]
        kept = await reads(operator, route=declared)
        assert sorted(each["userId"] or "" for each in kept) == sorted(each or "" for each in parties), declared
        room = scene.ids["callId"] if "{callId}" in declared else None
        room = scene.ids["streamId"] if "{streamId}" in declared else room
        assert {(each["operatorId"], each["roomId"]) for each in kept} == {(str(operator.user_id), room)}


async def test_a_list_that_is_narrowed_to_a_user_is_a_read_of_that_user(users: Users) -> None:
    operator, fan = await users.operator(), await users.fan()
    narrowed = {
        "/api/admin/users": "userId",
        "/api/admin/purchases": "userId",
        "/api/admin/payouts": "userId",
        "/api/admin/reports": "reporterId",
        "/api/admin/debts": "userId",
        "/api/admin/actions": "targetId",
        "/api/admin/credits": "userId",
        "/api/admin/refunds": "userId",
    }
    for path, name in narrowed.items():
        assert (await operator.get(path.removeprefix("/api"), **{name: str(fan.user_id)})).status_code == 200
    kept = await reads(operator, userId=str(fan.user_id))
    assert [each["route"] for each in kept] == list(narrowed)[::-1]


async def test_a_read_that_cannot_be_recorded_is_refused(context: Context, users: Users, scene: Scene) -> None:
    operator = await users.operator()
    await operator.get("/me")
    for statement in DISK_FULL:
        await context.postgres.execute(statement)
    for declared in READS:
        fields = check(await operator.get(scene.path(declared)), 503, "STORAGE_UNAVAILABLE")
        assert not fields.keys() & {"items", "user", "call", "stream", "wallet"}, declared
    assert await reads(operator) == []


async def test_reads_are_filtered_and_paged_newest_first(users: Users) -> None:
    one, two = await users.operator(), await users.operator()
    fan, other = await users.fan(), await users.fan()
    for operator, user, name in (
        (one, fan, "wallet"),
        (two, fan, "ledger"),
        (one, other, "wallet"),
        (one, fan, "tips"),
    ):
        assert (await operator.get(f"/admin/users/{user.user_id}/{name}")).status_code == 200
    kept = await reads(one)
    names = [each["route"].rsplit("/", 1)[1] for each in kept]
    assert names == ["tips", "wallet", "ledger", "wallet"]
    for query, numbers in (
        ({"operatorId": str(one.user_id)}, [0, 1, 3]),
        ({"operatorId": str(two.user_id)}, [2]),
        ({"userId": str(fan.user_id)}, [0, 2, 3]),
        ({"userId": str(other.user_id), "operatorId": str(two.user_id)}, []),
        ({"route": "/api/admin/users/{userId}/wallet"}, [1, 3]),
        ({"route": "/api/admin/users/{userId}/wallet", "userId": str(fan.user_id)}, [3]),
    ):
        assert await reads(one, **query) == [kept[n] for n in numbers], query
    later = (await reads(one, **{"from": kept[1]["at"]}))[:2]
    assert later == kept[:2] and kept[0] not in await reads(one, to=kept[0]["at"])
    page = await one.get("/admin/reads", limit=3)
    await two.get(f"/admin/users/{fan.user_id}/calls")  # a new row shifts nothing
    rest = await one.follow(page.links["next"]["url"])
    assert page.json()["items"] + rest.json()["items"] == kept
    check(await fan.get("/admin/reads"), 403, "FORBIDDEN")
    check(await one.get("/admin/reads", operatorId="x"), 400, "VALIDATION_FAILED")


@pytest.mark.parametrize(
    "change", ["UPDATE personal_reads SET user_id = NULL", "DELETE FROM personal_reads", "TRUNCATE personal_reads"]
)
async def test_the_record_is_append_only(context: Context, users: Users, change: str) -> None:
    operator, fan = await users.operator(), await users.fan()
    await operator.get(f"/admin/users/{fan.user_id}")
    with pytest.raises(StatementRefused):
        await context.postgres.execute(change)
    assert len(await reads(operator)) == 1
