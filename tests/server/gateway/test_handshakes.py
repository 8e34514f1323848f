"""The responses of the websocket port to requests that are no handshake, or a hostile one (contract.md, Messages)."""

import socket

import msgspec
import pytest
import trio.testing
from structlog.testing import capture_logs

from server.broadcast.send_queue import SendQueue
from server.context import Context
from tests.support.clients import PATIENCE_SECONDS
from tests.support.logged import complaints
from tests.support.servers import running_server, with_section

UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
HOSTILE = {
    "host-bytes": b"GET /ws HTTP/1.1\r\nHost: \xff\r\n" + UPGRADE + KEY + b"\r\n",
    "no-host": b"GET /ws HTTP/1.1\r\n" + UPGRADE + KEY + b"\r\n",
    "no-key": b"GET /ws HTTP/1.1\r\nHost: x\r\n" + UPGRADE + b"\r\n",
    "no-connection": b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    + KEY
    + b"\r\n",
    "connection-bytes": b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: \xff\r\n" + UPGRADE + KEY + b"\r\n",
    "protocol-bytes": b"GET /ws HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Protocol: \xe9\r\n" + UPGRADE + KEY + b"\r\n",
    "target-bytes": b"GET /ws\xff HTTP/1.1\r\nHost: x\r\n" + UPGRADE + KEY + b"\r\n",
    "post": b"POST /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n" + UPGRADE + KEY + b"\r\n",
    "header-name": b"GET /ws HTTP/1.1\r\nHost: x\r\nbad name: 1\r\n" + UPGRADE + KEY + b"\r\n",
    "header-bytes": b"GET /ws HTTP/1.1\r\nHost: x\r\nX: \x00\r\n" + UPGRADE + KEY + b"\r\n",
    "other-path": b"GET /other HTTP/1.1\r\nHost: x\r\n" + UPGRADE + KEY + b"\r\n",
    "h2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "blank-lines": b"\r\n\r\n\r\n",
    "no-http": b"EHLO mail.example\r\n\r\n",
}
PLAIN = {
    "get": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "get-ws": b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n",
    "get-1.0": b"GET / HTTP/1.0\r\n\r\n",
    "get-lf": b"GET / HTTP/1.1\nHost: x\n\n",
    "head": b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
    "post": b"POST /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    "post-health": b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "host-bytes": b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n",
    "h2c": b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
    "version": b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 8\r\n" + KEY + b"\r\n",
}


def exchange(port: int, *parts: bytes) -> bytes:
    """Return all that is answered until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as sock:
        for part in parts:
            sock.sendall(part)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while data := sock.recv(65_536):
            answer += data
    return answer


async def answer_of(context: Context, *parts: bytes) -> tuple[str, dict[str, str], bytes]:
    """Return status line, headers and body, and check that nothing above level info is logged meanwhile."""
    with capture_logs() as lines:
        answer = await trio.to_thread.run_sync(exchange, context.websocket_port, *parts)
    assert complaints(lines) == []
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *headers = head.decode().split("\r\n")
    return status, {name.lower(): value for name, value in (line.split(": ", 1) for line in headers)}, body


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_websocket_port_has_a_health_path(context: Context, method: str) -> None:
    status, headers, body = await answer_of(context, f"{method} /healthz?probe=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert (status, headers["connection"]) == ("HTTP/1.1 200 OK", "close")
    assert body == (b"" if method == "HEAD" else b"ok\n")


async def test_a_request_without_upgrade_is_answered_with_one_line_that_asks_for_it(context: Context) -> None:
    for name, request in PLAIN.items():
        status, headers, body = await answer_of(context, request)
        assert status == "HTTP/1.1 426 Upgrade Required", name
        assert (headers["upgrade"], headers["sec-websocket-version"]) == ("websocket", "13"), name
        assert "upgrade" in headers["connection"].lower(), name
        assert body == b"" if name == "head" else body.count(b"\n") == 1, name


async def test_a_hostile_handshake_is_answered_400_and_logged_nowhere(context: Context) -> None:
    for name, request in HOSTILE.items():
        status, _, _ = await answer_of(context, request)
        assert status.startswith("HTTP/1.1 400 "), (name, status)


UNWANTED = {
    "other-path": b"GET /other HTTP/1.1\r\nHost: x\r\n" + UPGRADE + KEY + b"\r\n",
    "token": b"GET /ws?token=x HTTP/1.1\r\nHost: x\r\n" + UPGRADE + KEY + b"\r\n",
    "subprotocol": b"GET /ws HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Protocol: other\r\n" + UPGRADE + KEY + b"\r\n",
    "too-many": b"GET /ws HTTP/1.1\r\nHost: x\r\n" + UPGRADE + KEY + b"\r\n",
}


async def test_a_handshake_that_is_refused_is_closed_at_once(dsn: str) -> None:
    """Otherwise each would hold a connection of its address until the handshake's deadline."""
    patient = with_section("websocket", listen="127.0.0.1:0", handshake_seconds=600)
    limits = msgspec.structs.replace(patient.limits, handshakes_per_second=0.01, handshakes_burst=3)
    async with running_server(dsn, msgspec.structs.replace(patient, limits=limits)) as context:
        for name, request in UNWANTED.items():
            status, _, _ = await answer_of(context, request)  # returns once the server has closed
            assert status.startswith("HTTP/1.1 429" if name == "too-many" else "HTTP/1.1 400"), name


@pytest.mark.parametrize("name", ["101", "400"])
async def test_a_peer_that_disconnects_while_it_is_answered_causes_no_traceback(
    context: Context, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Such a peer has sent other frames behind its handshake, which are read while the answer is sent."""
    answered = trio.Event()

    async def break_off(send_queue: SendQueue, data: bytes) -> None:
        answered.set()
        raise trio.BrokenResourceError

    monkeypatch.setattr(SendQueue, "send_all", break_off)
    request = UNWANTED["other-path" if name == "400" else "too-many"]
    with capture_logs() as lines:
        assert await trio.to_thread.run_sync(exchange, context.websocket_port, request) == b""
        assert answered.is_set()
        await trio.testing.wait_all_tasks_blocked()  # a fault is logged only after the socket is closed
    assert complaints(lines) == []


async def test_headers_that_do_not_end_are_refused(context: Context) -> None:
    filler = b"".join(b"X-%d: %b\r\n" % (number, b"y" * 100) for number in range(400))
    for rest in (b"", UPGRADE + KEY):
        status, _, _ = await answer_of(context, b"GET /ws HTTP/1.1\r\nHost: x\r\n" + rest, filler)
        assert status.startswith("HTTP/1.1 431 ")


@pytest.mark.parametrize("part", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\x16\x03\x01\x02\x00\x01"])
async def test_half_a_request_is_waited_for_only_until_the_deadline(dsn: str, part: bytes) -> None:
    def story(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as sock:
            sock.sendall(part)
            return sock.recv(100)

    async with running_server(dsn, with_section("websocket", listen="127.0.0.1:0", handshake_seconds=0.2)) as context:
        assert await trio.to_thread.run_sync(story, context.websocket_port) == b""


async def test_a_handshake_may_come_in_pieces(context: Context) -> None:
    request = b"GET /ws HTTP/1.1\r\nHost: x\r\n" + UPGRADE + KEY + b"\r\n"

    def story() -> bytes:
        with socket.create_connection(("127.0.0.1", context.websocket_port), timeout=PATIENCE_SECONDS) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in request:
                sock.sendall(bytes((byte,)))
            return sock.recv(100)

    assert (await trio.to_thread.run_sync(story)).startswith(b"HTTP/1.1 101 ")
