"""HTTP connections: hypercorn speaks HTTP/1.1 on each, and what goes wrong on one stays there.

Hypercorn's own `serve` runs all connections in one nursery without a floor below it: in 0.18 a single request with
`Upgrade: h2c` and a broken `HTTP2-Settings` raises out of it and would end the house. So the accept loop is ours.
"""

import socket
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.events import Event
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import wrap_app

from server.faults import Faults
from server.listener import Listener, ListeningSockets
from server.memory_limit import MemoryLimit

CONNECTIONS = 2_000  # at 64 KiB of body each they hold 128 MiB; a proxy in front keeps far fewer open
SEND_BUFFER_BYTES = 131_072  # a page of a list fits, and a client that does not read holds no more than this
KEEP_ALIVE_SECONDS = 75  # longer than the usual proxy's 60, so that it is never we who close under its request
GRACE_SECONDS = 2  # for requests that are being answered when the house closes


async def serve_connections(
    app: Any, listening: ListeningSockets, closing: trio.Event, faults: Faults, memory: MemoryLimit
) -> None:
    """Answer requests until `closing`; then finish those that are begun, within GRACE_SECONDS."""
    async with trio.open_nursery() as nursery:
        connections = Connections(app)
        listener = Listener(listening, connections.serve, CONNECTIONS, SEND_BUFFER_BYTES, faults, memory)
        async with trio.open_nursery() as door:
            door.start_soon(listener.run, nursery)
            await closing.wait()
            door.cancel_scope.cancel()
        await connections.close()
        nursery.cancel_scope.cancel()


class Connections:
    """The open connections of one app."""

    def __init__(self, app: Any) -> None:
        self._app: AppWrapper = wrap_app(_http_alone(app), 0, "asgi")
        self._config = _config()
        self._context = WorkerContext(max_requests=None)
        self._open: set[trio.SocketStream] = set()
        self._changed = trio.Event()

    async def serve(self, accepted: socket.socket) -> None:
        """One accepted socket, until either side closes it."""
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(accepted))
        self._open.add(stream)
        try:
            await _Connection(self._app, self._config, self._context, ConnectionState({}), stream).run()  # type: ignore[arg-type]  # reason: declared for TLS alone, and made for both
        finally:
            self._open.discard(stream)
            self._changed.set()
            stream.socket.close()

    async def close(self) -> None:
        """Idle connections at once, others after their answer, and those that take too long without it."""
        await self._context.terminated.set()
        with trio.move_on_after(GRACE_SECONDS):
            while self._open:
                self._changed = trio.Event()
                await self._changed.wait()
        for stream in self._open:
            stream.socket.close()  # hypercorn shields what it sends; only this ends it


class _Connection(TCPServer):
    async def protocol_send(self, event: Event) -> None:
        # After an answer hypercorn closes the connection or starts its keep-alive clock, in the very task that Quart
        # cancels because the request is over.
        with trio.CancelScope(shield=True):
            await super().protocol_send(event)


def _config() -> Config:
    config = Config()
    config.accesslog = config.errorlog = None  # we log our own faults, and count requests elsewhere
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE_SECONDS
    config.keep_alive_max_requests = 10_000
    config.h2_max_concurrent_streams = 8  # nobody here needs HTTP/2, and hypercorn cannot be told to refuse it
    return config


def _http_alone(app: Any) -> Any:
    """Websockets have a port of their own."""

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope["path"] = scope["path"] or "/"  # `GET ?x`; Quart takes a path for granted
            async with app.config["BODY_BOUNDS"].cut_off(receive, scope["path"]) as receive_within:
                await app(scope, receive_within, send)
        else:
            await send({"type": "websocket.close"})

    return asgi
