"""One websocket connection, from its handshake to its close. Only this module imports trio-websocket.

`serve_connection` owns the socket. It answers the handshake, has ClientProtocol open or resume a session with the first
message, and passes it every later message until either side closes.
"""

import contextlib
import socket
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import trio
from structlog.contextvars import bind_contextvars
from trio_websocket import CloseReason, ConnectionClosed, WebSocketConnection, WebSocketRequest
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.utilities import RemoteProtocolError

from domain.protocol.commands import MAX_TOKEN
from domain.throttle import Throttle
from server.access.rate_limits import RateLimitsUnavailable
from server.addresses import client_address, is_within, limited_as
from server.broadcast.codec import Encoding
from server.broadcast.send_queue import SendQueue
from server.close_codes import CloseCode, CloseConnection
from server.config.settings import WebsocketSettings
from server.context import Context
from server.gateway.connection_limits import Admission
from server.gateway.handshake import answer_without_websocket, http_answer, read_head
from server.gateway.protocol import MAX_BEHIND_SECONDS, ClientProtocol
from server.ids import new_uuid
from server.observability.faults import Faults

PATH = "/ws"
FRAGMENT_BYTES_MIN = 64  # on average over a message; smaller fragments take more time than their content is worth
QUEUED_MESSAGES = 64  # read and not handled yet; clients send fewer while the database answers one command
USUAL_ENDS = (ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel)
RESUME_POINT_BYTES = 128  # of each room in session:open; a channel name has at most 64 characters
OPEN_BYTES = MAX_TOKEN + 1_024  # of session:open without its rooms


class _Offer(NamedTuple):
    """The request of a client in its handshake.

    `subprotocol` is None if the client named none; it then gets JSON. `authorization` is the header's value.
    `exempt` states that the client's network is exempt from rate limits.
    """

    encoding: Encoding
    subprotocol: str | None
    authorization: str | None
    exempt: bool


async def serve_connection(context: Context, sock: socket.socket, admission: Admission) -> None:
    """Serve one accepted socket until it is closed. An exception is a bug: the listener contains and counts it.

    The socket is closed on every way out, cancellation included, after at most `close_seconds`.
    """
    settings = context.settings.websocket
    bind_contextvars(connection=str(new_uuid()))  # in every log line that this connection causes
    async with trio.open_nursery() as nursery:
        send_queue = SendQueue(sock, nursery, limit=settings.outbox_bytes, close_seconds=settings.close_seconds)
        try:
            accepted = await _shake_hands(context, sock, send_queue, nursery)
            if accepted is not None:
                websocket, offer = accepted
                context.metrics.connection_closed(await _run_protocol(context, send_queue, websocket, offer, admission))
        finally:
            with trio.CancelScope(shield=True):  # bounded by close_seconds, in aclose itself
                await send_queue.aclose()
            nursery.cancel_scope.cancel()


async def _run_protocol(
    context: Context, send_queue: SendQueue, websocket: "_Connection", offer: _Offer, admission: Admission
) -> int | None:
    """Open or resume the session and handle messages until either side closes; returns the close code, if any."""
    protocol = ClientProtocol(context, send_queue, offer.encoding, limited=not offer.exempt)
    try:
        if offer.authorization is None:
            await protocol.open_by_message(await _first_message(context, websocket))
        else:
            await protocol.open_by_header(offer.authorization)
    except ConnectionClosed as closed:
        return _code_of(closed)
    except CloseConnection as close:
        await _send_close(close, send_queue)
        return close.code
    admission.authenticated()
    websocket.admit_messages()
    code = None
    try:
        await protocol.send_missed_events()
        while True:
            await protocol.handle_message(await websocket.get_message())
    except ConnectionClosed as closed:
        code = _code_of(closed)
    except CloseConnection as close:
        code = close.code
        await _send_close(close, send_queue)
    finally:
        protocol.end(code)
    return code


def _code_of(closed: ConnectionClosed) -> int | None:
    return None if closed.reason is None else closed.reason.code


async def _first_message(context: Context, websocket: WebSocketConnection) -> str | bytes:
    """Wait `open_seconds` for the first message, and longer after a stall. Raises CloseConnection(OPEN_TIMEOUT)."""
    while True:
        began = trio.current_time()
        with trio.move_on_after(context.settings.websocket.open_seconds):
            message: str | bytes = await websocket.get_message()
            return message
        if not context.clock.stalls.stalled_since(began):  # after a stall, the message may have arrived already
            raise CloseConnection(CloseCode.OPEN_TIMEOUT, "no session:open in time")


async def _send_close(close: CloseConnection, send_queue: SendQueue) -> None:
    send_queue.close(close.code, close.reason)
    await send_queue.closed.wait()


async def _shake_hands(
    context: Context, sock: socket.socket, send_queue: SendQueue, nursery: trio.Nursery
) -> tuple["_Connection", _Offer] | None:
    """Do the opening handshake; None if it was refused, took longer than `handshake_seconds`, or the peer hung up."""
    with trio.move_on_after(context.settings.websocket.handshake_seconds):
        async with trio.open_nursery() as watch:
            watch.start_soon(_cancel_when_closed, send_queue, watch.cancel_scope)  # the library would wait for ever
            shaken = None
            with contextlib.suppress(ConnectionClosed):  # the peer hung up, or sent frames before the answer
                shaken = await _answer_request(context, sock, send_queue, nursery)
            watch.cancel_scope.cancel()  # also after a refusal
            return shaken
    return None


async def _answer_request(
    context: Context, sock: socket.socket, send_queue: SendQueue, nursery: trio.Nursery
) -> tuple["_Connection", _Offer] | None:
    """Read the request and accept it, or answer it with the reason for a refusal."""
    connection = await _connection_of_request(send_queue, context.settings.websocket, context.faults)
    if connection is None:
        return None
    nursery.start_soon(connection.read)
    request = await connection._get_request()
    exempt, wait_seconds = await _limit_handshakes(context, sock, request)
    if wait_seconds:
        await request.reject(429, extra_headers=[(b"Retry-After", str(wait_seconds).encode())])
        return None
    offer = _offer_of(request, exempt)
    if isinstance(offer, str):
        await request.reject(400, body=offer.encode())
        return None
    await request.accept(subprotocol=offer.subprotocol)
    _forget_handshake(connection)
    return connection, offer


async def _connection_of_request(
    send_queue: SendQueue, settings: WebsocketSettings, faults: Faults
) -> "_Connection | None":
    """The websocket for the first request; None if it is no sound websocket request, which is answered here."""
    head = await read_head(send_queue)
    if head is None:
        return None
    answer = answer_without_websocket(head)
    if answer is None:
        connection = _Connection(send_queue, settings, faults)
        try:
            connection.take(head)
        except (RemoteProtocolError, UnicodeError):  # UnicodeError: a header that cannot be decoded
            answer = http_answer(b"400 Bad Request", b"This is no websocket handshake (RFC 6455, section 4.2.1)")
        else:
            return connection
    send_queue.push(answer)
    return None


def first_message_bytes(settings: WebsocketSettings) -> int:
    """The largest `session:open`, in bytes. It is limited strictly, as its sender is not authenticated yet."""
    return min(settings.max_frame_bytes, OPEN_BYTES + RESUME_POINT_BYTES * settings.rooms_per_session)


class _Connection(WebSocketConnection):
    """Adds to trio-websocket what it lacks: limits on control frames and fragments, and a Close frame after an error.

    The library limits the size of messages, but not the number of frames; and after a protocol error it drops the
    connection without a close code. Until `admit_messages`, one message of the size of session:open is read, and
    nothing after it.
    """

    def __init__(self, send_queue: SendQueue, settings: WebsocketSettings, faults: Faults) -> None:
        super().__init__(
            send_queue,
            WSConnection(ConnectionType.SERVER),
            message_queue_size=QUEUED_MESSAGES,
            max_message_size=first_message_bytes(settings),
        )
        self._send_queue = send_queue
        self._faults = faults
        self._max_frame_bytes = settings.max_frame_bytes
        self._first_is_read = False
        self._admitted: trio.Event | None = trio.Event()  # None once the user is known
        self._control_frames = Throttle(settings.messages_per_second, settings.messages_burst)
        self._fragments_max = settings.max_frame_bytes // FRAGMENT_BYTES_MIN
        self._fragments = 0  # of the message that is coming in

    def take(self, data: bytes) -> None:
        """Feed in the bytes that were read before `read` starts. Raises RemoteProtocolError, UnicodeError."""
        self._wsproto.receive_data(data)

    def admit_messages(self) -> None:
        """Read further messages, under the usual size limit; called once the user is authenticated."""
        admitted, self._admitted = self._admitted, None
        self._max_message_size = self._max_frame_bytes
        if admitted is not None:
            admitted.set()

    async def read(self) -> None:
        """Read frames until the end of the connection; aborts a connection whose handshake is not complete by then."""
        with self._faults.contained("connection", self._send_queue.abort):
            try:
                await self._reader_task()
            except trio.Cancelled as cancelled:
                # On an exception the library closes its channel, which ends the protocol and cancels this reader; the
                # exception would be lost.
                if isinstance(cancelled.__context__, Exception) and not isinstance(cancelled.__context__, USUAL_ENDS):
                    raise cancelled.__context__ from None
                raise
        if self._wsproto.state is ConnectionState.CONNECTING:
            self._send_queue.abort()

    async def _handle_ping_event(self, event: Any) -> None:
        await self._count_control_frame()
        await super()._handle_ping_event(event)

    async def _handle_pong_event(self, event: Any) -> None:
        await self._count_control_frame()
        await super()._handle_pong_event(event)

    async def _handle_message_event(self, event: Any) -> None:
        self._fragments = 0 if event.message_finished else self._fragments + event.frame_finished
        if self._fragments > self._fragments_max:
            await self._end(CloseCode.TOO_LARGE, "too many fragments")
        if self._admitted is not None:
            if self._first_is_read:
                await self._admitted.wait()
            self._first_is_read = event.message_finished
        await super()._handle_message_event(event)

    async def _handle_close_connection_event(self, event: Any) -> None:
        if self._wsproto.state is ConnectionState.OPEN:  # the parser failed, and the library sends no Close frame
            self._send_queue.close(event.code, event.reason or "")
        await super()._handle_close_connection_event(event)

    async def _count_control_frame(self) -> None:
        if self._control_frames.take(trio.current_time()) > MAX_BEHIND_SECONDS:
            await self._end(CloseCode.TOO_MANY, "too many control frames")

    async def _end(self, code: int, reason: str) -> None:
        """Close the connection as the library does for a message that is too large. Raises ConnectionClosed."""
        self._close_reason = CloseReason(code, reason)
        self._send_queue.close(code, reason)
        await self._recv_channel.aclose()
        raise ConnectionClosed(self._close_reason)


async def _cancel_when_closed(send_queue: SendQueue, scope: trio.CancelScope) -> None:
    await send_queue.closed.wait()
    scope.cancel()


def _forget_handshake(websocket: WebSocketConnection) -> None:
    """Free the HTTP parser and the headers, 3 KB that the library would keep as long as the connection."""
    websocket._wsproto.handshake = _DONE
    websocket._handshake_headers = ()


class _Done:
    """Stands in for a finished handshake: it has no further events."""

    def events(self) -> tuple[()]:
        return ()


_DONE: Any = _Done()


async def _limit_handshakes(context: Context, sock: socket.socket, request: WebSocketRequest) -> tuple[bool, int]:
    """Count a handshake of the client's address: whether the address is exempt, and the seconds to wait, or 0."""
    proxies = context.settings.server.proxies
    forwarded = [value.decode("latin-1") for name, value in request.headers if name == proxies.header.encode()]
    try:
        address = client_address(str(sock.getpeername()[0]), forwarded, proxies)
        if is_within(address, context.settings.limits.exempt):
            return True, 0
        taken = await context.rate_limits.take("handshake", limited_as(address))
    except (OSError, RateLimitsUnavailable):  # a handshake that cannot be counted is refused
        return False, 1
    return False, 0 if taken.allowed else taken.more_after_seconds


def _offer_of(request: WebSocketRequest, exempt: bool) -> _Offer | str:
    """Read the handshake: the offer, or one sentence that says why it is refused."""
    path, _, query = request.path.partition("?")
    if path != PATH:
        return f"The websocket is at {PATH}"
    if any("token" in name.lower() or name.lower() == "authorization" for name, _ in parse_qsl(query)):
        return "A token in the address ends up in logs; send it in session:open or in Authorization"
    authorization = dict(request.headers).get(b"authorization")
    token = None if authorization is None else authorization.decode("latin-1")
    if not request.proposed_subprotocols:
        return _Offer(Encoding.JSON, None, token, exempt)
    for name in request.proposed_subprotocols:
        if name in _ENCODINGS:
            return _Offer(_ENCODINGS[name], name, token, exempt)
    return f"Subprotocol needed: {' or '.join(_ENCODINGS)}"


_ENCODINGS = {encoding.value: encoding for encoding in Encoding}
