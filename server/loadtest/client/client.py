"""A websocket client on trio: one session, which survives lost connections.

The load run and the tests use it. It follows the served documents and none of the server's code but the encodings, so
that a mistake of the server is not repeated here.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import msgspec
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from server.broadcast.codec import Encoding
from server.loadtest.client.awaited_event import AwaitedEvent
from server.loadtest.client.close_codes import ABNORMAL_CLOSURE, NORMAL, may_reconnect
from server.loadtest.client.positions import ReadPositions

ANSWER_SECONDS = 20.0  # for an answer: twice the server's own limit
HANDSHAKE_SECONDS = 10.0  # the library has no timeout for a peer that vanishes
CLOSE_SECONDS = 5.0  # for the server's Close frame
KEPT_EVENTS = 1000  # without a waiter; of more, the oldest are dropped
QUEUED_MESSAGES = 64  # read by the library; a full queue would stop its pongs
MAX_MESSAGE_BYTES = 16 * 1024 * 1024  # a room:joined with a long history

Event = dict[str, Any]
Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class Rejected(Exception):
    """The server answered the handshake with an HTTP status instead."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"the handshake was answered {status}: {body}")
        self.status = status


class Disconnected(Exception):
    """There is no connection; `code` is the close code that ended it, 1006 without a Close frame."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(f"closed with {code}: {reason or 'no reason given'}")
        self.code = code
        self.reason = reason


class AnswerTimeout(Exception):
    """An answer or event did not arrive in time."""


class OutOfOrder(Exception):
    """An event of a room was missing or arrived twice; the message names each room with its counts."""


class Client:
    """One session, over one connection at a time; its reader runs in the nursery that it is given.

    With `by_header` the handshake carries the token, otherwise `session:open` does. It does not reconnect by itself:
    after `wait_closed` the caller decides, by `may_reconnect`, whether to call `resume`.

    `on_event` is called with each event in the order of arrival; it must not block (`send_nowait` of a memory channel
    will do). An answer to `ask` goes to its caller alone. The last `kept` events are kept for `wait_for`, which returns
    each of them once. `patience` multiplies the time that a handshake and an answer may take.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        url: str,
        token: str,
        *,
        encoding: Encoding = Encoding.JSON,
        by_header: bool = False,
        on_event: Callable[[Event], object] | None = None,
        kept: int = KEPT_EVENTS,
        patience: float = 1.0,
    ) -> None:
        self.encoding = encoding
        self.ready: Event = {}  # the latest session:ready
        self.positions = ReadPositions()
        self.close_code: int | None = None  # of the last connection that has ended
        self.close_reason = ""
        self.kept: deque[Event] = deque(maxlen=kept)
        self._nursery = nursery
        self._url = url
        self._token = token
        self._by_header = by_header
        self._on_event = on_event
        self._patience = patience
        self._websocket: WebSocketConnection | None = None
        self._stream: Stream
        self._closed = trio.Event()
        self._asked: dict[str, AwaitedEvent] = {}  # by ref
        self._awaited: list[AwaitedEvent] = []
        self._refs = 0

    # Connections

    async def open(self) -> Event:
        """Connect, open a session, and return `session:ready`. Raises one of NOT_CONNECTED in `reconnect.py`."""
        return await self._connect(None)

    async def resume(self) -> Event:
        """Reconnect and resume the session: missed events arrive first, rooms in `lost` must be joined again."""
        return await self._connect({"sessionId": self.ready["sessionId"], "channels": self.positions.resume_points()})

    async def close(self, code: int = NORMAL) -> None:
        """Close the connection, and wait for the server's Close frame, at most CLOSE_SECONDS.

        With NORMAL the server ends the session. Does nothing without a connection.
        """
        if self._websocket is not None:
            websocket = self._websocket
            with trio.move_on_after(CLOSE_SECONDS):
                await websocket.aclose(code)
            self._note_closed(websocket, code, "")

    async def lose_network(self) -> None:
        """Drop the connection without a Close frame, as a lost network does."""
        if self._websocket is not None:
            await trio.aclose_forcefully(self._stream)
            await self._closed.wait()

    async def wait_closed(self) -> int | None:
        """Wait until either side has closed the connection; return the close code, None without a Close frame."""
        await self._closed.wait()
        return self.close_code

    @property
    def connected(self) -> bool:
        return self._websocket is not None

    @property
    def may_reconnect(self) -> bool:
        return may_reconnect(self.close_code)

    # Commands

    async def send(self, kind: str, **fields: Any) -> None:
        """Send a command without waiting for an answer. Raises Disconnected."""
        if self._websocket is None:
            raise Disconnected(self.close_code, self.close_reason)
        try:
            await self._websocket.send_message(self._encoded({"type": kind, **fields}))
        except ConnectionClosed:
            await self._closed.wait()  # the reader sets the close code
            raise Disconnected(self.close_code, self.close_reason) from None

    async def ask(self, kind: str, **fields: Any) -> Event:
        """Send a command and return its answer, which may be an error. Raises Disconnected, AnswerTimeout.

        Several commands may wait at once; each has a `ref` of its own. After an exception or a cancellation the command
        may have been carried out all the same.
        """
        self._refs += 1
        ref = f"r{self._refs}"
        awaited = self._asked[ref] = AwaitedEvent(kind, {})
        try:
            await self.send(kind, ref=ref, **fields)
            return await self._wait_for_event(awaited, ANSWER_SECONDS * self._patience)
        finally:
            del self._asked[ref]

    async def join(self, channel: str) -> Event:
        """Join a room; return `room:joined` or the error."""
        return await self.ask("room:join", channel=channel)

    async def leave(self, channel: str) -> Event:
        """Leave a room; return the answer."""
        answer = await self.ask("room:leave", channel=channel)
        self.positions.leave(channel)
        return answer

    async def wait_for(self, kind: str, seconds: float | None = None, **fields: Any) -> Event:
        """Return the first event of this type with these fields that was not returned to another caller.

        It may take ANSWER_SECONDS, or the seconds that are named.
        Events that arrived before the call count as well, as far as they are kept. Raises Disconnected, AnswerTimeout.
        """
        awaited = AwaitedEvent(kind, fields)
        for event in self.kept:
            if awaited.is_met_by(event):
                self.kept.remove(event)
                return event
        if self._websocket is None:
            raise Disconnected(self.close_code, self.close_reason)
        self._awaited.append(awaited)
        try:
            return await self._wait_for_event(awaited, ANSWER_SECONDS * self._patience if seconds is None else seconds)
        finally:
            self._awaited.remove(awaited)

    async def _wait_for_event(self, awaited: AwaitedEvent, seconds: float) -> Event:
        with trio.move_on_after(seconds):
            await awaited.over.wait()
        if awaited.event is not None:
            return awaited.event
        if awaited.over.is_set():
            raise Disconnected(self.close_code, self.close_reason)
        received = [event["type"] for event in self.kept]
        raise AnswerTimeout(f"{awaited.kind} did not come with {awaited.fields}; what came: {received}")

    # Connection

    async def _connect(self, resume: Event | None) -> Event:
        # The answer to an attempt that was cancelled is not the answer to this one.
        self.kept = deque((event for event in self.kept if event["type"] != "session:ready"), self.kept.maxlen)
        in_header = self._by_header and resume is None
        headers = [(b"Authorization", f"Bearer {self._token}".encode())] if in_header else []
        await self._shake_hands(headers)
        if not in_header:
            await self.send("session:open", token=self._token, **({"resume": resume} if resume else {}))
        return await self.wait_for("session:ready")

    async def _shake_hands(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Open a socket and do the handshake in the reader's task. Raises OSError, Rejected, Disconnected."""
        self._stream = await _open_stream(self._url)
        with trio.move_on_after(HANDSHAKE_SECONDS * self._patience) as waited:
            try:
                await self._nursery.start(self._live, self._stream, headers)
            except ExceptionGroup as failed:  # reason: trio wraps what the task raises before it has started
                raise _refusal(failed) from None
        if waited.cancelled_caught:
            await trio.aclose_forcefully(self._stream)
            raise Disconnected(ABNORMAL_CLOSURE, "no handshake in time")

    async def _live(
        self, stream: Stream, headers: list[tuple[bytes, bytes]], task_status: trio.TaskStatus[None]
    ) -> None:
        """Run one connection, from its handshake to its end."""
        address = urlsplit(self._url)
        try:
            async with trio.open_nursery() as nursery:
                self._websocket = await wrap_client_stream(
                    nursery,
                    stream,
                    address.netloc,
                    f"{address.path or '/'}{address.query and '?' + address.query}",
                    subprotocols=[self.encoding.value],
                    extra_headers=headers,
                    message_queue_size=QUEUED_MESSAGES,
                    max_message_size=MAX_MESSAGE_BYTES,
                )
                self._closed = trio.Event()
                task_status.started()
                await self._listen(self._websocket)
                nursery.cancel_scope.deadline = trio.current_time() + CLOSE_SECONDS  # the server closes the socket
        finally:
            await trio.aclose_forcefully(stream)

    async def _listen(self, websocket: WebSocketConnection) -> None:
        try:
            while True:
                self._handle(self._decoded(await websocket.get_message()))
        except ConnectionClosed as closed:
            code, reason = (None, None) if closed.reason is None else (closed.reason.code, closed.reason.reason)
            self._note_closed(websocket, code, reason or "")

    def _handle(self, event: Event) -> None:
        """Count an event, and pass it on: an answer to its `ask` alone, any other one to `on_event` and one waiter."""
        self.positions.take(event)
        if event["type"] == "session:ready":
            self.ready = event
            for channel in event["lost"]:
                self.positions.leave(channel)
        ref = event.get("ref")  # in a wallet:changed it names what moved the tokens
        if isinstance(ref, str) and ref in self._asked:
            self._asked[ref].meet(event)
            return
        if self._on_event is not None:
            self._on_event(event)
        for awaited in self._awaited:
            if awaited.event is None and awaited.is_met_by(event):
                awaited.meet(event)
                return
        self.kept.append(event)

    def _note_closed(self, websocket: WebSocketConnection, code: int | None, reason: str) -> None:
        """Record the end of the present connection; the end of a replaced one is ignored."""
        if websocket is self._websocket:
            self._websocket = None
            self.close_code, self.close_reason = code, reason
            self._closed.set()
            for awaited in (*self._asked.values(), *self._awaited):
                awaited.over.set()

    def _encoded(self, message: Event) -> str | bytes:
        if self.encoding is Encoding.JSON:
            return msgspec.json.encode(message).decode()
        return msgspec.msgpack.encode(message)

    def _decoded(self, message: Any) -> Event:
        event: Event = (msgspec.json if self.encoding is Encoding.JSON else msgspec.msgpack).decode(message)
        return event


@asynccontextmanager
async def open_client(
    url: str,
    token: str,
    *,
    encoding: Encoding = Encoding.JSON,
    by_header: bool = False,
    on_event: Callable[[Event], object] | None = None,
    kept: int = KEPT_EVENTS,
) -> AsyncIterator[Client]:
    """Yield a client with an open session, and close it at the end.

    Raises OutOfOrder at the end if an event of a room was missing or arrived twice.
    """
    async with trio.open_nursery() as nursery:
        client = Client(nursery, url, token, encoding=encoding, by_header=by_header, on_event=on_event, kept=kept)
        try:
            await client.open()
            yield client
        finally:
            with trio.CancelScope(shield=True):  # bounded by CLOSE_SECONDS
                await client.close()
            nursery.cancel_scope.cancel()
    if client.positions.faults:
        raise OutOfOrder("; ".join(client.positions.faults))


async def _open_stream(url: str) -> Stream:
    address = urlsplit(url)
    assert address.hostname is not None, "a websocket's address names a host"
    if address.scheme == "wss":
        return await trio.open_ssl_over_tcp_stream(address.hostname, address.port or 443, https_compatible=True)
    return await trio.open_tcp_stream(address.hostname, address.port or 80)


def _refusal(failed: ExceptionGroup[Exception]) -> Exception:
    """Return the server's refusal of a handshake; any other exception is a bug and returned unchanged."""
    refused = failed.subgroup(ConnectionRejected)
    if refused is None:
        return failed
    rejected: Any = refused.exceptions[0]
    return Rejected(rejected.status_code, (rejected.body or b"").decode(errors="replace"))
