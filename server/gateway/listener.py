"""Opens listening sockets, accepts connections up to a limit, and serves each in a task of its own."""

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

BACKLOG = 4096  # if all clients reconnect at once, they wait here instead of being refused
OUT_OF_FILES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
NOT_HERE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
ACCEPTED_AT_ONCE = 64  # before other tasks run; closing a refused connection takes 50 us
# An admitted connection takes a millisecond until it waits for its peer. More of them wait in the backlog, so that a
# flood leaves time to other tasks; 2,000 a second are more than a server's clients need to reconnect.
ADMITTED_AT_ONCE, ACCEPT_PAUSE_SECONDS = 8, 0.004
LOOPBACK = ("127.0.0.1", "::1")
PORT_TRIES = 10  # one port in many thousands is in use in the other address family
USER_TIMEOUT_MS = 30_000  # with bytes unacknowledged for so long, the kernel drops the connection
# SO_RCVBUF of each connection, which the kernel doubles. By Linux's defaults the buffer of a connection that is not
# read grows to 6 MiB. One frame of the usual limit fits.
RECEIVE_BUFFER_BYTES = 65_536

log = structlog.get_logger(__name__)


class ListenError(Exception):
    """An address cannot be listened on; the message says in one line which one, and why."""


class ListeningSockets:
    """Listening sockets for all addresses of one host name, on one port. As a context manager it closes them."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self.sockets = sockets

    @property
    def port(self) -> int:
        """The port of all sockets, also if the system chose it."""
        port: int = self.sockets[0].getsockname()[1]
        return port

    def __enter__(self) -> "ListeningSockets":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all sockets. Idempotent."""
        for sock in self.sockets:
            sock.close()


def open_listener(address: Address) -> ListeningSockets:
    """Listen on every address of the host; `localhost` stands for both address families.

    With port 0 the system chooses a port, the same one for all addresses. An address that this machine does not have is
    left out if the host has another one. Raises ListenError if no address can be listened on.
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
    """The addresses of a host, each once, in the resolver's order."""
    # Some hosts files name only one loopback address, and clients may try the other one first (RFC 6761).
    hosts = LOOPBACK if address.host.lower() == "localhost" else (address.host,)
    found: dict[tuple[socket.AddressFamily, tuple[Any, ...]], None] = {}
    for host in hosts:
        for family, _, _, _, where in socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM):
            found[family, where] = None
    return list(found)


def _listen_on_all(addresses: Sequence[tuple[socket.AddressFamily, tuple[Any, ...]]], port: int) -> list[socket.socket]:
    """Listen on all of these addresses, with one port. Raises OSError, with every socket closed."""
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
    """Open a listening socket that does not block. Raises OSError, with the socket closed."""
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
    """Accepts connections and passes each to `serve`, with its admission under `limits`, in a task of its own.

    A connection beyond a limit, or while the process is near its memory limit, is closed before a byte is read.
    """

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
        """`send_buffer_bytes` is SO_SNDBUF of each connection, which the kernel doubles.

        `evict` closes an idle connection of an address to admit a new one, and returns whether there was one.
        """
        self._memory = memory
        self._listening = listening
        self._serve = serve
        self._limits = limits
        self._send_buffer_bytes = send_buffer_bytes
        self._faults = faults
        self._evict = evict

    async def run(self, nursery: trio.Nursery) -> None:
        """Accept until cancelled, then close the listening sockets; the connections go on in `nursery`.

        Never returns otherwise. A failed accept is no error: without free files it is tried again after 0.1 s.
        """
        try:
            async with trio.open_nursery() as accepting:
                for sock in self._listening.sockets:
                    accepting.start_soon(self._accept_from, sock, nursery)
        finally:
            self._listening.close()

    async def _accept_from(self, sock: socket.socket, nursery: trio.Nursery) -> None:
        """Accept from one listening socket until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(sock)
            await self._accept_waiting(sock, nursery)

    async def _accept_waiting(self, sock: socket.socket, nursery: trio.Nursery) -> None:
        """Accept until the backlog is empty, with a pause after every ADMITTED_AT_ONCE connections."""
        admitted = 0
        for number in itertools.count(1):
            try:
                accepted, peer = sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in OUT_OF_FILES:
                    log.warning("connections.out_of_files", open=self._limits.open)
                    await trio.sleep(0.1)  # accepting is possible again only once other files are closed
                return
            admitted += self._admit(accepted, str(peer[0]), nursery)
            if admitted == ADMITTED_AT_ONCE:
                admitted = 0
                await trio.sleep(ACCEPT_PAUSE_SECONDS)
            elif number % ACCEPTED_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()

    def _admit(self, accepted: socket.socket, peer: str, nursery: trio.Nursery) -> bool:
        """Serve a connection, or close it if a limit is reached; returns whether it is served."""
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
        """Set the socket's options. Raises OSError if the peer has reset the connection already."""
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # For a client that does not read, the kernel then buffers at most this much, instead of megabytes.
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._send_buffer_bytes)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)

    async def _serve_one(self, accepted: socket.socket, admission: Admission) -> None:
        """Serve a connection, and release its admission on every way out; an exception is logged and counted."""
        try:
            await self._faults.run("connection", partial(self._serve, accepted, admission))
        finally:
            admission.release()
