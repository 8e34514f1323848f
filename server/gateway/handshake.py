"""Reads the first request on the websocket port, and answers it if it does not ask for a websocket."""

import re

import trio

from server.broadcast.send_queue import SendQueue

HEAD_BYTES_MAX = 16_384  # of request line and headers; a token has a few thousand bytes at most
HEALTH_PATH = b"/healthz"


async def read_head(send_queue: SendQueue) -> bytes | None:
    """Read the request line and the headers, and possibly bytes behind them; None if the peer hung up before.

    A head longer than HEAD_BYTES_MAX is returned incomplete. The caller sets the deadline.
    """
    head = b""
    while len(head) <= HEAD_BYTES_MAX and not _HEAD_END.search(head):
        try:
            data = await send_queue.receive_some()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return None
        if not data:
            return None
        head += data
    return head


def answer_without_websocket(head: bytes) -> bytes | None:
    """The HTTP answer to a request that asks for no websocket; None for one that does, even if it is malformed."""
    found = _REQUEST_LINE.match(head)
    if found is None:
        return http_answer(b"400 Bad Request", b"This port speaks HTTP/1.1, and only to open a websocket")
    if _HEAD_END.search(head) is None:
        return http_answer(b"431 Request Header Fields Too Large", b"The headers are too large")
    method, path = found[1], found[2].partition(b"?")[0]
    if _UPGRADE.search(head) is None:
        if path == HEALTH_PATH and method in (b"GET", b"HEAD"):
            return http_answer(b"200 OK", b"ok", method=method)
        return _upgrade_required(method)
    version = _VERSION.search(head)
    return None if version is None or version[1] == b"13" else _upgrade_required(method)


def http_answer(status: bytes, line: bytes, extra: bytes = b"", *, method: bytes = b"GET") -> bytes:
    """A response with one line of text, after which the connection is closed; a HEAD request gets no text."""
    body = line + b"\n"
    connection = b"" if b"\r\nConnection:" in b"\r\n" + extra else b"Connection: close\r\n"
    head = b"HTTP/1.1 %b\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n" % (status, len(body))
    return head + connection + extra + b"\r\n" + (b"" if method == b"HEAD" else body)


def _upgrade_required(method: bytes) -> bytes:
    """426 (RFC 9110 §15.5.22), with the version header that RFC 6455 §4.4 requires."""
    headers = b"Upgrade: websocket\r\nConnection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\n"
    return http_answer(b"426 Upgrade Required", b"This port is for websockets, at /ws", headers, method=method)


_HEAD_END = re.compile(rb"\n\r?\n")
_REQUEST_LINE = re.compile(rb"([A-Za-z]{1,20}) (\S{1,8192}) HTTP/1\.[01]\r?\n")
_UPGRADE = re.compile(rb"\nupgrade:[ \t]*websocket[ \t]*\r?\n", re.IGNORECASE)
_VERSION = re.compile(rb"\nsec-websocket-version:[ \t]*([^\r\n]*?)[ \t]*\r?\n", re.IGNORECASE)
