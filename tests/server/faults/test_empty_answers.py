"""Responses without a body: any client can request one, and none may harm the process or a live call."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.client_pool import ClientPool, party
from tests.support.clients import SECRET
from tests.support.database_reader import DatabaseReader
from tests.support.processes import ServerProcess

ORIGIN = "https://fans.example.org"
SETTINGS = {
    "HALFMINUTE_JWT_SECRET": SECRET,
    "HALFMINUTE_CALLS_BLOCK_SECONDS": "1",
    "HALFMINUTE_HTTP_ALLOWED_ORIGINS": f'["{ORIGIN}"]',
}
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
TIMES = 200  # the number that reliably ended the process when each was iterated over in asyncio


@pytest.fixture
def live(data_dir: Path) -> Iterator[tuple[ServerProcess, ClientPool]]:
    """A server that allows one origin, with a live call."""
    with ServerProcess(data_dir, settings=SETTINGS) as server:
        users = DatabaseReader.beside(data_dir).add_pairs(1, tokens=10_000)
        with ClientPool(server, [(party(fan, SECRET), party(creator, SECRET)) for fan, creator in users]) as pool:
            pool.ring()
            yield server, pool


def test_preflights_in_sequence_leave_the_server_and_its_calls_alone(live: tuple[ServerProcess, ClientPool]) -> None:
    server, pool = live
    for _ in range(TIMES):
        answer = _ask(server, "OPTIONS", "/api/tips/send", PREFLIGHT)
        assert (answer.status_code, answer.content) == (204, b"")
        assert "Content-Length" not in answer.headers, "RFC 9110 §8.6 forbids it with 204"
    _see_all_well(server, pool)


def test_preflights_of_a_browser_that_does_not_wait_leave_the_server_and_its_calls_alone(
    live: tuple[ServerProcess, ClientPool],
) -> None:
    server, pool = live
    for _ in range(TIMES):
        with httpx.Client(base_url=f"http://127.0.0.1:{server.http_port}", timeout=20, verify=False) as web:
            with web.stream("OPTIONS", "/api/tips/send", headers=PREFLIGHT) as answer:
                assert answer.status_code == 204
    _see_all_well(server, pool)


@pytest.mark.parametrize("path", ["/healthz", "/api/config", "/api/nowhere", "/api/openapi.json"])
def test_answers_to_head_have_no_body_and_leave_the_server_and_its_calls_alone(
    live: tuple[ServerProcess, ClientPool], path: str
) -> None:
    server, pool = live
    for _ in range(TIMES):
        answer = _ask(server, "HEAD", path, {"Origin": ORIGIN, "If-None-Match": "*"})
        assert (answer.status_code in (200, 404), answer.content) == (True, b"")
    _see_all_well(server, pool)


def _ask(server: ServerProcess, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    url = f"http://127.0.0.1:{server.http_port}{path}"
    return httpx.request(method, url, headers=headers, timeout=20, verify=False)


def _see_all_well(server: ServerProcess, pool: ClientPool) -> None:
    pool.wait_more_blocks(2)
    assert server.running
    assert [caller.close_codes for caller in pool.callers] == [[], []]
    assert [line for line in server.errors.all() if '"level": "error"' in line or "Traceback" in line] == []
    assert "halfminute_asyncio_unhandled_total 0.0" in server.get("/metrics").text
    server.terminate()
    assert server.wait_exit() == 0
