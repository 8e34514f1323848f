"""Connections to the REST port that hold it, flood it, or ask it for another protocol."""

import random
import re
from contextlib import AbstractAsyncContextManager

import msgspec
import pytest
import trio
from httpx import AsyncClient
from structlog.testing import capture_logs

from server.context import Context
from tests.server.gateway.test_handshakes import HOSTILE, KEY, PLAIN, UPGRADE
from tests.server.rest.conftest import Users
from tests.server.rest.raw import exchange
from tests.support.clients import PATIENCE_SECONDS
from tests.support.logged import complaints
from tests.support.servers import running_server, settings

H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
OTHER_PROTOCOLS = {
    "preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", b"505"),
    "preface in parts": (b"PRI * HTTP/2.0\r\n\r\n", b"505"),
    "version 2 of a get": (b"GET /healthz HTTP/2.0\r\nHost: a\r\n\r\n", b"505"),
    "h2c": (b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + H2C, b"400"),
    "h2c options": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n" + H2C, b"400"),
    "h2c with a body": (b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n" + H2C + b"{}", b"400"),
    "h2c among others": (b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: foo, H2C\r\n\r\n", b"400"),
    "settings alone": (b"GET / HTTP/1.1\r\nHost: a\r\nHTTP2-Settings: \r\n\r\n", b"400"),
    "websocket": (b"GET /ws HTTP/1.1\r\nHost: a\r\n" + UPGRADE + KEY + b"\r\n", b"403"),
}
MANY_HEADERS = b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + b"a:\r\n" * 3_000 + b"\r\n"
LONG_HEAD = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 60_000 + b"\r\n\r\n"
MUTATED = 300
QUICK = {"head_seconds": 0.5, "send_seconds": 0.5, "answer_seconds": 0.5}


def quick_server(dsn: str) -> AbstractAsyncContextManager[Context]:
    usual = settings()
    return running_server(dsn, msgspec.structs.replace(usual, http=msgspec.structs.replace(usual.http, **QUICK)))


@pytest.mark.parametrize("name", OTHER_PROTOCOLS)
async def test_another_protocol_is_refused_and_the_connection_closed(context: Context, name: str) -> None:
    request, status = OTHER_PROTOCOLS[name]
    with capture_logs() as lines:
        answer = await exchange(context, request)  # returns once the server has closed
    assert answer.startswith(b"HTTP/1.1 " + status), answer
    assert b"application/problem+json" in answer
    assert len(re.findall(rb"HTTP/1.1 [0-9]", answer)) == 1
    assert complaints(lines) == []


async def test_headers_are_bounded_in_number_and_bytes(context: Context) -> None:
    assert (await exchange(context, MANY_HEADERS)).startswith(b"HTTP/1.1 431")
    assert (await exchange(context, LONG_HEAD))[:12] in (b"HTTP/1.1 431", b"")  # it may be reset while we still send


async def test_no_bytes_cause_a_traceback_or_end_more_than_their_connection(context: Context, web: AsyncClient) -> None:
    chance = random.Random(7)
    valid = b"POST /api/tips/send?a=b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nAuthorization: Bearer x\r\n\r\n{}"
    requests = [*HOSTILE.values(), *PLAIN.values(), *(request for request, _ in OTHER_PROTOCOLS.values())]
    for _ in range(MUTATED):
        mutated = bytearray(chance.choice([valid, *requests]))
        for _ in range(chance.randint(1, 4)):
            mutated[chance.randrange(len(mutated))] = chance.choice([0, 10, 13, 32, 0x7F, 0x80, 0xFF, 58])
        requests.append(bytes(mutated))
    with capture_logs() as lines:
        for request in requests:
            stream = await trio.open_tcp_stream("127.0.0.1", context.http_port)
            async with stream:
                with trio.fail_after(PATIENCE_SECONDS):
                    await stream.send_all(request)
                    await stream.send_eof()
                    try:
                        while await stream.receive_some(65_536):
                            pass
                    except trio.BrokenResourceError:
                        pass
    assert complaints(lines) == []
    assert (await web.get("/healthz")).status_code == 200


@pytest.mark.parametrize("part", [b"", b"GE", b"GET /healthz HTTP/1.1\r\nHost: a\r\n"])
async def test_a_head_that_does_not_arrive_is_not_waited_for(dsn: str, part: bytes) -> None:
    async with quick_server(dsn) as context:
        assert await exchange(context, part) == b""


async def test_a_second_head_has_the_same_deadline_from_its_first_byte(dsn: str) -> None:
    async with quick_server(dsn) as context:
        answer = await exchange(context, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /he")
        assert answer.count(b"HTTP/1.1 200") == 1


async def test_an_answer_that_is_never_read_ends_its_connection(dsn: str) -> None:
    async with quick_server(dsn) as context:
        stream = await trio.open_tcp_stream("127.0.0.1", context.http_port)
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4_096)
        async with stream:
            with trio.fail_after(PATIENCE_SECONDS):
                with pytest.raises(trio.BrokenResourceError):
                    while True:
                        await stream.send_all(b"GET /api/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 20)
                        await trio.sleep(0.01)


async def test_a_body_that_the_handler_does_not_read_does_not_keep_its_connection(dsn: str) -> None:
    chunks = b"".join(b"64\r\n" + b"x" * 100 + b"\r\n" for _ in range(500))
    head = b"GET /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    usual = settings()
    one_place = msgspec.structs.replace(usual, http=msgspec.structs.replace(usual.http, connections=20))
    async with running_server(dsn, one_place) as context:
        for _ in range(3):
            answer = b""
            with trio.fail_after(PATIENCE_SECONDS):
                while not answer:  # refused until the server has noticed that the one before it was closed
                    answer = await exchange(context, head + chunks)
            assert answer.startswith(b"HTTP/1.1 200")


async def test_a_body_in_tiny_chunks_is_refused(context: Context, users: Users) -> None:
    fan = await users.fan(0)
    head = (
        "PUT /api/wallet/limits HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        f"Content-Type: application/json\r\nAuthorization: Bearer {fan.token}\r\n\r\n"
    ).encode()
    for framing in (b"1\r\n{\r\n" * 10_000, (b"1;" + b"x" * 10_000 + b"\r\n{\r\n") * 30):
        answer = await exchange(context, head + framing)
        assert b"the request is malformed, or asks for another protocol" in answer.lower()
    parts = (b'{"dai', b'lySpendLimit":', b"100}", b"")
    whole = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    assert (await exchange(context, head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + whole)).startswith(
        b"HTTP/1.1 200"
    )
