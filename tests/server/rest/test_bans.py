"""Bans: the user is out of the call and of every session, and stays out until the ban ends or is lifted."""

from datetime import UTC, datetime, timedelta

import pytest
import trio

from server.context import Context
from server.rest.app import ROUTES
from server.sessions.bans import ALLOWED_WHEN_BANNED
from storage.ledger.audit import audit
from storage.people import bans as stored
from storage.people.bans import NewBan, add_ban, is_banned, lift_ban
from tests.server.rest.conftest import Caller, Users, users_of
from tests.server.rest.problems import SOMEBODY, check
from tests.support.servers import running_server


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def ban(operator: Caller, user: Caller, **more: str) -> dict[str, object]:
    answer = await operator.post("/admin/bans", {"userId": str(user.user_id), "reason": "rude", **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, object] = answer.json()
    return made


async def test_a_ban_ends_the_live_call_and_closes_every_session(context: Context, users: Users) -> None:
    fan, creator, operator = await users.fan(), await users.creator(), await users.operator()
    call_id, fans, creators = await users.start_call(fan, creator)
    second = await users.phone(fan)
    await ban(operator, fan)
    ended = await trio.to_thread.run_sync(creators.wait_for, "call:ended")
    assert (ended["callId"], ended["reason"]) == (call_id, "admin")
    for phone in (fans, second):
        await trio.to_thread.run_sync(phone.wait_closed)
        assert phone.close_code == 4403
    assert not context.sessions.online(fan.user_id)
    call = (await creator.get(f"/calls/{call_id}")).json()["call"]
    assert (call["status"], call["endReason"]) == ("ended", "admin")
    assert context.sessions.online(creator.user_id), "the other one stays"
    assert [finding.sentence async for finding in audit(context.postgres) if finding.rows] == []


async def test_a_ban_ends_a_call_that_rings(context: Context, users: Users) -> None:
    fan, creator, operator = await users.fan(), await users.creator(), await users.operator()
    fans, _ = await users.phone(fan), await users.phone(creator)
    call_id = (await fan.post("/calls/init", {"creatorId": str(creator.user_id)})).json()["callId"]
    await ban(operator, creator)
    room = context.registry.call_of(fan.user_id)
    if room is not None:
        await room.settled.wait()
    assert (await fan.get(f"/calls/{call_id}")).json()["call"]["endReason"] == "admin"
    check(await fan.post("/calls/init", {"creatorId": str(creator.user_id)}), 409, "CREATOR_UNAVAILABLE")
    assert fans.close_code is None


async def test_a_ban_ends_the_live_stream_of_its_owner_and_evicts_the_user_from_others(
    context: Context, users: Users
) -> None:
    owner, other, operator = await users.creator(), await users.creator(), await users.operator()
    streams = []
    for creator in (owner, other):
        made = (await creator.post("/streams", {"title": "A show", "type": "public"})).json()["stream"]
        await creator.post(f"/streams/{made['id']}/start")
        streams.append(made)
    viewer, banned = await users.phone(other), await users.phone(owner)
    for phone in (viewer, banned):
        for stream in streams:
            assert (await trio.to_thread.run_sync(phone.join, stream["channel"]))["type"] == "room:joined"
    await ban(operator, owner)
    await trio.to_thread.run_sync(viewer.wait_for, "stream:ended")
    await trio.to_thread.run_sync(banned.wait_closed)
    revoked = {(event["channel"], event["reason"]) for event in banned.all_events("access:revoked")}
    assert revoked == {(stream["channel"], "banned") for stream in streams}
    shown = [(await other.get(f"/streams/{stream['id']}")).json()["stream"] for stream in streams]
    assert [(stream["status"], stream["endReason"]) for stream in shown] == [("ended", "admin"), ("live", None)]
    room = context.registry.find_channel(streams[1]["channel"])
    assert room is not None and len(room.fanout.members()) == 1


async def test_a_banned_user_may_only_read_their_wallet(users: Users) -> None:
    fan, operator = await users.fan(10), await users.operator()
    await ban(operator, fan)
    for path in ("/me", "/wallet", "/wallet/ledger", "/tokens/purchases", "/payouts"):
        assert (await fan.get(path)).status_code == 200, path
    check(await fan.get(f"/tokens/purchases/{SOMEBODY}"), 404, "NOT_FOUND")
    for method, path in (
        ("GET", "/creators"),
        ("GET", "/calls/history"),
        ("POST", "/calls/init"),
        ("POST", "/tokens/purchases"),
        ("POST", "/payouts"),
        ("POST", "/reports"),
        ("PUT", "/creators/me"),
        ("POST", "/overlay-tokens"),
    ):
        check(await fan.ask(method, path), 403, "FORBIDDEN")
    assert {(route.method, route.path) for route in ROUTES} >= ALLOWED_WHEN_BANNED


async def test_a_ban_is_over_when_it_is_lifted(context: Context, users: Users) -> None:
    fan, operator = await users.fan(), await users.operator()
    made = await ban(operator, fan)
    assert made == {
        "banId": made["banId"],
        "userId": str(fan.user_id),
        "reason": "rude",
        "bannedBy": str(operator.user_id),
        "createdAt": made["createdAt"],
        "until": None,
    }
    assert (await operator.get("/admin/bans")).json()["items"] == [made]
    assert context.bans.contains(fan.user_id) and await is_banned(context.postgres, fan.user_id)
    for _ in range(2):
        lifted = await operator.ask("DELETE", f"/admin/bans/{fan.user_id}")
        assert lifted.json() == {"userId": str(fan.user_id), "banned": False}
    assert (await fan.get("/creators")).status_code == 200
    assert (await operator.get("/admin/bans")).json()["items"] == []
    assert not await is_banned(context.postgres, fan.user_id)


async def test_a_ban_ends_when_its_time_has_come(context: Context, users: Users) -> None:
    fan, operator = await users.fan(), await users.operator()
    await ban(operator, fan, until=in_seconds(0.5))
    check(await fan.get("/creators"), 403, "FORBIDDEN")
    await trio.sleep(0.6)  # the time itself is tested, and no event announces its end
    assert (await fan.get("/creators")).status_code == 200
    assert (await operator.get("/admin/bans")).json()["items"] == []
    phone = await users.phone(fan)
    await ban(operator, fan)
    await trio.to_thread.run_sync(phone.wait_closed)
    assert phone.close_code == 4403, "a second ban puts out again"


async def test_a_later_ban_replaces_the_current_one(context: Context, users: Users) -> None:
    fan, operator = await users.fan(), await users.operator()
    await ban(operator, fan, until=in_seconds(3600))
    made = await ban(operator, fan)
    assert (await operator.get("/admin/bans")).json()["items"] == [made]
    row = await context.postgres.fetchrow("SELECT count(*) FROM bans")
    assert row is not None and row[0] == 2, "what was before is kept"


async def test_an_invalid_ban_is_refused_by_name(users: Users) -> None:
    fan, operator = await users.fan(), await users.operator()
    about = {"userId": str(fan.user_id), "reason": "rude"}
    for field, values in {
        "userId": ("nobody", 5, str(operator.user_id)),
        "reason": ("", "\t", "x" * 501),
        "until": ("soon", in_seconds(-1), "2030-01-01T00:00:00", "0001-01-01T00:00:00+23:00", 5),
    }.items():
        for value in values:
            fields = check(await operator.post("/admin/bans", {**about, field: value}), 400, "VALIDATION_FAILED")
            assert [error["field"] for error in fields["errors"]] == [field], value
    check(await operator.post("/admin/bans", {**about, "userId": str(SOMEBODY)}), 404, "NOT_FOUND")
    check(await fan.post("/admin/bans", about), 403, "FORBIDDEN")
    check(await fan.ask("DELETE", f"/admin/bans/{fan.user_id}"), 403, "FORBIDDEN")
    assert (await fan.get("/creators")).status_code == 200


async def test_the_number_of_bans_is_bounded(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    fan, other, operator = await users.fan(), await users.fan(), await users.operator()
    monkeypatch.setattr(stored, "MAX_BANS", 1)
    await ban(operator, fan)
    check(await operator.post("/admin/bans", {"userId": str(other.user_id), "reason": "rude"}), 503, "OVERLOADED")


# Other servers, and later ones


async def test_a_ban_that_another_server_made_takes_effect_here(context: Context, users: Users) -> None:
    fan, operator = await users.fan(), await users.operator()
    phone = await users.phone(fan)
    await operator.get("/me")
    await add_ban(context.postgres, NewBan(SOMEBODY, fan.user_id, "rude", operator.user_id, None))
    await trio.to_thread.run_sync(phone.wait_closed)
    assert phone.close_code == 4403
    check(await fan.get("/creators"), 403, "FORBIDDEN")
    await lift_ban(context.postgres, fan.user_id, operator.user_id)
    with trio.fail_after(10):
        while (await fan.get("/creators")).status_code != 200:  # each response is a poll
            pass


async def test_a_server_that_starts_knows_the_banned_users(dsn: str) -> None:
    async with running_server(dsn) as context, users_of(context) as users:
        fan, operator = await users.fan(), await users.operator()
        await operator.get("/me")
        ban = NewBan(SOMEBODY, fan.user_id, "rude", operator.user_id, None)
        await add_ban(context.postgres, ban)
    async with running_server(dsn) as context:
        assert context.bans.contains(fan.user_id)
