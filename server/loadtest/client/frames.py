"""A minimal websocket client: unfragmented frames in both directions (RFC 6455).

For passive members, of which a process holds thousands: a full websocket library takes many times the memory and CPU.
It relies on this server's frames and is no general client.
"""

import socket
from urllib.parse import urlsplit

from server.broadcast.codec import Encoding
from server.loadtest.client.sockets import open_socket, receive, send_all

READ_BYTES = 65_536  # of one socket at once: many frames if the reader is behind
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_FIN, _MASKED = 0x80, 0x80
_NO_MASK = bytes(4)  # clients must mask; a mask of zeros leaves the payload as it is


class HandshakeError(Exception):
    """The server refused the handshake or closed the connection during it."""


async def shake_hands(url: str, encoding: Encoding, token: str | None = None) -> tuple[socket.socket, bytes]:
    """Open a websocket; return the socket, which does not block, and the bytes that followed the handshake.

    `token` is sent as a bearer token. The accept key of the answer is not checked.
    Raises HandshakeError, OSError. The socket is closed after an exception or a cancellation.
    """
    address = urlsplit(url)
    sock = await open_socket(url)
    try:
        await send_all(sock, _upgrade(address.netloc, address.path, encoding, token))
        head, unread = await _read_head(sock)
        if not head.startswith(b"HTTP/1.1 101"):
            raise HandshakeError(head.decode("latin-1").partition("\r\n")[0])
    except BaseException:
        sock.close()
        raise
    return sock, unread


class Frames:
    """Splits the bytes of a server into frames; this server neither masks nor fragments messages."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def take(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return the frames that `data` completes, as opcode and payload; the rest is kept for the next call."""
        self._bytes += data
        frames, begin = [], 0
        while (position := self._payload_at(begin)) is not None:
            start, end = position
            frames.append((self._bytes[begin] & 0x0F, bytes(self._bytes[start:end])))
            begin = end
        del self._bytes[:begin]
        return frames

    def _payload_at(self, begin: int) -> tuple[int, int] | None:
        """Return start and end of the payload of the frame at `begin`, or None if it is incomplete."""
        if len(self._bytes) < begin + 2:
            return None
        length, start = self._bytes[begin + 1], begin + 2
        if length >= 126:
            start += 2 if length == 126 else 8
            length = int.from_bytes(self._bytes[begin + 2 : start], "big")
        end = start + length
        return (start, end) if len(self._bytes) >= end else None


def masked_frame(opcode: int, payload: bytes) -> bytes:
    """Return a masked frame with FIN, as clients must send it (RFC 6455 §5.3).

    A client should choose random masks, against caches that mistake frames for HTTP; a load test needs none.
    """
    length = len(payload)
    if length < 126:
        head = bytes((_FIN | opcode, _MASKED | length))
    elif length < 1 << 16:
        head = bytes((_FIN | opcode, _MASKED | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((_FIN | opcode, _MASKED | 127)) + length.to_bytes(8, "big")
    return head + _NO_MASK + payload


async def _read_head(sock: socket.socket) -> tuple[bytes, bytes]:
    """The head of the server's answer, and what followed it. Raises HandshakeError at the end of the input."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = await receive(sock, READ_BYTES)
        if not data:
            raise HandshakeError(f"closed after {answer!r}")
        answer += data
    head, _, unread = answer.partition(b"\r\n\r\n")
    return head, unread


def _upgrade(host: str, path: str, encoding: Encoding, token: str | None) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: aGFsZm1pbnV0ZSBjcm93ZA==",
        f"Sec-WebSocket-Protocol: {encoding.value}",
    ]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
