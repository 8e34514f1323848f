"""Origins whose scripts may send requests: the configured ones, with a token and without cookies, and no others."""

from collections.abc import AsyncIterator

import httpx
import pytest

from server.config.settings import HttpSettings
from tests.server.rest.conftest import client_of
from tests.server.rest.problems import SOMEBODY, check
from tests.support.clients import token_of
from tests.support.servers import running_server, with_section

OURS, OTHER = "https://fans.example.org", "https://evil.example.org"
ASKING = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,idempotency-key"}


@pytest.fixture
async def open_web(dsn: str) -> AsyncIterator[httpx.AsyncClient]:
    """A server that allows one origin."""
    async with running_server(dsn, with_section("http", allowed_origins=(OURS,), listen="127.0.0.1:0")) as context:
        async with client_of(context) as web:
            yield web


def allowances(answer: httpx.Response) -> set[str]:
    return {name for name in answer.headers if name.startswith("access-control-")}


async def test_a_script_of_a_known_origin_may_ask_and_read(open_web: httpx.AsyncClient) -> None:
    for path, status in (("/api/me", 200), ("/api/nowhere", 404), (f"/api/calls/{SOMEBODY}", 404)):
        asked_with = {"Origin": OURS, "Authorization": f"Bearer {token_of(SOMEBODY)}"}
        answer = await open_web.get(path, headers=asked_with)
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == OURS
        assert {"RateLimit", "Retry-After", "Link", "X-Request-Id"} <= set(
            answer.headers["Access-Control-Expose-Headers"].split(", ")
        )
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert answer.headers["Vary"] == "Origin"


async def test_a_preflight_answers_the_permissions_of_the_origin(open_web: httpx.AsyncClient) -> None:
    answer = await open_web.options("/api/calls/init", headers={"Origin": OURS, **ASKING})
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == OURS
    assert answer.headers["Access-Control-Allow-Methods"] == "POST"
    allowed = {name.lower() for name in answer.headers["Access-Control-Allow-Headers"].split(", ")}
    assert {"authorization", "content-type", "idempotency-key"} <= allowed
    assert int(answer.headers["Access-Control-Max-Age"]) > 0


@pytest.mark.parametrize("origin", [OTHER, "null", "", OURS + ".evil.org", OURS.upper(), "http://fans.example.org"])
async def test_a_script_of_another_origin_may_not(open_web: httpx.AsyncClient, origin: str) -> None:
    answer = await open_web.get("/api/config", headers={"Origin": origin})
    assert (answer.headers["Vary"], allowances(answer)) == ("Origin", set())
    answer = await open_web.options("/api/calls/init", headers={"Origin": origin, **ASKING})
    check(answer, 405, "METHOD_NOT_ALLOWED")
    assert allowances(answer) == set()


async def test_options_is_otherwise_not_served(open_web: httpx.AsyncClient) -> None:
    check(await open_web.options("/api/calls/init", headers={"Origin": OURS}), 405, "METHOD_NOT_ALLOWED")
    check(await open_web.options("/api/nowhere", headers={"Origin": OURS, **ASKING}), 404, "NOT_FOUND")


async def test_by_default_there_is_no_other_origin(web: httpx.AsyncClient) -> None:
    answer = await web.get("/api/config", headers={"Origin": OURS})
    assert allowances(answer) == set() and "Vary" not in answer.headers
    check(await web.options("/api/calls/init", headers={"Origin": OURS, **ASKING}), 405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("origin", ["*", "null", "https://example.org/", "example.org", "https://a b", ""])
def test_an_invalid_origin_stops_the_start(origin: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        HttpSettings(allowed_origins=(origin,))
