"""HTTP connections: hypercorn's HTTP/1.1 protocol on each, with errors contained to one connection.

Hypercorn's own `serve` lets one failing connection end all others, waits without limit for a client that does not read
its answer, and offers HTTP/2. Therefore the accept loop and the connection are implemented here.
"""

import contextlib
import math
import socket
import time
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import parse_socket_addr, wrap_app

from server.addresses import limited_as
from server.config.settings import HttpSettings
from server.gateway.connection_limits import Admission, ConnectionLimits
from server.gateway.listener import Listener, ListeningSockets
from server.observability.faults import Faults
from server.observability.memory_limit import MemoryLimit
from server.rest.http.client_address import CLIENT
from server.rest.http.http1 import Http1

SEND_BUFFER_BYTES = 131_072  # holds a page of a list, and bounds the memory that a client that does not read can take
KEEP_ALIVE_SECONDS = 75  # longer than the 60 of usual proxies, so that the proxy closes idle connections first
GRACE_SECONDS = 2  # for requests under way at shutdown
READ_BYTES = 16_384  # at a time: as many as headers may have
LINGER_SECONDS = 1  # for a client that still sends after its answer and the end of the connection …
LINGER_READS = 64  # … at most this many reads of READ_BYTES
EVICTED_AFTER_SECONDS = 0.5  # idle; younger connections stay, so that a flood is refused at accept, which costs least
SENT_AT_ONCE = 16_384  # bytes that must be sent within `send_seconds`: a slow reader is tolerated, a stopped one is not


async def serve_connections(
    app: Any,
    listening: ListeningSockets,
    closing: trio.Event,
    faults: Faults,
    memory: MemoryLimit,
    settings: HttpSettings,
    limits: ConnectionLimits,
) -> None:
    """Serve connections until `closing` is set, then finish the requests under way within GRACE_SECONDS.

    Closes the listening sockets. An exception in one connection is logged and counted, and closes that one alone.
    """
    async with trio.open_nursery() as nursery:
        connections = Connections(app, settings)
        listener = Listener(listening, connections.serve, limits, SEND_BUFFER_BYTES, faults, memory, connections.evict)
        async with trio.open_nursery() as accepting:
            accepting.start_soon(listener.run, nursery)
            await closing.wait()
            accepting.cancel_scope.cancel()
        await connections.close()
        nursery.cancel_scope.cancel()


class Connections:
    """The open connections of one app, by client address."""

    def __init__(self, app: Any, settings: HttpSettings) -> None:
        self._app: AppWrapper = wrap_app(_http_only(app), 0, "asgi")
        self._config = _config()
        self._settings = settings
        self._context = WorkerContext(max_requests=None)
        self._open: dict[str | None, set[_Connection]] = {}  # by the address whose limit counts them
        self._changed = trio.Event()

    async def serve(self, accepted: socket.socket, admission: Admission) -> None:
        """Serve one accepted socket until either side closes it, and close the socket on every way out."""
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(accepted))
        connection = _Connection(self._app, self._config, self._context, self._settings, accepted, stream, admission)
        address = admission.address
        self._open.setdefault(address, set()).add(connection)
        try:
            await connection.run()
        finally:
            self._open[address].discard(connection)
            if not self._open[address]:
                del self._open[address]
            self._changed.set()
            stream.socket.close()

    def evict(self, address: str) -> bool:
        """Close the longest idle connection of an address.

        Returns False if none has been idle for EVICTED_AFTER_SECONDS.
        """
        counted = [each for each in self._open.get(limited_as(address), ()) if each.admission.address is not None]
        latest = trio.current_time() - EVICTED_AFTER_SECONDS
        idle = [each for each in counted if each.idle_since is not None and each.idle_since <= latest]
        if not idle:
            return False
        longest = min(idle, key=lambda each: each.idle_since or 0)
        longest.admission.release()
        longest.end()
        return True

    async def close(self) -> None:
        """Close idle connections at once, others after their answer, and all after GRACE_SECONDS."""
        await self._context.terminated.set()
        for connection in self._all():
            if connection.idle_since is not None:
                connection.end()
        with trio.move_on_after(GRACE_SECONDS):
            while self._open:
                self._changed = trio.Event()
                await self._changed.wait()
        for connection in self._all():
            connection.stream.socket.close()  # sending is shielded from cancellation; only closing the socket ends it

    def _all(self) -> list["_Connection"]:
        """A copy, since connections end while it is iterated over."""
        return [connection for of_address in self._open.values() for connection in of_address]


class _Connection:
    """One connection, with a deadline for every step of the peer."""

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        settings: HttpSettings,
        accepted: socket.socket,
        stream: trio.SocketStream,
        admission: Admission,
    ) -> None:
        self.admission = admission
        self.stream = stream
        self._socket = accepted  # that of the stream, which made it non-blocking
        self.idle_since: float | None = trio.current_time()  # None while a request is read or answered
        self._app = app
        self._config = config
        self._context = context
        self._protocol: Http1
        self._sending = trio.Lock()
        self._settings = settings
        self._reading = trio.CancelScope()
        self._deadline = trio.current_time() + settings.head_seconds
        self._head_begun = True  # the deadline of the first request's headers runs from accept

    async def run(self) -> None:
        """Serve requests one after the other until either side closes or the peer misses a deadline.

        A failing socket ends it without an exception.
        """
        try:
            sock = self.stream.socket
            client = parse_socket_addr(sock.family, sock.getpeername())
            server = parse_socket_addr(sock.family, sock.getsockname())
            async with TaskGroup() as task_group:
                state, is_tls = ConnectionState({}), False
                self._protocol = Http1(
                    self._app,
                    self._config,
                    self._context,
                    task_group,
                    state,
                    is_tls,
                    client,
                    server,
                    self._handle_output,
                )
                await self._read_data()
        except OSError:
            pass
        finally:
            await self._close()

    def end(self) -> None:
        """Stop reading; a request under way is still answered."""
        self._set_deadline(-math.inf)

    async def _handle_output(self, event: Event) -> None:
        """Do what the protocol asks for: send bytes, close, or start and stop the time of an idle connection."""
        if isinstance(event, RawData):
            await self._send(event.data)
        elif isinstance(event, Closed):
            self.end()
            await self._protocol.handle(Closed())
        elif isinstance(event, Updated):
            self._note_idle(event.idle)

    async def _send(self, data: bytes) -> None:
        """Send at once what the socket takes, and wait only for the rest."""
        if not self._sending.locked():
            with contextlib.suppress(OSError):  # it takes nothing now, or it is broken, which is found below
                data = data[self._socket.send(data) :]
        if data:
            # The task that sends the end of an answer also closes the connection or starts its keep-alive time, and
            # Quart cancels that task when the request ends.
            with trio.CancelScope(shield=True):
                await self._send_slowly(data)

    async def _send_slowly(self, data: bytes) -> None:
        """Send in parts, and close the connection if the peer does not take one in `send_seconds`."""
        async with self._sending:
            try:
                for start in range(0, len(data), SENT_AT_ONCE):
                    with trio.fail_after(self._settings.send_seconds):
                        await self.stream.send_all(data[start : start + SENT_AT_ONCE])
                return
            except trio.TooSlowError:
                self.stream.socket.close()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
        await self._protocol.handle(Closed())

    def _note_idle(self, idle: bool) -> None:
        """Set the deadline of the next request: for its headers if it has begun, otherwise for its first byte."""
        now = trio.current_time()
        self.idle_since = now if idle else None
        self._head_begun = idle and self._protocol.has_begun_next
        seconds = self._settings.head_seconds if self._head_begun else KEEP_ALIVE_SECONDS
        self._set_deadline(now + seconds if idle else math.inf)  # the reader of a body has its own limit

    def _set_deadline(self, deadline: float) -> None:
        self._deadline = self._reading.deadline = deadline

    async def _close(self) -> None:
        """Read for LINGER_SECONDS before closing: a reset, sent for unread input, could destroy the answer."""
        self.idle_since = trio.current_time()
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.stream.send_eof()
            with trio.CancelScope(deadline=trio.current_time() + LINGER_SECONDS) as self._reading:
                for _ in range(LINGER_READS):
                    if not await self.stream.receive_some(READ_BYTES):
                        break
        await self.stream.aclose()

    async def _read_data(self) -> None:
        """Pass received bytes to the protocol until the peer's end, a deadline, or `end`."""
        data = b"begin"
        while data:
            with trio.CancelScope(deadline=self._deadline) as self._reading:
                try:
                    data = bytes(await self.stream.receive_some(READ_BYTES))
                except (trio.ClosedResourceError, trio.BrokenResourceError):
                    break
            if self._reading.cancelled_caught:
                break
            if data and self.idle_since is not None and not self._head_begun:
                self._head_begun = True
                self._set_deadline(min(self._deadline, trio.current_time() + self._settings.head_seconds))
            await self._protocol.handle(RawData(data))
        await self._protocol.handle(Closed())


class _Config(Config):
    """Hypercorn's settings, which write the date of responses once a second."""

    _second, _headers = 0, list[tuple[bytes, bytes]]()

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        if (second := int(time.time())) != self._second:
            self._second, self._headers = second, super().response_headers(protocol)
        return list(self._headers)


def _config() -> Config:
    config = _Config()
    config.accesslog = config.errorlog = None  # the server logs faults itself and counts requests elsewhere
    config.include_server_header = False
    config.keep_alive_max_requests = 10_000
    return config


def _http_only(app: Any) -> Any:
    """Wrap the app for HTTP alone and close websockets, which have another port."""
    client_of, concurrency = app.config["CLIENT_OF"], app.config["CONCURRENCY"]

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope["path"] = scope["path"] or "/"  # a target such as `?x` has no path, which Quart requires
            client = scope[CLIENT] = client_of(scope)
            async with concurrency.slot(None if client.exempt else client.limited_as):
                await app(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    return asgi
