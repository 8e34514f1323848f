"""Reads a database connection's socket in a trio task.

asyncio's reader, under trio-asyncio, takes several turns of trio's loop for each answer of the database.
"""

import os
import socket
from typing import Any

import asyncpg
import trio

READ_BYTES = 262_144  # at a time, as asyncio does


async def read_socket(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Pass what arrives to the connection, until it is closed.

    Asyncio handles its end, and everything else; with TLS also the input itself, which it decrypts. The connection is
    closed if this raises or is cancelled: no answer would arrive any more. Raises what asyncpg raises about a message.
    """
    transport: Any = connection._transport  # type: ignore[attr-defined]  # reason: there is no other way
    if transport.is_closing() or transport.get_extra_info("sslcontext") is not None:
        return
    try:  # a descriptor of our own: asyncio closes its one without a word to trio
        sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    except OSError:  # there are too many open; asyncio reads, as it did
        return
    transport.pause_reading()
    protocol = transport.get_protocol()
    with sock, trio.CancelScope() as scope:
        connection.add_termination_listener(lambda _: scope.cancel())
        try:
            while data := await _receive(sock):
                protocol.data_received(data)
        except BaseException:
            connection.terminate()
            raise
        transport.resume_reading()


async def _receive(sock: socket.socket) -> bytes:
    """Wait for input and return it; empty at its end, also at a broken one."""
    while True:
        await trio.lowlevel.wait_readable(sock)
        try:
            return sock.recv(READ_BYTES)
        except BlockingIOError:
            continue
        except OSError:
            return b""
