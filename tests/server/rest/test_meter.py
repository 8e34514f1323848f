"""The billing webhook: its authentication, its work, and that it charges nothing twice."""

import base64
import hashlib
import hmac
import time
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
import structlog
import trio

from domain.ids import CallId, RoomId, UserId
from domain.refusals import Code, Refusal
from server.config.secrets import Secrets
from server.context import Context
from server.ids import new_channel, new_uuid
from server.rest.routes.meter import MAX_RESULTS, summary
from storage.ledger.audit import audit
from storage.rooms.call_creation import NewCall, Rung, create_call
from tests.server.rest.conftest import Users, client_of, users_of
from tests.server.rest.database_proxy import proxy_to
from tests.server.rest.problems import check
from tests.support.clients import SECRET
from tests.support.servers import BILLING_SECRET, add_creator, add_fan, running_server, settings

ALLOWED = {"X-Billing-Secret": BILLING_SECRET}


async def sweep(web: httpx.AsyncClient, headers: dict[str, str] | None = None, body: bytes = b"") -> httpx.Response:
    return await web.post("/api/billing/meter", headers=ALLOWED if headers is None else headers, content=body)


def signed(
    body: bytes = b"", *, secret: bytes = BILLING_SECRET.encode(), age: float = 0, id_: str = "msg_1"
) -> dict[str, str]:
    """Return headers as Standard Webhooks specifies them."""
    timestamp = str(int(time.time() - age))
    digest = hmac.new(secret, f"{id_}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": id_, "webhook-timestamp": timestamp, "webhook-signature": signature}


# Authentication


async def test_without_a_configured_secret_every_request_is_refused(dsn: str) -> None:
    async with running_server(dsn, secrets=Secrets(jwt_secret=SECRET)) as context, client_of(context) as web:
        for headers in ({}, ALLOWED, {"X-Billing-Secret": ""}, {"X-Billing-Secret": "None"}, signed(secret=b"")):
            check(await sweep(web, headers), 403, "UNAUTHORIZED")


async def test_a_missing_secret_is_logged_once_at_the_start(dsn: str) -> None:
    with structlog.testing.capture_logs() as logged:
        async with running_server(dsn, secrets=Secrets(jwt_secret=SECRET)) as context, client_of(context) as web:
            for _ in range(2):
                await sweep(web)
    assert [line["event"] for line in logged].count("billing_webhook.closed") == 1


async def test_the_secret_or_a_signature_made_with_it_authenticates(web: httpx.AsyncClient) -> None:
    body = b'{"any": "thing"}'
    for headers in (ALLOWED, signed(body), signed(body, age=290), signed(body, age=-290)):
        assert (await sweep(web, headers, body)).status_code == 200
    rotated = signed(body)
    rotated["webhook-signature"] = f"v1,AAAA v1a,BBBB {rotated['webhook-signature']}"
    assert (await sweep(web, rotated, body)).status_code == 200


async def test_a_wrong_secret_or_signature_does_not(web: httpx.AsyncClient) -> None:
    body = b"{}"
    good = signed(body)
    for headers in (
        {},
        {"X-Billing-Secret": ""},
        {"X-Billing-Secret": BILLING_SECRET[:-1]},
        {"X-Billing-Secret": BILLING_SECRET + "x"},
        {"X-Billing-Secret": "wrong", **good},
        signed(body, secret=b"wrong" * 8),
        signed(b"{ }"),
        signed(body, age=310),
        signed(body, age=-310),
        {**good, "webhook-id": "msg_2"},
        {**good, "webhook-timestamp": str(int(good["webhook-timestamp"]) + 1)},
        {**good, "webhook-timestamp": "now"},
        {**good, "webhook-signature": good["webhook-signature"].replace("v1,", "v2,")},
        {**good, "webhook-signature": ""},
        {name: value for name, value in good.items() if name != "webhook-id"},
        {name: value for name, value in good.items() if name != "webhook-signature"},
    ):
        check(await sweep(web, headers, body), 403, "UNAUTHORIZED")


async def test_a_secret_in_base64_signs_as_the_libraries_read_it(dsn: str) -> None:
    key = bytes(range(32))
    secret = f"whsec_{base64.b64encode(key).decode()}"
    secrets = Secrets(jwt_secret=SECRET, billing_webhook_secret=secret)
    async with running_server(dsn, secrets=secrets) as context, client_of(context) as web:
        assert (await sweep(web, signed(secret=key))).status_code == 200
        assert (await sweep(web, {"X-Billing-Secret": secret})).status_code == 200
        check(await sweep(web, signed(secret=key[:-1])), 403, "UNAUTHORIZED")


# The work of a sweep


async def test_a_sweep_of_a_server_without_calls_finds_nothing(web: httpx.AsyncClient) -> None:
    nothing = {"success": True, "metered": 0, "alreadyCurrent": 0, "ended": 0, "failed": 0, "results": []}
    assert (await sweep(web)).json() == nothing


async def test_a_sweep_asks_every_live_call(users: Users, web: httpx.AsyncClient) -> None:
    fan, creator, other = await users.fan(), await users.creator(), await users.online_creator()
    call_id, _, _ = await users.start_call(fan, creator)
    ringing = (await (await users.fan()).post("/calls/init", {"creatorId": str(other.user_id)})).json()["callId"]
    answer = (await sweep(web)).json()
    assert {line["callId"]: (line["success"], line["platformFee"]) for line in answer["results"]} == {
        call_id: (True, 0),
        ringing: (True, 0),
    }
    assert (answer["ended"], answer["failed"]) == (0, 0)


async def test_many_sweeps_at_once_charge_nothing_twice(context: Context, users: Users, web: httpx.AsyncClient) -> None:
    fan, creator = await users.fan(), await users.creator()
    call_id, phone, _ = await users.start_call(fan, creator)
    answers: list[dict[str, Any]] = []

    async def sweep_once() -> None:
        answers.append((await sweep(web)).json())

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(sweep_once)
        await trio.to_thread.run_sync(lambda: phone.wait_for("block:charged", blockNo=2))
    assert all(answer["success"] and answer["failed"] == 0 for answer in answers)
    call = (await fan.post(f"/billing/{call_id}/stop")).json()["call"]
    assert call["tokens"] == call["blocks"]
    assert sum(answer["metered"] for answer in answers) <= call["blocks"]
    assert [finding async for finding in audit(context.postgres) if finding.rows] == []


async def test_a_sweep_adopts_a_call_that_no_room_owns(context: Context, web: httpx.AsyncClient) -> None:
    call_id = await _make_orphan(context)
    assert context.registry.find(call_id) is None
    answer = (await sweep(web)).json()
    assert [line["callId"] for line in answer["results"]] == [str(call_id)]
    room = context.registry.find(call_id)
    assert room is not None
    assert (await sweep(web)).json()["alreadyCurrent"] == 1
    assert context.registry.find(call_id) is room


async def _make_orphan(context: Context) -> CallId:
    """Make a call whose server has stopped in good order."""
    gone, now = new_uuid(), context.clock.now()
    await context.postgres.execute(
        "INSERT INTO servers (id, lease_expires_at, released) VALUES ($1, now(), true)", gone
    )
    rung = await create_call(
        context.postgres,
        NewCall(
            id=RoomId(new_uuid()),
            channel=new_channel(),
            fan=await add_fan(context, 10),
            creator=UserId(await add_creator(context, 60)),
            creator_online=True,
            max_tokens=None,
            key=None,
            content=bytes(16),
            block_seconds=1,
            block_rounding="up",
            created_at=now,
            rings_until=now + 60_000_000,
            cooldown=0,
            server_id=gone,
        ),
    )
    assert isinstance(rung, Rung)
    return rung.call.facts.id


async def test_blocks_that_wait_for_the_database_fail_and_are_charged_once_when_it_is_back(dsn: str) -> None:
    defaults = settings(storage_grace_seconds=0.1)
    hurried = msgspec.structs.replace(defaults, http=msgspec.structs.replace(defaults.http, answer_seconds=0.3))
    async with proxy_to(dsn) as line, running_server(line.dsn, hurried) as context:
        async with users_of(context) as users, client_of(context) as web:
            fan, creator = await users.fan(), await users.creator()
            call_id, phone, _ = await users.start_call(fan, creator)
            line.cut()
            await trio.to_thread.run_sync(phone.wait_for, "call:paused")  # a block fell due, and could not be booked
            check(await sweep(web), 503, "STORAGE_UNAVAILABLE")
            await line.mend()
            await trio.to_thread.run_sync(phone.wait_for, "call:resumed")
            assert (await sweep(web)).json()["failed"] == 0
            blocks = (await fan.get(f"/billing/{call_id}")).json()["blocks"]
            assert [block["blockNo"] for block in blocks] == list(range(1, len(blocks) + 1))
            assert len(blocks) >= 2
            await fan.post(f"/billing/{call_id}/stop")
            assert [finding async for finding in audit(context.postgres) if finding.rows] == []


async def test_a_server_that_drains_does_not_sweep(
    context: Context, web: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "draining", True)
    check(await sweep(web), 503, "DRAINING")
    check(await sweep(web, {}), 403, "UNAUTHORIZED")


# The sums in an answer


def line(metered: int = 0, **more: Any) -> tuple[str, Any]:
    call_id = str(UUID(int=metered))
    return call_id, {"callId": call_id, "success": True, "metered": metered, "platformFee": 0, **more}


def test_blocks_are_counted_and_so_are_calls() -> None:
    broke = line(1, success=False, reason="insufficient_funds", callEnded=True)
    hung_up = line(0, reason="hangup", callEnded=True)
    silent = ("c", Refusal(Code.STORAGE_UNAVAILABLE, "The answer did not come in time"))
    done = summary([line(2, blockCost=5, creatorCut=5), line(), hung_up, broke, silent])
    assert (done.metered, done.already_current, done.ended, done.failed) == (3, 1, 2, 2)
    lines = [msgspec.to_builtins(result) for result in done.results]
    assert [result["success"] for result in lines] == [False, False, True, True, True]
    assert lines[0]["reason"] == "insufficient_funds"
    assert lines[1] == {"callId": "c", "success": False, "platformFee": 0, "reason": "STORAGE_UNAVAILABLE"}
    assert lines[2] == {"callId": line(2)[0], "success": True, "platformFee": 0, "blockCost": 5, "creatorCut": 5}


def test_a_thousand_results_are_shown_and_failures_first() -> None:
    answers = [line() for _ in range(MAX_RESULTS + 5)]
    answers.append(("last", Refusal(Code.STORAGE_UNAVAILABLE, "The answer did not come in time")))
    done = summary(answers)
    assert len(done.results) == MAX_RESULTS
    assert done.results[0].call_id == "last"
    assert (done.already_current, done.failed) == (MAX_RESULTS + 5, 1)
