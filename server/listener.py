"""Accepts connections, up to a limit, each in a task of its own."""

import errno
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import structlog
import trio

from server.config import Address
from server.faults import Faults

BACKLOG = 4096  # a reconnect of everybody at once waits here instead of being refused
OUT_OF_FILES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
USER_TIMEOUT_MS = 30_000  # unacknowledged bytes for so long: the peer is gone, whatever TCP hopes

log = structlog.get_logger(__name__)


class ListenError(Exception):
    """One line: which address cannot be listened on, and why."""


def open_listener(address: Address) -> socket.socket:
    """Raises ListenError."""
    try:
        family, _, _, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ListenError(f"cannot listen on {address.host}:{address.port}: {error.strerror}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ListenError(f"cannot listen on {address.host}:{address.port}: {error.strerror}") from None
    return listener


class Listener:
    """Takes connections from one listening socket and gives each to `serve`."""

    def __init__(
        self,
        sock: socket.socket,
        serve: Callable[[socket.socket], Awaitable[None]],
        limit: int,
        send_buffer_bytes: int,
        faults: Faults,
    ) -> None:
        self._sock = sock
        self._serve = serve
        self._limit = limit
        self._send_buffer_bytes = send_buffer_bytes
        self._faults = faults
        self._open = 0

    async def run(self, nursery: trio.Nursery) -> None:
        """Until cancelled; the connections live on in `nursery`."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._sock)
                await self._accept_waiting(nursery)
        finally:
            self._sock.close()

    async def _accept_waiting(self, nursery: trio.Nursery) -> None:
        while True:
            try:
                accepted, _ = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in OUT_OF_FILES:
                    log.warning("connections.out_of_files", open=self._open)
                    await trio.sleep(0.1)  # nothing else helps but that others close
                return
            if self._open >= self._limit:
                accepted.close()
                continue
            self._prepare(accepted)
            self._open += 1
            nursery.start_soon(self._serve_one, accepted)

    def _prepare(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A dead reader holds at most this much in the kernel, instead of megabytes.
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._send_buffer_bytes)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)

    async def _serve_one(self, accepted: socket.socket) -> None:
        try:
            await self._faults.run("connection", partial(self._serve, accepted))
        finally:
            self._open -= 1
