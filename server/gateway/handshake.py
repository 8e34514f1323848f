"""The opening handshake of a websocket (RFC 6455 §4), and answers to requests that ask for no websocket."""

import contextlib
import re
import socket
from typing import NamedTuple
from urllib.parse import parse_qsl

import trio
from wsproto import ConnectionType
from wsproto.events import AcceptConnection, RejectConnection, RejectData, Request
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError

from server.access.rate_limits import RateLimitsUnavailable
from server.addresses import client_address, is_within, limited_as
from server.broadcast.codec import Encoding
from server.broadcast.send_queue import SendQueue
from server.context import Context

PATH = "/ws"
HEAD_BYTES_MAX = 16_384  # of request line and headers; a token has a few thousand bytes at most
HEALTH_PATH = b"/healthz"


class Offer(NamedTuple):
    """The choices of the client in a handshake that was accepted.

    `subprotocol` is None if the client named none; it then gets JSON. `authorization` is the header's value.
    `exempt` states that the client's network is exempt from rate limits.
    """

    encoding: Encoding
    subprotocol: str | None
    authorization: str | None
    exempt: bool


async def shake_hands(context: Context, sock: socket.socket, send_queue: SendQueue) -> Offer | None:
    """Read the request and accept it, or answer it with the reason for a refusal.

    Returns None if the request was refused, took longer than `handshake_seconds`, or the peer hung up. Bytes that the
    client sent behind its request are discarded with it; it has to wait for the answer (RFC 6455 §4.1).
    """
    with trio.move_on_after(context.settings.websocket.handshake_seconds):
        with contextlib.suppress(trio.BrokenResourceError):  # the peer hung up before it was answered
            return await _answer_request(context, sock, send_queue)
    return None


async def _answer_request(context: Context, sock: socket.socket, send_queue: SendQueue) -> Offer | None:
    """Do one handshake, without a deadline. Raises BrokenResourceError if the connection broke before the answer."""
    head = await read_head(send_queue)
    if head is None:
        return None
    answer = answer_without_websocket(head)
    if answer is not None:
        send_queue.push(answer)
        return None
    handshake = H11Handshake(ConnectionType.SERVER)
    request = _request_of(handshake, head)
    if request is None:
        send_queue.push(http_answer(b"400 Bad Request", b"This is no websocket handshake (RFC 6455, section 4.2.1)"))
        return None
    exempt, wait_seconds = await _limit_handshakes(context, sock, request)
    if wait_seconds:
        retry_after = RejectConnection(status_code=429, headers=[(b"Retry-After", b"%d" % wait_seconds)])
        await send_queue.send_all(handshake.send(retry_after))
        return None
    offer = _offer_of(request, exempt)
    if isinstance(offer, str):
        await send_queue.send_all(_rejection(handshake, offer.encode()))
        return None
    await send_queue.send_all(handshake.send(AcceptConnection(subprotocol=offer.subprotocol)))
    return offer


def _request_of(handshake: H11Handshake, head: bytes) -> Request | None:
    """Parse a request; None if it is no sound handshake."""
    try:
        handshake.receive_data(head)
    except (RemoteProtocolError, UnicodeError):  # UnicodeError: a header that cannot be decoded
        return None
    request = next(handshake.events(), None)
    return request if isinstance(request, Request) else None


def _rejection(handshake: H11Handshake, reason: bytes) -> bytes:
    """The answer 400 with one sentence as its body."""
    length = (b"Content-length", b"%d" % len(reason))
    head = handshake.send(RejectConnection(status_code=400, headers=[length], has_body=True))
    return head + handshake.send(RejectData(data=reason))


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


async def _limit_handshakes(context: Context, sock: socket.socket, request: Request) -> tuple[bool, int]:
    """Count a handshake of the client's address: whether the address is exempt, and the seconds to wait, or 0."""
    proxies = context.settings.server.proxies
    forwarded = [value.decode("latin-1") for name, value in request.extra_headers if name == proxies.header.encode()]
    try:
        address = client_address(str(sock.getpeername()[0]), forwarded, proxies)
        if is_within(address, context.settings.limits.exempt):
            return True, 0
        taken = await context.rate_limits.take("handshake", limited_as(address))
    except (OSError, RateLimitsUnavailable):  # a handshake that cannot be counted is refused
        return False, 1
    return False, 0 if taken.allowed else taken.more_after_seconds


def _offer_of(request: Request, exempt: bool) -> Offer | str:
    """Read the handshake: the offer, or one sentence that says why it is refused."""
    path, _, query = request.target.partition("?")
    if path != PATH:
        return f"The websocket is at {PATH}"
    if any("token" in name.lower() or name.lower() == "authorization" for name, _ in parse_qsl(query)):
        return "A token in the address ends up in logs; send it in session:open or in Authorization"
    authorization = dict(request.extra_headers).get(b"authorization")
    token = None if authorization is None else authorization.decode("latin-1")
    if not request.subprotocols:
        return Offer(Encoding.JSON, None, token, exempt)
    for name in request.subprotocols:
        if name in _ENCODINGS:
            return Offer(_ENCODINGS[name], name, token, exempt)
    return f"Subprotocol needed: {' or '.join(_ENCODINGS)}"


_ENCODINGS = {encoding.value: encoding for encoding in Encoding}
_HEAD_END = re.compile(rb"\n\r?\n")
_REQUEST_LINE = re.compile(rb"([A-Za-z]{1,20}) (\S{1,8192}) HTTP/1\.[01]\r?\n")
_UPGRADE = re.compile(rb"\nupgrade:[ \t]*websocket[ \t]*\r?\n", re.IGNORECASE)
_VERSION = re.compile(rb"\nsec-websocket-version:[ \t]*([^\r\n]*?)[ \t]*\r?\n", re.IGNORECASE)
