"""A websocket as raw bytes: it can send anything, and records how the server ends the connection."""

import struct
import time
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from typing import Any
from uuid import UUID

import msgspec
import trio

from server.access.tokens import issue_token
from server.broadcast.codec import Encoding
from server.close_codes import CloseCode
from server.ids import new_uuid
from server.loadtest.client.client import Event
from server.loadtest.client.frames import BINARY, CLOSE, PING, PONG, READ_BYTES, TEXT, Frames, masked_frame, shake_hands

END_SECONDS_MAX = 30.0
PAUSE_SECONDS = 0.1
LITTLE_BYTES = 4096  # receive buffer of a client that does not read
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time
ABNORMAL_CLOSURE = None


class Target:
    """The target of an attack: a server, and a public live room on it."""

    def __init__(self, port: int, secret: str, channel: str) -> None:
        self.port = port
        self.channel = channel
        self._secret = secret

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def token(self, user_id: UUID | None = None, ttl_seconds: int = 3600) -> str:
        """Return a token of this user, or of a user whom the server has not seen before."""
        return issue_token(self._secret, user_id or new_uuid(), ttl_seconds=ttl_seconds, now=time.time())


class Raw:
    """A connection after its handshake."""

    def __init__(self, sock: trio.socket.SocketType, unread: bytes, encoding: Encoding) -> None:
        self.encoding = encoding
        self._sock = sock
        self._frames = Frames()
        self._unread = self._frames.take(unread)

    async def send(self, data: bytes) -> None:
        """Send bytes unchanged. Raises OSError once the server has closed the connection."""
        view = memoryview(data)
        while view:
            view = view[await self._sock.send(view) :]

    async def send_command(self, kind: str, **fields: Any) -> None:
        """Send a valid command."""
        await self.send(self.frame({"type": kind, **fields}))

    def frame(self, message: Any) -> bytes:
        return self.frame_of((msgspec.json if self.encoding is Encoding.JSON else msgspec.msgpack).encode(message))

    def frame_of(self, payload: bytes) -> bytes:
        """Return a frame of the subprotocol's opcode with any payload."""
        return masked_frame(TEXT if self.encoding is Encoding.JSON else BINARY, payload)

    async def wait_for(self, kind: str | None, **fields: Any) -> Event:
        """Return the next event of a kind, or of any; pings are answered meanwhile, and other events are discarded."""
        while (frame := await self.next_frame()) is not None:
            opcode, payload = frame
            if opcode == PING:
                await self.send(masked_frame(PONG, payload))
            elif opcode in (TEXT, BINARY):
                event = self._decoded(payload)
                if kind in (None, event["type"]) and fields.items() <= event.items():
                    return event
        raise AssertionError(f"the server hung up before {kind or fields}")

    async def ask(self, kind: str, **fields: Any) -> Event:
        """Return the answer to a command, which is repeated while a flood fills the room's inbox."""
        while True:
            await self.send_command(kind, ref="asked", **fields)
            answer = await self.wait_for(None, ref="asked")
            if answer.get("error") != "OVERLOADED":
                return answer
            await trio.sleep(PAUSE_SECONDS)

    async def hang_up(self) -> int | None:
        """Send a Close frame and wait for the server's."""
        await self.send(masked_frame(CLOSE, CloseCode.NORMAL.to_bytes(2, "big")))
        return await self.end()

    async def end(self) -> int | None:
        """Read to the end without answering. Return the code of the Close frame, if there is one."""
        code = ABNORMAL_CLOSURE
        with trio.fail_after(END_SECONDS_MAX):
            while (frame := await self.next_frame()) is not None:
                opcode, payload = frame
                if opcode == CLOSE:
                    code = int.from_bytes(payload[:2], "big")
        return code

    async def next_frame(self) -> tuple[int, bytes] | None:
        """Return the next frame's opcode and payload, or None once the server has closed the connection."""
        while not self._unread:
            try:
                data = await self._sock.recv(READ_BYTES)
            except ConnectionError:
                return None
            if not data:
                return None
            self._unread = self._frames.take(data)
        return self._unread.pop(0)

    def reset(self) -> None:
        """Reset the connection."""
        self._sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, RESET_ON_CLOSE)
        self._sock.close()

    def read_little(self) -> None:
        """Shrink the receive buffer of a client that does not read."""
        self._sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, LITTLE_BYTES)

    def _decoded(self, payload: bytes) -> Event:
        event: Event = (msgspec.json if self.encoding is Encoding.JSON else msgspec.msgpack).decode(payload)
        return event


@asynccontextmanager
async def raw_websocket(target: Target, encoding: Encoding) -> AsyncIterator[Raw]:
    """Yield a connection after its handshake, before the first message."""
    opened, unread = await shake_hands(target.url, encoding)
    with trio.socket.from_stdlib_socket(opened) as sock:
        yield Raw(sock, unread, encoding)


@asynccontextmanager
async def raw_session(target: Target, encoding: Encoding, token: str | None = None) -> AsyncIterator[Raw]:
    """Return a connection with an open session."""
    async with raw_websocket(target, encoding) as raw:
        await raw.send_command("session:open", token=token or target.token())
        await raw.wait_for("session:ready")
        yield raw


@asynccontextmanager
async def raw_member(target: Target, encoding: Encoding) -> AsyncIterator[Raw]:
    """Return a connection whose session has joined the room."""
    async with raw_session(target, encoding) as raw:
        joined = await raw.ask("room:join", channel=target.channel)
        assert joined["type"] == "room:joined", joined
        yield raw


def until_hung_up() -> AbstractContextManager[None]:
    """Ignore the errors of a send to a server that has closed the connection."""
    return suppress(OSError, trio.BrokenResourceError)
