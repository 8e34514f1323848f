"""Accepts connections, up to a limit, each in a task of its own."""

import errno
import itertools
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import structlog
import trio

from server.config.listen_address import Address
from server.gateway.connection_limits import Admission, ConnectionLimits
from server.observability.faults import Faults
from server.observability.memory_limit import MemoryLimit

BACKLOG = 4096  # a reconnect of everybody at once waits here instead of being refused
OUT_OF_FILES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
NOT_HERE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
ACCEPTED_AT_ONCE = 64  # then other tasks have a turn: to close one that is refused costs 50 us
# Each that is taken costs a millisecond until it waits for its peer. More of them wait in the backlog, so that a flood
# leaves time to others; 2,000 a second are more than a server's clients need to come back.
TAKEN_AT_ONCE, ACCEPT_PAUSE_SECONDS = 8, 0.004
LOOPBACK = ("127.0.0.1", "::1")
PORT_TRIES = 10  # one in many thousands is taken by somebody else in the other family
USER_TIMEOUT_MS = 30_000  # unacknowledged bytes for so long: the peer is gone, whatever TCP hopes
# Of each connection, in the kernel, which doubles it. Without it the buffer of a connection that is not read grows to
# 6 MiB by Linux's defaults. One frame of the usual bound fits.
RECEIVE_BUFFER_BYTES = 65_536

log = structlog.get_logger(__name__)


class ListenError(Exception):
    """One line: which address cannot be listened on, and why."""


class ListeningSockets:
    """One socket for each address that a name stands for, all on one port. Closes them as a context manager."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self.sockets = sockets

    @property
    def port(self) -> int:
        port: int = self.sockets[0].getsockname()[1]
        return port

    def __enter__(self) -> "ListeningSockets":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


def open_listener(address: Address) -> ListeningSockets:
    """Listen on every address of the host, `localhost` in both families. Raises ListenError if none can be had.

    With port 0, all have the same port. An address that this machine does not have is left out if another is there.
    """
    try:
        where = _addresses(address)
        for _ in range(PORT_TRIES):
            try:
                return ListeningSockets(_listen_on_all(where, address.port))
            except OSError as error:
                # The port that the system chose for the first family may be taken in the second.
                if address.port != 0 or error.errno != errno.EADDRINUSE:
                    raise
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {error.strerror}") from None
    raise ListenError(f"cannot listen on {address}: no port is free in both families")


def _addresses(address: Address) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    """Each once, in the resolver's order."""
    # Many a hosts file names one loopback address alone, and clients may still try the other first (RFC 6761).
    hosts = LOOPBACK if address.host.lower() == "localhost" else (address.host,)
    found: dict[tuple[socket.AddressFamily, tuple[Any, ...]], None] = {}
    for host in hosts:
        for family, _, _, _, where in socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM):
            found[family, where] = None
    return list(found)


def _listen_on_all(addresses: Sequence[tuple[socket.AddressFamily, tuple[Any, ...]]], port: int) -> list[socket.socket]:
    listening: list[socket.socket] = []
    left_out: OSError | None = None
    try:
        for family, (host, _, *scope) in addresses:
            try:
                listening.append(_listen(family, (host, port, *scope)))
            except OSError as error:
                if error.errno not in NOT_HERE:
                    raise
                left_out = error
            else:
                port = listening[0].getsockname()[1]
        if left_out is not None and not listening:
            raise left_out
    except BaseException:
        for sock in listening:
            sock.close()
        raise
    return listening


def _listen(family: socket.AddressFamily, where: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)  # accepted sockets inherit it
        sock.bind(where)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


class Listener:
    """Takes connections from listening sockets and gives each, with its place in `limits`, to `serve`."""

    def __init__(
        self,
        listening: ListeningSockets,
        serve: Callable[[socket.socket, Admission], Awaitable[None]],
        limits: ConnectionLimits,
        send_buffer_bytes: int,
        faults: Faults,
        memory: MemoryLimit,
        evict: Callable[[str], bool] = lambda address: False,
    ) -> None:
        """`evict` closes a connection of this address that nobody needs, for a new one; False if there is none."""
        self._memory = memory
        self._listening = listening
        self._serve = serve
        self._limits = limits
        self._send_buffer_bytes = send_buffer_bytes
        self._faults = faults
        self._evict = evict

    async def run(self, nursery: trio.Nursery) -> None:
        """Until cancelled; the connections live on in `nursery`."""
        try:
            async with trio.open_nursery() as accepting:
                for sock in self._listening.sockets:
                    accepting.start_soon(self._accept_from, sock, nursery)
        finally:
            self._listening.close()

    async def _accept_from(self, sock: socket.socket, nursery: trio.Nursery) -> None:
        while True:
            await trio.lowlevel.wait_readable(sock)
            await self._accept_waiting(sock, nursery)

    async def _accept_waiting(self, sock: socket.socket, nursery: trio.Nursery) -> None:
        taken = 0
        for number in itertools.count(1):
            try:
                accepted, peer = sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in OUT_OF_FILES:
                    log.warning("connections.out_of_files", open=self._limits.open)
                    await trio.sleep(0.1)  # nothing else helps but that others close
                return
            taken += self._take(accepted, str(peer[0]), nursery)
            if taken == TAKEN_AT_ONCE:
                taken = 0
                await trio.sleep(ACCEPT_PAUSE_SECONDS)
            elif number % ACCEPTED_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()

    def _take(self, accepted: socket.socket, peer: str, nursery: trio.Nursery) -> bool:
        """Serve a connection, or close it before a byte of it is read if there are too many."""
        if self._memory.is_near:
            accepted.close()
            return False
        admission = self._limits.admit(peer)
        if admission is None and self._evict(peer):
            admission = self._limits.admit(peer)
        if admission is None:
            accepted.close()
            return False
        try:
            self._prepare(accepted)
        except OSError:  # the peer has reset it already
            admission.release()
            accepted.close()
            return False
        nursery.start_soon(self._serve_one, accepted, admission)
        return True

    def _prepare(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A dead reader holds at most this much in the kernel, instead of megabytes.
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._send_buffer_bytes)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)

    async def _serve_one(self, accepted: socket.socket, admission: Admission) -> None:
        try:
            await self._faults.run("connection", partial(self._serve, accepted, admission))
        finally:
            admission.release()
