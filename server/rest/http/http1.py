"""HTTP/1.1 on one connection, without HTTP/2 and upgrades, and with bounds on the cost of a request.

Only this module depends on what hypercorn does not promise. It was read in hypercorn 0.18.0; `tests/libraries/` checks
each point:

- `H11Protocol.handle` gives received bytes to its h11 connection and then handles the connection's events. `Http1` does
  both itself, since the library's handling switches to HTTP/2 and to websockets.
- `H11Protocol._maybe_recycle` starts the next cycle, or closes, after a response.
- `HTTPStream.handle` starts the app for a Request, and passes the body to it with `app_put`. For StreamClosed it only
  sets `closed`, writes an access log, which is off, and tells the app, for which it may wait.
- The task of the app calls `HTTPStream.app_send` with None at its end, which sends a response only if there was none.
- `HTTPStream` starts its `app` with five arguments: the three of ASGI, and two that are for WSGI.
- `HTTPStream.app_put` is the bound `send` of a trio memory channel, as `TaskGroup.spawn_app` returns it.
"""

from typing import Any

import h11
import msgspec
import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, EndBody, Request, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.typing import AppWrapper, H11SendableEvent
from hypercorn.utils import suppress_body

Headers = list[tuple[bytes, bytes]]

HEADERS_MAX = 100  # of a request; browsers behind proxies send about 30
BODY_PARTS_MAX = 1_024  # chunks of any size that a body may have …
PART_BYTES_MIN = 64  # … and more if they average this size: each costs about 50 us
FRAMING_BYTES_MAX = 131_072  # of a body beyond its content: chunk headers with extensions, and trailers

TITLES = {
    400: "The request is malformed, or asks for another protocol than HTTP/1.1",
    403: "This port has no websockets; GET /api/config names the address that has",
    431: "The headers have too many bytes, or there are too many of them",
    505: "This port speaks HTTP/1.1 alone",
}


class Http1(H11Protocol):
    """Hypercorn's HTTP/1.1 without its switches to HTTP/2 and websockets; refuses hostile requests and closes."""

    _received = 0  # bytes since the headers of the present request
    _parts = 0  # of its body
    _part_bytes = 0

    @property
    def has_begun_next(self) -> bool:
        """Return whether bytes after the last answered request have arrived."""
        return bool(self.connection.trailing_data[0])

    async def handle(self, event: Event) -> None:
        """Process received bytes or the end of the connection.

        Suspends while an earlier request of the connection is answered. A malformed request is answered with a problem
        document, unless its response has begun, and the connection is closed.
        """
        if isinstance(event, RawData):
            self._received += len(event.data)
            self.connection.receive_data(event.data)
            await self._handle_received()
        else:
            await super().handle(event)

    async def _handle_received(self) -> None:
        """Handle the events of the received bytes; answer a violation of HTTP, and close."""
        try:
            await self._handle_each()
        except h11.RemoteProtocolError as error:
            if self.connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await self._send_problem(error.error_status_hint)
            await self.send(Closed())

    async def _handle_each(self) -> None:
        while True:
            if self.connection.they_are_waiting_for_100_continue:
                await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))
            event = self.connection.next_event()
            if isinstance(event, h11.Request):
                await self._begin(event)
            elif event is h11.PAUSED:
                await self.can_read.clear()
                await self.can_read.wait()
            elif isinstance(event, h11.ConnectionClosed) or event is h11.NEED_DATA or self.stream is None:
                return
            elif isinstance(event, h11.Data):
                self._bound(len(event.data))
                await self.stream.handle(Body(stream_id=STREAM_ID, data=event.data))
            elif isinstance(event, h11.EndOfMessage):
                await self.stream.handle(EndBody(stream_id=STREAM_ID))

    async def _begin(self, request: h11.Request) -> None:
        """Start the app for a request. Raises RemoteProtocolError for a request that is refused here."""
        refuse_other_protocols(request)
        self._received, self._parts, self._part_bytes = 0, 0, 0
        await self.send(Updated(idle=False))
        self.stream = _Stream(
            self.app,
            self,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1

    def _bound(self, part_bytes: int) -> None:
        """Raises RemoteProtocolError for a body in too many small chunks, which cost more to parse than they carry."""
        self._parts += 1
        self._part_bytes += part_bytes
        too_small = self._parts > max(BODY_PARTS_MAX, self._part_bytes / PART_BYTES_MIN)
        if too_small or self._received > 2 * self._part_bytes + FRAMING_BYTES_MAX:
            raise h11.RemoteProtocolError("too much framing")

    async def _send_problem(self, status_code: int) -> None:
        """Send a problem document as the last response of the connection."""
        detail = TITLES.get(status_code, TITLES[400])
        code = {403: "FORBIDDEN"}.get(status_code, "VALIDATION_FAILED")
        fields = {"type": "about:blank", "title": "Refused", "status": status_code, "detail": detail}
        body = msgspec.json.encode({**fields, "error": code, "message": detail})
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"connection", b"close"),
        ]
        await self._send_whole(status_code, headers, body)

    async def respond(self, status_code: int, headers: Headers, body: bytes) -> None:
        """Send the response to the present request, and begin to read the next one or close the connection.

        `body` is empty where the response has none.
        """
        added = self.config.response_headers("h11")
        if self.keep_alive_requests >= self.config.keep_alive_max_requests:
            added.append((b"connection", b"close"))
        await self._send_whole(status_code, [*headers, *added], body)
        await self._maybe_recycle()

    async def _send_whole(self, status_code: int, headers: Headers, body: bytes) -> None:
        """Send a response by one call of the system.

        After an error of the peer, h11 allows only some parts, and others are dropped.
        """
        parts: list[H11SendableEvent] = [h11.Response(status_code=status_code, headers=headers), h11.EndOfMessage()]
        if body:
            parts.insert(1, h11.Data(data=body))
        sent = b""
        for part in parts:
            try:
                sent += self.connection.send(part) or b""
            except h11.LocalProtocolError:
                if self.connection.their_state != h11.ERROR:
                    raise
        await self.send(RawData(data=sent))


def refuse_other_protocols(request: h11.Request) -> None:
    """Raises RemoteProtocolError, with the status to answer, for HTTP/2, an upgrade and too many headers."""
    if request.http_version not in (b"1.1", b"1.0"):
        raise h11.RemoteProtocolError("another version", error_status_hint=505)
    headers = list(request.headers)
    if len(headers) > HEADERS_MAX:
        raise h11.RemoteProtocolError("too many headers", error_status_hint=431)
    for name, value in headers:
        if name == b"http2-settings":
            raise h11.RemoteProtocolError("HTTP/2")
        if name == b"upgrade":
            protocols = value.lower()
            if b"h2c" in protocols or b"http/2" in protocols:
                raise h11.RemoteProtocolError("HTTP/2")
            if b"websocket" in protocols:
                raise h11.RemoteProtocolError("a websocket", error_status_hint=403)


class _Stream(HTTPStream):
    """Hypercorn's request and answer; the end of its connection cancels the app, which may wait for anything."""

    def __init__(self, app: AppWrapper, protocol: Http1, *arguments: Any) -> None:
        super().__init__(self._serve, *arguments)  # type: ignore[arg-type]  # reason: it takes any number
        self._app = app
        self._protocol = protocol
        self._serving = trio.CancelScope()
        self._forwarding: trio.CancelScope | None = None  # around a wait for room in the bounded queue of the app

    async def app_send(self, message: Any) -> None:
        """Send a response once its body is there; the library sends it in parts, and validates them twice.

        A streamed response is sent by the library, which closes the connection if the app ends before the body does.
        """
        if message is None:
            await super().app_send(None)
        elif message["type"] == "http.response.start":
            self.response = message
        elif self.closed:
            pass
        elif message["more_body"] or self.state is ASGIHTTPState.RESPONSE:
            if self.state is ASGIHTTPState.REQUEST:
                await super().app_send(self.response)
            await super().app_send(message)
        else:
            self.state = ASGIHTTPState.CLOSED
            has_body = not suppress_body(self.scope["method"], self.response["status"])
            body = message["body"] if has_body else b""
            await self._protocol.respond(self.response["status"], list(self.response["headers"]), body)

    async def _serve(self, scope: Any, receive: Any, send: Any, *for_wsgi: Any) -> None:
        with self._serving:
            await self._app(scope, receive, send, *for_wsgi)

    async def handle(self, event: StreamEvent) -> None:
        """Start the app for a request, pass it the body and the end of the connection. StreamClosed never waits."""
        if isinstance(event, StreamClosed) and not self.closed:
            self.closed = True
            if self._forwarding is not None:
                self._forwarding.cancel()
            if self.state is not ASGIHTTPState.CLOSED:
                self._serving.cancel()
        elif isinstance(event, EndBody):
            await self._forward({"type": "http.request", "body": b"", "more_body": False})
        elif isinstance(event, Body):
            await self._forward({"type": "http.request", "body": bytes(event.data), "more_body": True})
        else:
            await super().handle(event)

    async def _forward(self, message: Any) -> None:
        """Put a part of the body into the queue of the app. Waits only if the queue is full."""
        if self.closed:
            return
        channel: trio.MemorySendChannel[Any] = self.app_put.__self__  # type: ignore[attr-defined]  # reason: its bound `send`
        try:
            channel.send_nowait(message)
        except trio.WouldBlock:
            with trio.CancelScope() as self._forwarding:
                await channel.send(message)
