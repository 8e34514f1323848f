"""Calls over HTTP: ringing, answering, and history."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
import trio

from server.context import Context
from tests.server.rest.conftest import Caller, Users, client_of, users_of
from tests.server.rest.database_proxy import proxy_to
from tests.server.rest.problems import SOMEBODY, check
from tests.support.clients import Phone
from tests.support.servers import running_server, settings


def wanted(creator: Caller, **more: Any) -> dict[str, Any]:
    return {"creatorId": str(creator.user_id), **more}


async def count_rings(phone: Phone) -> int:
    """Return how often this phone has rung so far; all that was sent before its pong has arrived with it."""
    await trio.to_thread.run_sync(phone.ask, {"type": "ping"})
    return len(phone.all_events("call:ringing"))


async def test_init_rings_and_says_what_the_first_block_costs(users: Users) -> None:
    fan, creator = await users.fan(), await users.creator(90)
    phone = await users.phone(creator)
    rung = await fan.post("/calls/init", wanted(creator, maxTokens=50))
    assert rung.status_code == 201
    fields = rung.json()
    assert fields.keys() == {"success", "callId", "channel", "minRequired", "call"}
    assert (fields["success"], fields["minRequired"]) == (True, 2)
    assert UUID(fields["callId"]).version == 7
    assert len(fields["channel"]) >= 21
    call = fields["call"]
    assert (call["id"], call["status"], call["maxTokens"]) == (fields["callId"], "ringing", 50)
    ring = await trio.to_thread.run_sync(phone.wait_for, "call:ringing")
    assert (ring["callId"], ring["channel"]) == (fields["callId"], fields["channel"])


async def test_the_older_name_does_the_same_and_is_marked_as_deprecated(users: Users) -> None:
    fan, creator = await users.fan(), await users.online_creator()
    rung = await fan.post("/calls/initiate", wanted(creator), key="k")
    again = await fan.post("/calls/init", wanted(creator), key="k")
    assert (rung.status_code, rung.json()) == (201, again.json())
    assert rung.headers["Deprecation"].startswith("@")
    assert rung.headers["Sunset"].endswith(" GMT")
    assert rung.links["successor-version"]["url"] == "/api/calls/init"
    assert not again.headers.keys() & {"deprecation", "sunset"}
    refused = await fan.post("/calls/initiate", wanted(creator))
    check(refused, 409, "ALREADY_IN_CALL")
    assert "Deprecation" in refused.headers


# Refusals


async def test_a_fan_who_cannot_pay_a_block_gets_the_figures(users: Users) -> None:
    fan, creator = await users.fan(12), await users.online_creator(1800)
    fields = check(await fan.post("/calls/init", wanted(creator)), 400, "INSUFFICIENT_TOKENS")
    assert [fields[name] for name in ("required", "current", "shortfall")] == [30, 12, 18]


async def test_nobody_calls_themselves(users: Users) -> None:
    creator = await users.online_creator()
    check(await creator.post("/calls/init", wanted(creator)), 400, "SELF_PAYMENT")


async def test_a_call_needs_a_creator_who_is_online_and_accepts_calls(users: Users) -> None:
    fan, other, absent = await users.fan(), await users.fan(), await users.creator()
    check(await fan.ask("POST", "/calls/init", json={"creatorId": str(SOMEBODY)}), 404, "NOT_FOUND")
    check(await fan.post("/calls/init", wanted(other)), 409, "NOT_A_CREATOR")
    offline = check(await fan.post("/calls/init", wanted(absent)), 409, "CREATOR_UNAVAILABLE")
    assert offline["message"] == "The creator is not online"
    here = await users.online_creator()
    await here.put("/creators/me", {"rateTokensPerMin": 60, "acceptsCalls": False})
    refused = check(await fan.post("/calls/init", wanted(here)), 409, "CREATOR_UNAVAILABLE")
    assert refused["message"] == "The creator does not accept calls now"


async def test_one_call_at_a_time_for_each_of_the_two(users: Users) -> None:
    fan, rival = await users.fan(), await users.fan()
    creator, other = await users.online_creator(), await users.online_creator()
    assert (await fan.post("/calls/init", wanted(creator))).status_code == 201
    check(await fan.post("/calls/init", wanted(other)), 409, "ALREADY_IN_CALL")
    check(await rival.post("/calls/init", wanted(creator)), 409, "CREATOR_BUSY")


async def test_after_a_decline_the_fan_waits_for_that_creator(users: Users) -> None:
    fan, creator, other = await users.fan(), await users.online_creator(), await users.online_creator()
    call_id = (await fan.post("/calls/init", wanted(creator))).json()["callId"]
    assert (await creator.post(f"/calls/{call_id}/decline")).json()["call"]["endReason"] == "declined"
    assert (await creator.post(f"/billing/{call_id}/stop")).json()["call"]["status"] == "ended"  # and the end is stored
    check(await fan.post("/calls/init", wanted(creator)), 409, "RING_COOLDOWN")
    assert (await fan.post("/calls/init", wanted(other))).status_code == 201


async def test_a_budget_is_a_whole_number_of_tokens(users: Users) -> None:
    fan, creator = await users.fan(), await users.online_creator()
    for max_tokens in (0, -1, 2**53, "5", 5.0, True, [5]):
        fields = check(await fan.post("/calls/init", wanted(creator, maxTokens=max_tokens)), 400, "VALIDATION_FAILED")
        assert [error["field"] for error in fields["errors"]] == ["maxTokens"]


async def test_a_budget_below_one_block_is_refused(users: Users) -> None:
    fan, creator = await users.fan(), await users.online_creator(600)
    check(await fan.post("/calls/init", wanted(creator, maxTokens=9)), 400, "VALIDATION_FAILED")
    assert (await fan.post("/calls/init", wanted(creator, maxTokens=10))).status_code == 201


async def test_a_server_that_drains_accepts_no_calls(
    context: Context, users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    fan, creator = await users.fan(), await users.online_creator()
    monkeypatch.setattr(context, "draining", True)
    refused = await fan.post("/calls/init", wanted(creator))
    check(refused, 503, "DRAINING")
    assert int(refused.headers["Retry-After"]) > 0


# The same key


async def test_the_same_key_finds_the_same_call_and_rings_once(users: Users) -> None:
    fan, creator = await users.fan(), await users.creator()
    phone = await users.phone(creator)
    first = await fan.post("/calls/init", wanted(creator), key="tap")
    for key in ("tap", '"tap"'):
        again = await fan.post("/calls/init", wanted(creator), key=key)
        assert (again.status_code, again.json()) == (201, first.json())
    assert await count_rings(phone) == 1


async def test_the_same_key_finds_the_call_whatever_became_of_it(users: Users) -> None:
    fan, creator = await users.fan(), await users.online_creator()
    call_id = (await fan.post("/calls/init", wanted(creator), key="tap")).json()["callId"]
    await fan.post(f"/billing/{call_id}/stop")
    again = await fan.post("/calls/init", wanted(creator), key="tap")
    assert (again.status_code, again.json()["callId"], again.json()["call"]["status"]) == (201, call_id, "ended")


async def test_the_same_key_with_other_content_is_a_conflict(users: Users) -> None:
    fan, creator, other = await users.fan(), await users.online_creator(), await users.online_creator()
    await fan.post("/calls/init", wanted(creator), key="tap")
    check(await fan.post("/calls/init", wanted(other), key="tap"), 422, "IDEMPOTENCY_CONFLICT")
    check(await fan.post("/calls/init", wanted(creator, maxTokens=5), key="tap"), 422, "IDEMPOTENCY_CONFLICT")


async def test_a_key_is_its_users_own(users: Users) -> None:
    fan, rival, creator = await users.fan(), await users.fan(), await users.online_creator()
    await fan.post("/calls/init", wanted(creator), key="tap")
    check(await rival.post("/calls/init", wanted(creator), key="tap"), 409, "CREATOR_BUSY")


async def test_a_refusal_is_not_remembered(users: Users) -> None:
    fan, creator = await users.fan(), await users.creator()
    check(await fan.post("/calls/init", wanted(creator), key="tap"), 409, "CREATOR_UNAVAILABLE")
    await users.phone(creator)
    assert (await fan.post("/calls/init", wanted(creator), key="tap")).status_code == 201


async def test_a_key_that_is_too_long_is_refused(users: Users) -> None:
    fan, creator = await users.fan(), await users.online_creator()
    fields = check(await fan.post("/calls/init", wanted(creator), key="x" * 256), 400, "VALIDATION_FAILED")
    assert [error["field"] for error in fields["errors"]] == ["Idempotency-Key"]


async def test_twenty_taps_at_once_are_one_call(users: Users) -> None:
    fan, creator = await users.fan(), await users.creator()
    phone = await users.phone(creator)
    answers: list[httpx.Response] = []

    async def tap() -> None:
        answers.append(await fan.post("/calls/init", wanted(creator), key="tap"))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(tap)
    assert [answer.status_code for answer in answers] == [201] * 20
    assert len({answer.json()["callId"] for answer in answers}) == 1
    assert await count_rings(phone) == 1


async def test_twenty_fans_at_once_get_one_creator(users: Users) -> None:
    fans, creator = [await users.fan() for _ in range(20)], await users.creator()
    phone = await users.phone(creator)
    answers: list[httpx.Response] = []

    async def ring(fan: Caller) -> None:
        answers.append(await fan.post("/calls/init", wanted(creator)))

    async with trio.open_nursery() as nursery:
        for fan in fans:
            nursery.start_soon(ring, fan)
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19
    assert await count_rings(phone) == 1


# Commands


async def test_the_creator_accepts_and_the_fan_may_not(users: Users) -> None:
    fan, creator = await users.fan(), await users.online_creator()
    call_id = (await fan.post("/calls/init", wanted(creator))).json()["callId"]
    check(await fan.post(f"/calls/{call_id}/accept"), 403, "FORBIDDEN")
    check(await creator.post(f"/calls/{call_id}/cancel"), 403, "FORBIDDEN")
    accepted = await creator.post(f"/calls/{call_id}/accept")
    assert accepted.status_code == 200
    assert accepted.json()["call"]["status"] == "active"
    assert accepted.json()["call"]["startedAt"] is None
    check(await creator.post(f"/calls/{call_id}/accept"), 409, "CALL_NOT_ACTIVE")


async def test_the_fan_cancels(users: Users) -> None:
    fan, creator = await users.fan(), await users.online_creator()
    call_id = (await fan.post("/calls/init", wanted(creator))).json()["callId"]
    assert (await fan.post(f"/calls/{call_id}/cancel")).json()["call"]["endReason"] == "cancelled"
    assert (await fan.post(f"/billing/{call_id}/stop")).json()["call"]["endReason"] == "cancelled"
    check(await fan.post(f"/calls/{call_id}/cancel"), 409, "CALL_ENDED")


async def test_strangers_get_not_found(users: Users) -> None:
    fan, creator, stranger = await users.fan(), await users.online_creator(), await users.fan()
    call_id = (await fan.post("/calls/init", wanted(creator))).json()["callId"]
    for method, path in (
        ("GET", f"/calls/{call_id}"),
        ("GET", f"/billing/{call_id}"),
        *(("POST", f"/calls/{call_id}/{command}") for command in ("accept", "decline", "cancel")),
        *(("POST", f"/billing/{call_id}/{command}") for command in ("pause", "resume", "stop")),
    ):
        check(await stranger.ask(method, path), 404, "NOT_FOUND")
        check(await stranger.ask(method, path.replace(call_id, str(SOMEBODY))), 404, "NOT_FOUND")
    assert (await fan.get(f"/calls/{call_id}")).json()["call"]["status"] == "ringing"


async def test_both_parties_see_the_call_as_it_is(users: Users) -> None:
    fan, creator = await users.fan(), await users.creator(60)
    call_id, _, _ = await users.start_call(fan, creator)
    for party in (fan, creator):
        call = (await party.get(f"/calls/{call_id}")).json()["call"]
        assert (call["status"], call["rateTokensPerMin"], call["blockSeconds"]) == ("active", 60, 1)
        assert call["fan"]["userId"] == str(fan.user_id)
        assert call["creator"] == {"userId": str(creator.user_id), "displayName": "Cleo"}
        assert call["startedAt"] is not None


async def test_a_command_that_an_inbox_refuses_may_be_retried(dsn: str) -> None:
    defaults = settings()
    crowded = msgspec.structs.replace(defaults, rooms=msgspec.structs.replace(defaults.rooms, inbox=1))
    async with running_server(dsn, crowded) as context, users_of(context) as users:
        fan, creator = await users.fan(), await users.online_creator()
        call_id = (await fan.post("/calls/init", wanted(creator))).json()["callId"]
        room = context.registry.find(UUID(call_id))  # type: ignore[arg-type]  # reason: as a room's id it comes from outside
        assert room is not None
        room.inbox.offer = lambda given: False  # type: ignore[method-assign]  # reason: a full inbox, without filling one
        refused = await creator.post(f"/calls/{call_id}/accept")
        del room.inbox.offer
        check(refused, 503, "OVERLOADED")
        assert int(refused.headers["Retry-After"]) > 0


# Looking back


async def test_history_lists_calls_by_role_status_and_time(users: Users) -> None:
    one, other = await users.online_creator(), await users.online_creator()
    first = (await one.post("/calls/init", wanted(other))).status_code
    assert first == 400  # a creator without tokens is a fan who cannot pay
    fan = await users.fan()
    declined = (await fan.post("/calls/init", wanted(one))).json()["callId"]
    await one.post(f"/calls/{declined}/decline")
    await one.post(f"/billing/{declined}/stop")
    ringing = (await fan.post("/calls/init", wanted(other))).json()["callId"]

    async def found(caller: Caller, **query: str) -> list[str]:
        return [call["id"] for call in (await caller.get("/calls/history", **query)).json()["items"]]

    assert await found(fan) == [ringing, declined]
    assert await found(fan, role="fan", status="ended") == [declined]
    assert await found(fan, status="ringing") == [ringing]
    assert await found(fan, role="creator") == []
    assert await found(one) == await found(one, role="creator") == [declined]
    hour, now = timedelta(hours=1), datetime.now(UTC)
    assert await found(fan, **{"from": (now - hour).isoformat()}) == [ringing, declined]
    assert await found(fan, to=(now - hour).isoformat()) == []
    for query in ({"role": "owner"}, {"status": "gone"}, {"from": "today"}):
        check(await fan.get("/calls/history", **query), 400, "VALIDATION_FAILED")
    page = await fan.get("/calls/history", limit=1)
    rest = await fan.follow(page.links["next"]["url"])
    assert [call["id"] for answer in (page, rest) for call in answer.json()["items"]] == [ringing, declined]
    assert "next" not in rest.links


async def test_stats_sum_calls_in_each_role(users: Users) -> None:
    fan, creator = await users.fan(), await users.creator(60)
    call_id, _, _ = await users.start_call(fan, creator)
    call = (await fan.post(f"/billing/{call_id}/stop")).json()["call"]
    kept = {"refundedBlocks": 0, "refundedTokens": 0}
    none = {"calls": 0, "answered": 0, "blocks": 0, "tokens": 0, "activeSeconds": 0.0, **kept}
    some = {name: call[name] for name in ("blocks", "tokens", "activeSeconds")} | kept | {"calls": 1, "answered": 1}
    fans, creators = (await fan.get("/calls/stats")).json(), (await creator.get("/calls/stats")).json()
    assert fans == {"fan": {"role": "fan", **some}, "creator": {"role": "creator", **none}}
    assert creators == {"fan": {"role": "fan", **none}, "creator": {"role": "creator", **some}}
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert (await fan.get("/calls/stats", **{"from": later})).json()["fan"]["calls"] == 0


# The database away


async def test_with_the_database_away_every_route_that_needs_it_says_so(dsn: str) -> None:
    async with proxy_to(dsn) as proxy, running_server(proxy.dsn) as context:
        async with users_of(context) as users:
            fan, creator = await users.fan(), await users.online_creator()
            await fan.get("/me")
            proxy.cut()
            answers = [
                await fan.get("/wallet"),
                await fan.get("/calls/history"),
                await fan.post("/calls/init", wanted(creator), key="tap"),
                await users.stranger().get("/me"),
            ]
            async with client_of(context) as web:
                assert (await web.get("/api/config")).status_code == 200
            await proxy.mend()
            assert (await fan.post("/calls/init", wanted(creator), key="tap")).status_code == 201
    for answer in answers:
        check(answer, 503, "STORAGE_UNAVAILABLE")
        assert int(answer.headers["Retry-After"]) > 0
