"""Connections that misbehave, and how the server ends those that do not."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from httpx import URL, AsyncClient

from domain.billing.posting import Posting, Receipt
from server.context import Context
from server.rest.http import connections
from server.rest.routes import wallet
from storage.market.accounts import Account, find_account
from storage.postgres import Postgres, open_postgres
from tests.server.rest.conftest import Caller, Users
from tests.server.rest.raw import exchange
from tests.storage.postgres_processes import eventually
from tests.support.clients import PATIENCE_SECONDS
from tests.support.servers import add_fan, running_server, settings


async def test_a_broken_upgrade_to_http_2_ends_one_connection_and_nothing_else(
    context: Context, web: AsyncClient
) -> None:
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n\r\n"
    await exchange(context, b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + upgrade)
    assert (await web.get("/healthz")).status_code == 200


async def test_bytes_that_are_no_http_are_refused(context: Context, web: AsyncClient) -> None:
    for nonsense in (
        b"\x00\x01\x02\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
    ):
        assert (await exchange(context, nonsense)).startswith(b"HTTP/1.1 400")
    assert (await web.get("/healthz")).status_code == 200


async def test_a_target_without_a_path_is_the_client_or_not_found(context: Context) -> None:
    """An empty path is `/` (RFC 9110 §4.2.3)."""
    for target, status in ((b"?x", b"200"), (b"*", b"404")):
        answer = await exchange(context, b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert (b'"error":"NOT_FOUND"' in answer) is (status == b"404")


async def test_a_websocket_is_refused_on_this_port(context: Context) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    key = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    assert (await exchange(context, b"GET /ws HTTP/1.1\r\nHost: a\r\n" + upgrade + key)).startswith(b"HTTP/1.1 403")


async def test_a_connection_that_is_to_be_closed_is_closed_by_the_server(context: Context) -> None:
    # `exchange` returns only once the server closes.
    answer = await exchange(context, b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answer.endswith(b'{"status":"ok"}')


async def test_a_body_that_does_not_arrive_is_not_waited_for(dsn: str) -> None:
    defaults = settings()
    hurried = msgspec.structs.replace(defaults, http=msgspec.structs.replace(defaults.http, answer_seconds=0.2))
    async with running_server(dsn, hurried) as context:
        answer = await exchange(context, b"PUT /api/creators/me HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{")
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"did not arrive in time" in answer


async def test_a_credit_is_given_though_its_client_vanishes(
    context: Context, users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    fan, operator = await users.fan(0), await users.operator()
    begun, gone, booked = trio.Event(), trio.Event(), trio.Event()
    post = context.actor.post

    async def post_once_the_client_is_gone(postings: Sequence[Posting]) -> list[Receipt]:
        begun.set()
        await gone.wait()
        receipts = await post(postings)
        booked.set()
        return receipts

    monkeypatch.setattr(context.actor, "post", post_once_the_client_is_gone)
    body = json.dumps({"userId": str(fan.user_id), "tokens": 7, "reason": "gone"})
    head = f"Host: a\r\nAuthorization: Bearer {operator.token}\r\nContent-Length: {len(body)}\r\n\r\n"
    with trio.fail_after(PATIENCE_SECONDS):
        async with await trio.open_tcp_stream("127.0.0.1", context.http_port) as stream:
            await stream.send_all(f"POST /api/admin/credits HTTP/1.1\r\n{head}{body}".encode())
            await begun.wait()
        await fan.get("/wallet")  # by now the server has seen the other connection close
        gone.set()
        await booked.wait()
    assert (await fan.get("/wallet")).json()["balance"] == 7


async def test_a_request_under_way_when_the_server_closes_is_answered(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = trio.Event()
    statuses: list[int] = []

    async def ask(context: Context, client: AsyncClient) -> None:
        fan = Caller(client, await add_fan(context, 3))
        statuses.append((await fan.get("/wallet")).status_code)

    async with AsyncClient(timeout=PATIENCE_SECONDS) as client, trio.open_nursery() as nursery:
        async with running_server(dsn) as context:
            client.base_url = URL(f"http://127.0.0.1:{context.http_port}")

            async def find_once_the_server_closes(postgres: Postgres, *who: Any) -> Account | None:
                begun.set()
                await context.http_closing.wait()
                return await find_account(postgres, *who)

            monkeypatch.setattr(wallet, "find_account", find_once_the_server_closes)
            nursery.start_soon(ask, context, client)
            await begun.wait()
    assert statuses == [200]


@pytest.mark.parametrize("path", [b"GET /api/me", b"POST /api/calls/init", b"POST /nowhere"])
async def test_an_answer_waits_for_the_body_that_it_does_not_need(context: Context, path: bytes) -> None:
    """Otherwise the connection would be closed behind the answer, and a client's next request would fail."""
    client = await trio.open_tcp_stream("127.0.0.1", context.http_port)
    async with client:
        for _ in range(2):
            await client.send_all(path + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
            await trio.testing.wait_all_tasks_blocked(0.02)  # so that the head is read alone
            await client.send_all(b"{}")
            answer = await client.receive_some()
            assert answer.startswith(b"HTTP/1.1 40") and b"onnection: close" not in answer


async def test_an_answer_to_a_body_that_is_too_large_says_that_the_connection_ends(context: Context) -> None:
    head = b"POST /api/calls/init HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n"
    answer = await exchange(context, head)
    assert answer.startswith(b"HTTP/1.1 413") and b"connection: close\r\n" in answer.lower()


async def test_a_read_whose_client_hangs_up_ends_at_once(context: Context, users: Users, dsn: str) -> None:
    fan = await users.fan(0)
    request = f"GET /api/wallet HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {fan.token}\r\n\r\n"
    async with open_postgres(dsn, pool_size=1) as other:
        holder = await other.connect()
        await holder.fetchrow("BEGIN")
        await holder.fetchrow("LOCK TABLE wallets IN ACCESS EXCLUSIVE MODE")
        client = await trio.open_tcp_stream("127.0.0.1", context.http_port)
        await client.send_all(request.encode())
        await eventually(lambda: not context.postgres.idle)
        await client.aclose()
        with trio.fail_after(4):  # sooner than the lock's own limit of five seconds
            await eventually(lambda: context.postgres.idle)
        holder.terminate()


async def test_an_idle_connection_does_not_delay_the_drain(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "GRACE_SECONDS", PATIENCE_SECONDS)
    async with await _asked_once(dsn) as idle:
        assert b"".join([chunk async for chunk in idle]).endswith(b'{"status":"ok"}')


async def _asked_once(dsn: str) -> trio.SocketStream:
    """Send one request over a connection to a server that closes, and check that it did not take the whole grace."""
    async with running_server(dsn) as context:
        idle = await trio.open_tcp_stream("127.0.0.1", context.http_port)
        await idle.send_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await idle.receive_some(15)).startswith(b"HTTP/1.1 200")
        asked_at = trio.current_time()
    assert trio.current_time() - asked_at < PATIENCE_SECONDS / 2
    return idle


async def test_an_idle_connection_is_closed_after_a_while(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "KEEP_ALIVE_SECONDS", 0.2)
    async with running_server(dsn) as context:
        with trio.fail_after(PATIENCE_SECONDS):
            # Without `Connection: close`: `exchange` returns because the server has waited long enough.
            answer = await exchange(context, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200")
            assert await exchange(context, b"") == b""
