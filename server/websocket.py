"""One websocket connection, from its handshake to its close; the only place that knows trio-websocket."""

import socket
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import trio
from structlog.contextvars import bind_contextvars
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, wrap_server_stream

from server.addresses import client_address, is_within, limited_as
from server.conversation import OPEN_TIMEOUT, Conversation, Goodbye
from server.house import House
from server.ids import new_uuid
from server.limits import LimitsAway
from server.outbox import Outbox
from server.wire import Encoding

PATH = "/ws"
QUEUED_MESSAGES = 64  # read but not handled yet; more than a client sends while the database answers one of its own


class _Offer(NamedTuple):
    """What a client asked for in its handshake; `subprotocol` is None where it asked for none and gets JSON."""

    encoding: Encoding
    subprotocol: str | None
    authorization: str | None


async def serve_connection(house: House, sock: socket.socket) -> None:
    """One accepted socket, until it is closed. Only a bug of ours raises."""
    settings = house.settings.websocket
    bind_contextvars(connection=str(new_uuid()))  # in every log line of this connection, and of what it sets off
    async with trio.open_nursery() as nursery:
        outbox = Outbox(sock, nursery, limit=settings.outbox_bytes, close_seconds=settings.close_seconds)
        try:
            accepted = await _shake_hands(house, sock, outbox, nursery)
            if accepted is not None:
                websocket, offer = accepted
                await _converse(house, outbox, websocket, offer)
        finally:
            with trio.CancelScope(shield=True):  # bounded by close_seconds, in aclose itself
                await outbox.aclose()
            nursery.cancel_scope.cancel()


async def _converse(house: House, outbox: Outbox, websocket: WebSocketConnection, offer: _Offer) -> None:
    """Until either side has had enough."""
    conversation = Conversation(house, outbox, offer.encoding)
    try:
        if offer.authorization is None:
            await conversation.open_by_message(await _first_message(house, websocket))
        else:
            await conversation.open_by_header(offer.authorization)
    except ConnectionClosed:
        return
    except Goodbye as goodbye:
        await _say(goodbye, outbox)
        return
    code = None
    try:
        await conversation.tell_missed_news()
        while True:
            await conversation.hear(await websocket.get_message())
    except ConnectionClosed as closed:
        code = None if closed.reason is None else closed.reason.code
    except Goodbye as goodbye:
        code = goodbye.code
        await _say(goodbye, outbox)
    finally:
        conversation.end(code)


async def _first_message(house: House, websocket: WebSocketConnection) -> str | bytes:
    with trio.move_on_after(house.settings.websocket.open_seconds):
        message: str | bytes = await websocket.get_message()
        return message
    raise Goodbye(OPEN_TIMEOUT, "no session:open in time")


async def _say(goodbye: Goodbye, outbox: Outbox) -> None:
    outbox.close(goodbye.code, goodbye.reason)
    await outbox.closed.wait()


async def _shake_hands(
    house: House, sock: socket.socket, outbox: Outbox, nursery: trio.Nursery
) -> tuple[WebSocketConnection, _Offer] | None:
    """The open websocket; None if the client did not get there in time, comes too often or wants what we don't have."""
    settings = house.settings.websocket
    with trio.move_on_after(settings.handshake_seconds):
        async with trio.open_nursery() as watch:
            watch.start_soon(_cancel_when_closed, outbox, watch.cancel_scope)  # or it hangs when the peer vanishes
            request = await wrap_server_stream(
                nursery, outbox, message_queue_size=QUEUED_MESSAGES, max_message_size=settings.max_frame_bytes
            )
            wait_seconds = await _too_soon(house, sock, request)
            if wait_seconds:
                await request.reject(429, extra_headers=[(b"Retry-After", str(wait_seconds).encode())])
                return None
            offer = _offer_of(request)
            if isinstance(offer, str):
                await request.reject(400, body=offer.encode())
                return None
            websocket: WebSocketConnection = await request.accept(subprotocol=offer.subprotocol)
            watch.cancel_scope.cancel()
            _forget_handshake(websocket)
            return websocket, offer
    return None


async def _cancel_when_closed(outbox: Outbox, scope: trio.CancelScope) -> None:
    await outbox.closed.wait()
    scope.cancel()


def _forget_handshake(websocket: WebSocketConnection) -> None:
    """What only a handshake needs, HTTP's parser and all headers, would live as long as the connection: 3 KB of it."""
    websocket._wsproto.handshake = _DONE
    websocket._handshake_headers = ()


class _Done:
    """A handshake that has no more to say."""

    def events(self) -> tuple[()]:
        return ()


_DONE: Any = _Done()


async def _too_soon(house: House, sock: socket.socket, request: WebSocketRequest) -> int:
    """0, or how many seconds the address of this connection should wait before it comes again."""
    proxies = house.settings.server.proxies
    forwarded = [value.decode("latin-1") for name, value in request.headers if name == proxies.header.encode()]
    try:
        address = client_address(str(sock.getpeername()[0]), forwarded, proxies)
        if is_within(address, house.settings.limits.exempt):
            return 0
        taken = await house.limits.take("handshake", limited_as(address))
    except (OSError, LimitsAway):  # whom nobody can count does not get in
        return 1
    return 0 if taken.allowed else taken.more_after_seconds


def _offer_of(request: WebSocketRequest) -> _Offer | str:
    """What is offered, or in one sentence why it will not do."""
    path, _, query = request.path.partition("?")
    if path != PATH:
        return f"The websocket is at {PATH}"
    if any("token" in name.lower() or name.lower() == "authorization" for name, _ in parse_qsl(query)):
        return "A token in the address ends up in logs; send it in session:open or in Authorization"
    authorization = dict(request.headers).get(b"authorization")
    token = None if authorization is None else authorization.decode("latin-1")
    if not request.proposed_subprotocols:
        return _Offer(Encoding.JSON, None, token)
    for name in request.proposed_subprotocols:
        if name in _ENCODINGS:
            return _Offer(_ENCODINGS[name], name, token)
    return f"Subprotocol needed: {' or '.join(_ENCODINGS)}"


_ENCODINGS = {encoding.value: encoding for encoding in Encoding}
