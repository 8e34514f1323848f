"""Manual pauses, and the cost of a call's blocks."""

import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import msgspec
import pytest
import trio

from domain.call.record import CallRecord
from domain.ids import PROMOTIONS
from server.context import Context
from server.ids import new_channel, new_uuid
from server.rooms.room_storage import RoomStorage
from storage.ledger.audit import audit
from tests.server.rest.conftest import Caller, Users, users_of
from tests.server.rest.database_proxy import proxy_to
from tests.server.rest.problems import SOMEBODY, check
from tests.support.history import insert_postings
from tests.support.servers import give, running_server, settings

NOT_REFUNDED = {"refundedBlocks": 0, "refundedTokens": 0}


async def test_either_party_pauses_and_only_the_one_who_paused_resumes(users: Users) -> None:
    fan, creator = await users.fan(), await users.creator()
    call_id, phone, _ = await users.start_call(fan, creator)
    for _ in range(2):
        paused = await fan.post(f"/billing/{call_id}/pause")
        assert (paused.json()["call"]["status"], paused.json()["call"]["holds"]) == ("paused", ["fan"])
    check(await creator.post(f"/billing/{call_id}/resume"), 403, "FORBIDDEN")
    both = await creator.post(f"/billing/{call_id}/pause")
    assert both.json()["call"]["holds"] == ["creator", "fan"]
    one = await fan.post(f"/billing/{call_id}/resume")
    assert (one.json()["call"]["status"], one.json()["call"]["holds"]) == ("paused", ["creator"])
    for _ in range(2):
        resumed = await creator.post(f"/billing/{call_id}/resume")
        assert (resumed.json()["call"]["status"], resumed.json()["call"]["holds"]) == ("active", [])
    await trio.to_thread.run_sync(phone.wait_for, "call:resumed")


async def test_a_call_that_has_not_started_cannot_be_paused(users: Users) -> None:
    fan, creator = await users.fan(), await users.online_creator()
    call_id = (await fan.post("/calls/init", {"creatorId": str(creator.user_id)})).json()["callId"]
    for command in ("pause", "resume"):
        check(await fan.post(f"/billing/{call_id}/{command}"), 409, "CALL_NOT_ACTIVE")


async def test_stop_ends_the_call_and_answers_it_as_it_is_stored(context: Context, users: Users) -> None:
    fan, creator = await users.fan(), await users.creator()
    call_id, _, phone = await users.start_call(fan, creator)
    stopped = await fan.post(f"/billing/{call_id}/stop")
    call = stopped.json()["call"]
    assert (stopped.status_code, call["status"], call["endReason"]) == (200, "ended", "hangup")
    rows = await context.postgres.fetch(
        "SELECT sum(tokens)::int AS tokens, count(*)::int AS blocks FROM journal WHERE kind = 1"
    )
    assert (rows[0]["tokens"], rows[0]["blocks"]) == (call["tokens"], call["blocks"])
    assert (await fan.get(f"/calls/{call_id}")).json()["call"] == call
    for party in (fan, creator):
        assert (await party.post(f"/billing/{call_id}/stop")).json()["call"] == call
    ended = await trio.to_thread.run_sync(phone.wait_for, "call:ended")
    assert (ended["reason"], ended["tokens"]) == ("hangup", call["tokens"])
    for command in ("pause", "resume"):
        check(await fan.post(f"/billing/{call_id}/{command}"), 409, "CALL_ENDED")


async def test_stop_answers_only_once_the_end_is_stored(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    fan, creator = await users.fan(), await users.creator()
    call_id, _, _ = await users.start_call(fan, creator)
    begun, enough = trio.Event(), trio.Event()
    answers: list[httpx.Response] = []

    save = RoomStorage.save

    async def save_in_time(ledgers: RoomStorage, record: CallRecord) -> bool:
        if record.status == "ended":
            begun.set()
            await enough.wait()
        return await save(ledgers, record)

    async def stop() -> None:
        answers.append(await fan.post(f"/billing/{call_id}/stop"))

    monkeypatch.setattr(RoomStorage, "save", save_in_time)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop)
        await begun.wait()
        for _ in range(3):  # by then an answer that does not wait would be here
            await creator.get("/wallet")
        assert answers == []
        enough.set()
    assert answers[0].json()["call"]["status"] == "ended"


async def test_with_the_database_away_stop_still_ends_the_call_and_answers_in_time(dsn: str) -> None:
    defaults = settings()
    hurried = msgspec.structs.replace(defaults, http=msgspec.structs.replace(defaults.http, answer_seconds=0.2))
    async with proxy_to(dsn) as proxy, running_server(proxy.dsn, hurried) as context, users_of(context) as users:
        fan, creator = await users.fan(), await users.creator()
        call_id, _, _ = await users.start_call(fan, creator)
        proxy.cut()
        stopped = await fan.post(f"/billing/{call_id}/stop")
        assert (stopped.status_code, stopped.json()["call"]["endReason"]) == (200, "hangup")
        await proxy.mend()


async def test_stop_while_ringing_is_a_cancel_for_the_fan_and_a_decline_for_the_creator(users: Users) -> None:
    for role, reason in (("fan", "cancelled"), ("creator", "declined")):
        fan, creator = await users.fan(), await users.online_creator()
        call_id = (await fan.post("/calls/init", {"creatorId": str(creator.user_id)})).json()["callId"]
        party = fan if role == "fan" else creator
        assert (await party.post(f"/billing/{call_id}/stop")).json()["call"]["endReason"] == reason


async def test_ten_stops_at_once_end_the_call_once(context: Context, users: Users) -> None:
    fan, creator = await users.fan(), await users.creator()
    call_id, _, phone = await users.start_call(fan, creator)
    answers: list[httpx.Response] = []

    async def stop() -> None:
        answers.append(await fan.post(f"/billing/{call_id}/stop"))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(stop)
    assert [answer.status_code for answer in answers] == [200] * 10
    assert len({answer.text for answer in answers}) == 1
    await trio.to_thread.run_sync(phone.ask, {"type": "ping"})
    assert len(phone.all_events("call:ended")) == 1
    assert [finding async for finding in audit(context.postgres) if finding.rows] == []


# The bill of a call


async def test_billing_lists_the_blocks_and_their_sum(users: Users) -> None:
    fan, creator = await users.fan(), await users.creator(120)
    call_id, phone, _ = await users.start_call(fan, creator)
    await trio.to_thread.run_sync(lambda: phone.wait_for("block:charged", blockNo=2))
    live = (await fan.get(f"/billing/{call_id}")).json()
    assert live.keys() == {"call", "blocks", "totals", "paidThrough", "secondsLeft"}
    assert live["paidThrough"] == live["call"]["paidThrough"] is not None
    assert 0 < live["secondsLeft"] <= 50
    _check_sums(live)
    await fan.post(f"/billing/{call_id}/stop")
    ended = (await fan.get(f"/billing/{call_id}")).json()
    assert (ended["secondsLeft"], ended["paidThrough"]) == (0.0, None)
    assert ended["totals"]["blocks"] >= 2
    _check_sums(ended)


def _check_sums(billing: dict[str, Any]) -> None:
    blocks = billing["blocks"]
    assert [block["blockNo"] for block in blocks] == list(range(1, len(blocks) + 1))
    assert all(block.keys() == {"blockNo", "tokens", "chargedAt", "refundedTokens", "refundedAt"} for block in blocks)
    assert all(block["tokens"] == 2 for block in blocks)
    totals = {"blocks": len(blocks), "tokens": 2 * len(blocks), "activeSeconds": billing["call"]["activeSeconds"]}
    assert billing["totals"] == {**totals, **NOT_REFUNDED}


async def test_only_the_fan_sees_how_long_the_tokens_last(users: Users) -> None:
    fan, creator = await users.fan(), await users.creator()
    call_id, _, _ = await users.start_call(fan, creator)
    assert "secondsLeft" in (await fan.get(f"/billing/{call_id}")).json()
    assert "secondsLeft" not in (await creator.get(f"/billing/{call_id}")).json()


async def test_history_has_each_block_once_for_its_payer_and_once_for_its_payee(users: Users) -> None:
    fan, creator = await users.fan(), await users.creator()
    call_id, _, _ = await users.start_call(fan, creator)
    blocks = (await fan.post(f"/billing/{call_id}/stop")).json()["call"]["blocks"]
    paid = (await fan.get("/billing/history")).json()
    assert paid["total"] == len(paid["items"]) == blocks
    first = paid["items"][-1]
    assert first == {
        "callId": call_id,
        "streamId": None,
        "role": "fan",
        "blockNo": 1,
        "tokens": 1,
        "counterparty": str(creator.user_id),
        "balanceAfter": 99,
        "chargedAt": first["chargedAt"],
        "refundedTokens": 0,
        "refundedAt": None,
    }
    earned = (await creator.get("/billing/history", callId=call_id, role="creator")).json()["items"]
    assert [(block["role"], block["blockNo"]) for block in earned] == [("creator", n) for n in range(blocks, 0, -1)]
    assert earned[-1]["balanceAfter"] == 1


async def test_history_is_filtered(context: Context, users: Users) -> None:
    fan, creator = await users.fan(), await users.creator()
    call_id, _, _ = await users.start_call(fan, creator)
    await fan.post(f"/billing/{call_id}/stop")
    await give(context, fan.user_id, 5)  # it pays for no block, so no trace of it is shown
    hour, now = timedelta(hours=1), datetime.now(UTC)
    shown = (await fan.get("/billing/history")).json()["total"]
    assert shown >= 1
    for query, count in (
        ({"callId": call_id}, shown),
        ({"callId": str(SOMEBODY)}, 0),
        ({"streamId": str(SOMEBODY)}, 0),
        ({"streamId": call_id}, 0),
        ({"role": "fan"}, shown),
        ({"role": "creator"}, 0),
        ({"from": (now - hour).isoformat()}, shown),
        ({"to": (now - hour).isoformat()}, 0),
    ):
        assert (await fan.get("/billing/history", **query)).json()["total"] == count, query
    for query in ({"callId": "x"}, {"role": "x"}, {"callId": call_id, "streamId": call_id}):
        check(await fan.get("/billing/history", **query), 400, "VALIDATION_FAILED")


async def test_stats_sum_by_day_and_by_counterparty(users: Users) -> None:
    fan, creator = await users.fan(), await users.creator()
    call_id, _, _ = await users.start_call(fan, creator)
    call = (await fan.post(f"/billing/{call_id}/stop")).json()["call"]
    sums = {"blocks": call["blocks"], "tokens": call["tokens"]}
    stats = (await fan.get("/billing/stats")).json()
    nothing = {"blocks": 0, "tokens": 0, **NOT_REFUNDED}
    assert stats["creator"] == {"role": "creator", **nothing, "byDay": [], "byCounterparty": []}
    assert {name: stats["fan"][name] for name in ("role", "blocks", "tokens")} == {"role": "fan", **sums}
    assert {name: sum(day[name] for day in stats["fan"]["byDay"]) for name in sums} == sums
    assert stats["fan"]["byCounterparty"] == [
        {"userId": str(creator.user_id), "displayName": "Cleo", **sums, **NOT_REFUNDED}
    ]
    assert (await creator.get("/billing/stats")).json()["creator"]["tokens"] == call["tokens"]
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert (await fan.get("/billing/stats", **{"from": later})).json()["fan"]["blocks"] == 0


# Days of a time zone

HALF_HOURS = [
    datetime(2025, month, day, tzinfo=UTC) + n * timedelta(minutes=30)
    for month, day in ((3, 28), (10, 24))
    for n in range(192)
]


async def meet(context: Context, users: Users) -> Caller:
    """Hold calls of a fan who paid a block of 1 token at each of HALF_HOURS."""
    fan, creator = await users.fan(0), await users.creator()
    room = new_uuid()
    inserted = "INSERT INTO rooms (id, kind, channel, opened) VALUES ($1, 'call', $2, false)"  # no server adopts it
    await context.postgres.execute(inserted, room, new_channel())
    moments = ", ".join(f"({n}, '{at.isoformat()}'::timestamptz)" for n, at in enumerate(HALF_HOURS, start=1))
    script = f"""
        INSERT INTO wanted (seq, kind, debit, credit, tokens, created_at)
            VALUES (0, 5, '{PROMOTIONS}', '{fan.user_id}', 1000, '2025-01-01T00:00:00Z');
        INSERT INTO wanted (seq, kind, debit, credit, tokens, room_id, block_no, created_at)
            SELECT n, 1, '{fan.user_id}', '{creator.user_id}', 1, '{room}', n, at FROM (VALUES {moments}) m (n, at);
    """
    await context.postgres.transaction(lambda connection: insert_postings(connection, script))
    return fan


async def by_day(fan: Caller, **query: str) -> dict[str, int]:
    """Return how many blocks each day has."""
    answer = await fan.get("/billing/stats", **query)
    assert answer.status_code == 200, answer.text
    assert answer.json()["tz"] == query.get("tz", "UTC")
    return {day["day"]: day["blocks"] for day in answer.json()["fan"]["byDay"]}


async def test_a_day_of_a_zone_has_23_or_25_hours_where_its_clocks_change(context: Context, users: Users) -> None:
    fan = await meet(context, users)
    berlin = await by_day(fan, tz="Europe/Berlin")
    assert (berlin["2025-03-30"], berlin["2025-03-29"], berlin["2025-10-26"], berlin["2025-10-25"]) == (46, 48, 50, 48)
    for day, blocks in (("2025-03-30", 46), ("2025-10-26", 50)):
        following = (date.fromisoformat(day) + timedelta(days=1)).isoformat()
        assert await by_day(fan, tz="Europe/Berlin", **{"from": day, "to": following}) == {day: blocks}
    assert set((await by_day(fan)).values()) == {48}


@pytest.mark.parametrize(
    "name",
    ["America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati", "Africa/Cairo", "Australia/Lord_Howe", "Etc/GMT+5"],
)
async def test_each_block_is_in_the_day_that_its_moment_has_there(context: Context, users: Users, name: str) -> None:
    fan, zone = await meet(context, users), ZoneInfo(name)
    days = Counter(at.astimezone(zone).date().isoformat() for at in HALF_HOURS)
    assert await by_day(fan, tz=name) == days
    for day in days:
        following = (date.fromisoformat(day) + timedelta(days=1)).isoformat()
        assert await by_day(fan, tz=name, **{"from": day, "to": following}) == {day: days[day]}


async def test_a_period_may_begin_with_a_date_and_end_with_an_instant(context: Context, users: Users) -> None:
    fan = await meet(context, users)
    query = {"from": "2025-03-30", "to": "2025-03-30T00:00:00+01:00", "tz": "Europe/Berlin"}
    assert await by_day(fan, **query) == {}
    query["to"] = "2025-03-30T01:00:00Z"
    assert await by_day(fan, **query) == {"2025-03-30": 4}


@pytest.mark.parametrize(
    "name",
    [
        *("Mars/Olympus", "europe/berlin", "Europe/Berlin ", "EST", "EST5EDT", "CET", "GMT", "Zulu", "Z", "local"),
        *("localtime", "posixrules", "Factory", "posix/Europe/Berlin", "right/Europe/Berlin", "CET-1CEST", "+01:00"),
        *("<+01>-1", "Europe", "Europe/", "/Europe/Berlin", "../Europe/Berlin", "Europe/../Europe/Berlin"),
        *("/etc/passwd", "../../../../etc/passwd", "Europe/Berlin\\", "Europe/Berlin'", "Ünïcode/Zone", "x" * 65, ""),
    ],
)
async def test_an_unknown_time_zone_is_named(users: Users, name: str) -> None:
    answer = await users.stranger().get("/billing/stats", tz=name)
    fields = check(answer, 400, "VALIDATION_FAILED")
    assert [error["field"] for error in fields["errors"]] == ["tz"]


@pytest.mark.parametrize(
    "moment", ["2025-02-30", "2025-3-1", "2025-W01-1", "yesterday", "2025-03-30T00:00:00", "0001-01-01", "9999-12-31"]
)
async def test_a_value_that_is_neither_a_date_nor_an_instant_is_named(users: Users, moment: str) -> None:
    zone = "Asia/Tokyo" if moment.startswith("0001") else "America/New_York"
    answer = await users.stranger().get("/billing/stats", tz=zone, **{"from": moment})
    if moment == "9999-12-31":  # the last midnight there is still in the calendar
        assert answer.status_code == 200
        answer = await users.stranger().get("/billing/stats", **{"to": "9999-12-31T23:59:59-12:00", "from": moment})
        assert answer.json()["errors"][0]["field"] == "to"
    else:
        fields = check(answer, 400, "VALIDATION_FAILED")
        assert [error["field"] for error in fields["errors"]] == ["from"]


def test_time_zones_work_on_a_machine_without_a_database_of_them() -> None:
    script = "import zoneinfo; print(zoneinfo.ZoneInfo('Europe/Berlin').key, len(zoneinfo.available_timezones()) > 400)"
    environment = {**os.environ, "PYTHONTZPATH": ""}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["Europe/Berlin", "True"]
