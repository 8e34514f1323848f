"""A websocket as a client that must cost little: whole text frames out, whole frames in (RFC 6455)."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec
import trio

PATH = "/ws"
SUBPROTOCOL = "halfminute.v1.json"
READ_BYTES = 16_384
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_FIN, _MASKED = 0x80, 0x80
_NO_MASK = bytes(4)  # a client must mask; by zeros is allowed to who has nothing to hide from proxies


class HandshakeError(Exception):
    """What the server answered instead of an open websocket."""


class Line:
    """One open websocket; whoever waits for its events also answers the pings."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self._sock = sock
        self._frames = Frames()
        self._events: deque[dict[str, Any]] = deque()
        self.closed = False
        self.close_code: int | None = None

    async def say(self, **message: Any) -> None:
        """To nobody, once the line is closed."""
        if not self.closed:
            await self._send(_TEXT, msgspec.json.encode(message))

    async def next_event(self) -> dict[str, Any] | None:
        """None once the server has closed the line."""
        while not self._events and not self.closed:
            await self.take(await self._read())
        return self._events.popleft() if self._events else None

    async def take(self, data: bytes) -> None:
        """Bytes that came; none are the end."""
        for opcode, payload in self._frames.take(data):
            if opcode == _TEXT:
                self._events.append(msgspec.json.decode(payload))
            elif opcode == _PING:
                await self._send(_PONG, payload)
            elif opcode == _CLOSE:
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


async def open_line(port: int, token: str) -> Line:
    """A websocket of a server on this machine, with a session. Raises HandshakeError."""
    sock = trio.socket.socket()
    sock.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
    await sock.connect(("127.0.0.1", port))
    await sock.send(_upgrade(port, token))
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = await sock.recv(READ_BYTES)
        if not data:
            raise HandshakeError(f"closed after {answer!r}")
        answer += data
    head, _, unread = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101"):
        raise HandshakeError(head.decode("latin-1"))
    line = Line(sock)
    if unread:
        await line.take(unread)
    return line


class Frames:
    """Cuts what a server sends into frames; a server neither masks nor, here, splits a message."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def take(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The frames that `data` completes: opcode and payload."""
        self._bytes += data
        while (first := self._first()) is not None:
            start, end = first
            opcode, payload = self._bytes[0] & 0x0F, bytes(self._bytes[start:end])
            del self._bytes[:end]
            yield opcode, payload

    def _first(self) -> tuple[int, int] | None:
        """Where the first frame's payload begins and ends; None if it is not all there."""
        if len(self._bytes) < 2:
            return None
        length, start = self._bytes[1], 2
        if length >= 126:
            start = 4 if length == 126 else 10
            length = int.from_bytes(self._bytes[2:start], "big")
        return (start, start + length) if len(self._bytes) >= start + length else None


def masked_frame(opcode: int, payload: bytes) -> bytes:
    """A frame as a client must send it."""
    length = len(payload)
    if length < 126:
        head = bytes((_FIN | opcode, _MASKED | length))
    else:
        head = bytes((_FIN | opcode, _MASKED | 126)) + length.to_bytes(2, "big")
    return head + _NO_MASK + payload


def _upgrade(port: int, token: str) -> bytes:
    lines = (
        f"GET {PATH} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: aGFsZm1pbnV0ZSBjcm93ZA==",
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}",
        f"Authorization: Bearer {token}",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
