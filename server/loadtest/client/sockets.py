"""Sockets of clients without a task or a library object each, plain or with TLS; they never block."""

import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

import trio

T = TypeVar("T")

WANTS_INPUT = (BlockingIOError, ssl.SSLWantReadError)  # of a receiving call that has nothing to return yet


async def open_socket(url: str) -> socket.socket:
    """Connect to the host of a ws or wss address, and return the socket when it can carry data.

    A wss server must have a certificate that this machine trusts, or that the file named by SSL_CERT_FILE has. Raises
    OSError. The socket is closed after an exception or a cancellation.
    """
    address = urlsplit(url)
    assert address.hostname is not None, "a websocket's address names a host"
    secure = address.scheme == "wss"
    stream = await trio.open_tcp_stream(address.hostname, address.port or (443 if secure else 80))
    sock = socket.socket(fileno=stream.socket.detach())
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return await _with_tls(sock, address.hostname) if secure else sock
    except BaseException:
        sock.close()
        raise


async def send_all(sock: socket.socket, data: bytes) -> None:
    """Send all bytes. Raises OSError."""
    while data:
        data = data[await _retried(sock, partial(sock.send, data)) :]


async def receive(sock: socket.socket, most: int) -> bytes:
    """Wait for input and return it, at most `most` bytes; empty at its end. Raises OSError."""
    return await _retried(sock, partial(sock.recv, most), waits_for_input=True)


async def _with_tls(sock: socket.socket, host: str) -> ssl.SSLSocket:
    secure = ssl.create_default_context().wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    try:
        await _retried(secure, secure.do_handshake)
    except BaseException:
        secure.close()
        raise
    return secure


async def _retried(sock: socket.socket, act: Callable[[], T], *, waits_for_input: bool = False) -> T:
    """Do what may not block, again and again, each time that the socket is ready for it."""
    while True:
        try:
            return act()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError) as early:
            if isinstance(early, ssl.SSLWantReadError) or (waits_for_input and isinstance(early, BlockingIOError)):
                await trio.lowlevel.wait_readable(sock)
            else:
                await trio.lowlevel.wait_writable(sock)
