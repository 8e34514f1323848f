"""Every error has one shape, and none of them reveals anything internal."""

import json
import re

import httpx
import pytest
import structlog
from structlog.contextvars import merge_contextvars

from server.context import Context
from server.rest.app import ROUTES
from server.rest.route import Needs
from server.rest.routes import wallet
from tests.server.rest.conftest import Users
from tests.server.rest.problems import SOMEBODY, check
from tests.server.rest.raw import exchange
from tests.support.clients import token_of


async def test_an_unknown_path_is_a_problem(web: httpx.AsyncClient) -> None:
    for path in ("/nowhere", "/api/nowhere", "/api/me/", "/api/calls/not-a-uuid", "/static/x", "/api/%ff%00"):
        check(await web.get(path), 404, "NOT_FOUND")


async def test_a_wrong_method_is_a_problem_that_lists_the_right_ones(web: httpx.AsyncClient) -> None:
    answer = await web.post("/api/wallet")
    check(answer, 405, "METHOD_NOT_ALLOWED")
    assert answer.headers["Allow"] == "GET, HEAD"
    check(await web.options("/api/wallet"), 405, "METHOD_NOT_ALLOWED")


async def test_an_invalid_body_is_a_problem_that_names_each_field(users: Users) -> None:
    fan = await users.fan(0)
    fields = check(await fan.post("/calls/init", {"creatorId": 5, "maxTokens": "5"}), 400, "VALIDATION_FAILED")
    assert [error["field"] for error in fields["errors"]] == ["creatorId", "maxTokens"]
    assert all(error["reason"] for error in fields["errors"])
    fields = check(await fan.ask("POST", "/calls/init", content=b"{"), 400, "VALIDATION_FAILED")
    assert fields["errors"] == [{"field": "body", "reason": "is not JSON in UTF-8"}]


async def test_a_bad_parameter_is_a_problem_that_names_it(users: Users) -> None:
    fan = await users.fan(0)
    fields = check(await fan.get("/wallet/ledger", limit="0", kind="gift"), 400, "VALIDATION_FAILED")
    assert [error["field"] for error in fields["errors"]] == ["limit", "kind"]


async def test_a_body_of_64_kib_is_read_and_one_byte_more_is_too_large(users: Users) -> None:
    fan = await users.fan(0)
    check(await fan.ask("POST", "/calls/init", content=b" " * 65_536), 400, "VALIDATION_FAILED")
    check(await fan.ask("POST", "/calls/init", content=b" " * 65_537), 413, "PAYLOAD_TOO_LARGE")


async def test_a_body_without_a_length_is_cut_off_where_it_becomes_too_large(context: Context) -> None:
    chunk = b"3e8\r\n" + b" " * 1000 + b"\r\n"
    head = b"POST /api/calls/init HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await exchange(context, head + chunk * 70)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"PAYLOAD_TOO_LARGE" in answer


async def test_an_internal_error_reveals_nothing_to_the_client_and_is_logged_in_full(
    users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("SELECT secret FROM /etc/passwd")

    fan = await users.fan(0)
    monkeypatch.setattr(wallet, "find_account", fail)
    with structlog.testing.capture_logs([merge_contextvars]) as logged:
        answer = await fan.get("/wallet")
    fields = check(answer, 500, "INTERNAL")
    text = json.dumps([fields, dict(answer.headers)])
    assert not any(word in text for word in ("secret", "passwd", "RuntimeError", "Traceback", ".py"))
    assert [(line["event"], line["request_id"], line["user"], line["rule"]) for line in logged] == [
        (event, fields["requestId"], str(fan.user_id), "/api/wallet") for event in ("http.fault", "http.answered")
    ]
    assert str(logged[0]["exc_info"]) == "SELECT secret FROM /etc/passwd"


async def test_the_callers_trace_is_the_request_id(web: httpx.AsyncClient) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = await web.get("/healthz", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    assert answer.headers["X-Request-Id"] == trace
    answer = await web.get("/api/me", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    assert answer.json()["requestId"] == trace


async def test_every_answer_has_the_headers_that_keep_a_browser_from_guessing(web: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/api/config", "/api/me", "/nowhere"):
        headers = (await web.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert not headers.keys() & {"server", "set-cookie", "x-powered-by"}


# Authentication


async def test_without_a_token_only_public_routes_are_answered(web: httpx.AsyncClient) -> None:
    for route in ROUTES:
        path = re.sub(r"\{\w+\}", str(SOMEBODY), route.path)
        answer = await web.request(route.method, path)
        assert (answer.status_code == 401) is (route.needs is not Needs.ANYONE), f"{route.method} {route.path}"
        if answer.status_code == 401:
            check(answer, 401, "UNAUTHENTICATED")
            challenge = 'Bearer error="invalid_token", error_description="no token"'
            assert answer.headers["WWW-Authenticate"] == challenge


async def test_operators_routes_are_for_operators_alone(users: Users) -> None:
    fan, operator = await users.fan(0), await users.operator()
    theirs = [route for route in ROUTES if route.path.startswith("/api/admin")]
    assert {route.path for route in theirs} >= {"/api/admin/credits", "/api/admin/audit", "/api/admin/rooms"}
    for route in theirs:
        path = re.sub(r"\{\w+\}", str(SOMEBODY), route.path.removeprefix("/api"))
        check(await fan.ask(route.method, path), 403, "FORBIDDEN")
        assert (await operator.ask(route.method, path)).status_code in (200, 400, 404)


async def test_an_invalid_token_is_refused_with_its_fault(web: httpx.AsyncClient) -> None:
    for header, why in (
        (b"Bearer", "no token"),
        (b"Basic dTpw", "not a bearer token"),
        (b"Bearer nonsense", "malformed token"),
        (b"Bearer \xff", "malformed token"),
    ):
        answer = await web.get("/api/me", headers={b"Authorization": header})
        check(answer, 401, "UNAUTHENTICATED")
        assert answer.headers["WWW-Authenticate"] == f'Bearer error="invalid_token", error_description="{why}"'


async def test_an_expired_token_is_refused_as_expired(web: httpx.AsyncClient) -> None:
    answer = await web.get("/api/me", headers={"Authorization": f"Bearer {token_of(SOMEBODY, ttl_seconds=-1)}"})
    check(answer, 401, "UNAUTHENTICATED")
    assert 'error_description="token expired"' in answer.headers["WWW-Authenticate"]


async def test_an_unexpected_body_does_not_break_the_connection(users: Users) -> None:
    fan = await users.fan(0)
    for _ in range(3):
        answer = await fan.ask("POST", f"/calls/{SOMEBODY}/accept", content=b"x" * 60_000)
        check(answer, 404, "NOT_FOUND")
        assert "Connection" not in answer.headers
