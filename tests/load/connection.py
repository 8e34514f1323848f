"""One party's websocket in a load run: JSON in both directions, with little CPU time."""

from collections import deque
from typing import Any

import msgspec
import trio

from server.broadcast.codec import Encoding
from server.loadtest.client.frames import CLOSE, PING, PONG, READ_BYTES, TEXT, Frames, masked_frame, shake_hands


class Connection:
    """One open websocket. `next_event` also answers pings, so a party has to wait for events all the time."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self._sock = sock
        self._frames = Frames()
        self._events: deque[dict[str, Any]] = deque()
        self.closed = False
        self.close_code: int | None = None

    async def send(self, **message: Any) -> None:
        """Send a message; it is dropped if the connection is closed."""
        if not self.closed:
            await self._send(TEXT, msgspec.json.encode(message))

    async def next_event(self) -> dict[str, Any] | None:
        """Return the next event, or None once the server has closed the connection."""
        while not self._events and not self.closed:
            await self.take(await self._read())
        return self._events.popleft() if self._events else None

    async def take(self, data: bytes) -> None:
        """Handle received bytes; an empty value is the end of the connection."""
        for opcode, payload in self._frames.take(data):
            if opcode == TEXT:
                self._events.append(msgspec.json.decode(payload))
            elif opcode == PING:
                await self._send(PONG, payload)
            elif opcode == CLOSE:
                self.close_code = int.from_bytes(payload[:2], "big")
        if not data or self.close_code is not None:
            self.closed = True
            self._sock.close()

    async def _read(self) -> bytes:
        try:
            return await self._sock.recv(READ_BYTES)
        except ConnectionResetError:
            return b""

    async def _send(self, opcode: int, payload: bytes) -> None:
        frame = masked_frame(opcode, payload)
        sent = await self._sock.send(frame)
        assert sent == len(frame), "a small frame fits into an empty send buffer"


async def open_connection(port: int, token: str) -> Connection:
    """Return a websocket with an open session on a server of this machine. Raises HandshakeError."""
    sock, unread = await shake_hands(f"ws://127.0.0.1:{port}/ws", Encoding.JSON, token)
    connection = Connection(trio.socket.from_stdlib_socket(sock))
    if unread:
        await connection.take(unread)
    return connection
