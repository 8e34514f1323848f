"""One fuzzed connection: sends frames, and records their answers and how the connection ended."""

from contextlib import suppress
from typing import Any

import msgspec
import trio

from server.broadcast.codec import Encoding
from server.loadtest.client.frames import BINARY, CLOSE, PING, PONG, TEXT, HandshakeError, masked_frame, shake_hands
from tests.fuzz.frames import Frame
from tests.torture.raw import Raw

ANSWERS = {"ok", "error", "pong", "session:ready", "room:joined"}
OPEN_SECONDS = 5.0
LOST = 1006  # no Close frame (RFC 6455 §7.1.5)


class NotOpen(Exception):
    """Raised if the server accepts no connection or session at the moment."""


class FuzzedConnection:
    """A session of one user in one encoding. It does not reopen itself: callers check `is_open` and call `open`."""

    def __init__(self, nursery: trio.Nursery, url: str, role: str, token: str, encoding: Encoding) -> None:
        self.role = role
        self.encoding = encoding
        self.token = token
        self.member_ids: dict[str, str] = {}  # by channel
        self.events: dict[str, int] = {}  # the number of events of each kind
        self.refusals: dict[str, int] = {}
        self.ends: list[int] = []  # the codes of closed connections, in order, that were not read yet
        self.sent = 0
        self._nursery = nursery
        self._url = url
        self._raw: Raw | None = None
        self._awaited: set[str] = set()
        self._nameless = 0  # frames whose answer carries no ref of this connection
        self._changed = trio.Event()

    @property
    def is_open(self) -> bool:
        return self._raw is not None

    @property
    def unanswered(self) -> list[str]:
        return sorted(self._awaited) + ["without a ref"] * max(0, self._nameless)

    async def open(self) -> None:
        """Open a new session. Raises NotOpen."""
        await self.connect()
        await self.send(self._open_frame())
        with trio.move_on_after(OPEN_SECONDS):
            while self.is_open and "opening" in self._awaited:
                await self._wait_changed()
        if not self.is_open or self.unanswered:
            raise NotOpen

    async def connect(self) -> None:
        """Connect without opening a session. Raises NotOpen."""
        self._awaited.clear()
        self._nameless = 0
        self.member_ids.clear()
        try:
            with trio.fail_after(OPEN_SECONDS):
                opened, unread = await shake_hands(self._url, self.encoding)
        except (OSError, HandshakeError, trio.TooSlowError):
            raise NotOpen from None
        sock = trio.socket.from_stdlib_socket(opened)
        self._raw = Raw(sock, unread, self.encoding)
        self._nursery.start_soon(self._read, self._raw, sock)

    def _open_frame(self) -> Frame:
        message = {"type": "session:open", "token": self.token, "ref": "opening"}
        codec = msgspec.json if self.encoding is Encoding.JSON else msgspec.msgpack
        return Frame(codec.encode(message), self.encoding is Encoding.JSON, "opening")

    async def send(self, frame: Frame) -> None:
        """Send a frame without waiting for its answer. A close is recorded by the reader task."""
        if self._raw is None:
            return
        self.sent += 1
        if frame.ref is None:
            self._nameless += 1
        else:
            self._awaited.add(frame.ref)
        with suppress(OSError):  # the reader task records how it ended
            await self._raw.send(masked_frame(TEXT if frame.is_text else BINARY, frame.payload))

    async def ask(self, kind: str, ref: str, **fields: Any) -> None:
        """Send a valid command."""
        codec = msgspec.json if self.encoding is Encoding.JSON else msgspec.msgpack
        message = {"type": kind, "ref": ref, **fields}
        await self.send(Frame(codec.encode(message), self.encoding is Encoding.JSON, ref))

    async def settle(self, seconds: float) -> bool:
        """Wait until every frame is answered or the connection has ended. Return False after `seconds`."""
        with trio.move_on_after(seconds):
            while self.is_open and self.unanswered:
                await self._wait_changed()
        return not self.is_open or not self.unanswered

    async def hang_up(self) -> None:
        """Reset the connection without a Close frame."""
        if self._raw is not None:
            self._raw.reset()
            while self.is_open:
                await self._wait_changed()
            self.ends.pop()

    async def _wait_changed(self) -> None:
        self._changed = trio.Event()
        await self._changed.wait()

    async def _read(self, raw: Raw, sock: trio.socket.SocketType) -> None:
        code = LOST
        try:
            while (frame := await raw.next_frame()) is not None:
                opcode, payload = frame
                if opcode == CLOSE:
                    code = int.from_bytes(payload[:2], "big")
                    await raw.send(masked_frame(CLOSE, payload[:2]))
                elif opcode == PING:
                    await raw.send(masked_frame(PONG, payload))
                else:
                    self._take(payload)
        except (OSError, trio.ClosedResourceError):
            pass
        finally:
            sock.close()
            self._raw = None
            self.ends.append(code)
            self._changed.set()

    def _take(self, payload: bytes) -> None:
        event: dict[str, Any] = (msgspec.json if self.encoding is Encoding.JSON else msgspec.msgpack).decode(payload)
        kind, ref = event["type"], event.get("ref")
        self.events[kind] = self.events.get(kind, 0) + 1
        if kind == "room:joined":
            self.member_ids[event["channel"]] = event["memberId"]
        if kind == "error":
            self.refusals[event["error"]] = self.refusals.get(event["error"], 0) + 1
        if kind in ANSWERS:
            if isinstance(ref, str) and ref in self._awaited:
                self._awaited.discard(ref)
            else:
                self._nameless -= self._nameless > 0
            self._changed.set()
