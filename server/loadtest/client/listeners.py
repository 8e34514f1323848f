"""Members that only listen, thousands of them at little cost: one task reads all their sockets."""

import select
import socket
from contextlib import suppress
from uuid import UUID

import msgspec
import trio

from server.broadcast.codec import Encoding
from server.loadtest.client.client import NO_GOODBYE, NORMAL, may_come_back
from server.loadtest.client.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    READ_BYTES,
    TEXT,
    Frames,
    HandshakeError,
    masked_frame,
    shake_hands,
)
from server.loadtest.client.positions import ReadPosition
from server.loadtest.client.reconnect import come_back
from server.loadtest.measures.figures import Tally

AT_ONCE = 256  # sockets that are read before others run: a few milliseconds
RECENT_EVENTS = 512  # more than are on their way to the members of one room at once
ANSWER_SECONDS = 20.0  # a server takes handshakes, and a room its members, one after the other


class NotJoined(Exception):
    """A member was refused; why is counted with the errors."""


class Head(msgspec.Struct, rename="camel"):
    """As much of an event as a listener needs."""

    type: str
    seq: int | None = None
    epoch: int = 0
    error: str = ""
    session_id: UUID | None = None
    lost: list[str] = []


class Listener:
    """One member: it joins a room and counts what it hears there."""

    __slots__ = (
        "_answered",
        "_frames",
        "_listeners",
        "_session_id",
        "_sock",
        "_token",
        "channel",
        "close_code",
        "opened",
        "over",
        "position",
    )

    def __init__(self, listeners: "Listeners", token: str) -> None:
        self.position = ReadPosition()
        self.channel = ""
        self.opened = False  # the latest connection has its session
        self.over = trio.Event()  # or will never have one
        self._answered = trio.Event()  # its wish to join
        self.close_code: int | None = None
        self._listeners = listeners
        self._token = token
        self._session_id: UUID | None = None
        self._sock: socket.socket
        self._frames = Frames()

    async def connect(self) -> None:
        """Open a session, or go on with the one that was lost. Raises as NOT_CONNECTED says."""
        sock, unread = await shake_hands(self._listeners.url, self._listeners.encoding)
        self._sock, self._frames = socket.socket(fileno=sock.detach()), Frames()
        self.opened, self.over, self.close_code = False, trio.Event(), None
        self._listeners.watch(self, self._sock)
        self.say({"type": "session:open", "token": self._token, **self._resume()})
        self._take(unread)
        with trio.fail_after(ANSWER_SECONDS):
            await self.over.wait()
        if not self.opened:
            raise HandshakeError(f"closed with {self.close_code}")

    async def join(self, channel: str) -> None:
        """Returns once it is a member. Raises NotJoined, or trio.TooSlowError."""
        self.channel = channel
        self.say({"type": "room:join", "channel": channel})
        with trio.fail_after(ANSWER_SECONDS):
            await self._answered.wait()
        if not self.position.epoch:
            raise NotJoined

    def say_goodbye(self) -> None:
        """The session is not to wait for anybody."""
        self._send(CLOSE, NORMAL.to_bytes(2, "big"))

    def read(self) -> bool:
        """What has come; False if that was the end."""
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        self._take(data)
        return bool(data) and self.close_code is None

    def _take(self, data: bytes) -> None:
        for opcode, payload in self._frames.take(data):
            if opcode in (TEXT, BINARY):
                self.hear(self._listeners.decode(payload))
            elif opcode == PING:
                self._send(PONG, payload)
            elif opcode == CLOSE:
                self.close_code = int.from_bytes(payload[:2], "big")

    def hear(self, event: Head) -> None:
        """An event of the server's."""
        if event.type == "room:joined":
            self.position.begin(event.epoch, event.seq or 0)
            self._answered.set()
        elif event.seq is not None:
            self.position.take(event.seq)
            self._listeners.tally.deliveries += 1
        elif event.type == "session:ready":
            self._session_id = event.session_id
            self.opened = True
            self.over.set()
            if event.lost:
                self._listeners.tally.errors["a room was lost on coming back"] += 1
        elif event.type == "error":
            self._listeners.tally.errors[event.error] += 1
            self._answered.set()

    def _resume(self) -> dict[str, object]:
        if self._session_id is None:
            return {}
        position = {"channel": self.channel, "epoch": self.position.epoch, "seq": self.position.seq}
        return {"resume": {"sessionId": self._session_id, "channels": [position] if self.position.epoch else []}}

    def say(self, message: dict[str, object]) -> None:
        """A command, for whose answer nobody waits."""
        if self._listeners.encoding is Encoding.JSON:
            self._send(TEXT, msgspec.json.encode(message))
        else:
            self._send(BINARY, msgspec.msgpack.encode(message))

    def _send(self, opcode: int, payload: bytes) -> None:
        with suppress(OSError):  # a broken connection is found by its reader
            self._sock.send(masked_frame(opcode, payload))  # so little fits into an empty send buffer


class Listeners:
    """All of them, their sockets in one epoll that itself is waited for."""

    def __init__(
        self, url: str, encoding: Encoding, tally: Tally, nursery: trio.Nursery, head: type[Head] = Head
    ) -> None:
        self.url = url
        self.encoding = encoding
        self.tally = tally
        self._decoder = (msgspec.json if encoding is Encoding.JSON else msgspec.msgpack).Decoder(head)
        self._recent: dict[bytes, Head] = {}
        self._nursery = nursery
        self._epoll = select.epoll()
        self._by_fd: dict[int, tuple[Listener, socket.socket]] = {}

    def watch(self, listener: Listener, sock: socket.socket) -> None:
        """Read it from here on, until it ends."""
        self._by_fd[sock.fileno()] = listener, sock
        self._epoll.register(sock, select.EPOLLIN)

    def decode(self, payload: bytes) -> Head:
        """What all members of a room are sent is the same bytes: to know them again costs less than to read them."""
        head = self._recent.get(payload)
        if head is None:
            if len(self._recent) == RECENT_EVENTS:
                self._recent.clear()
            head = self._recent[payload] = self._decoder.decode(payload)
        return head

    async def run(self) -> None:
        """Until cancelled; then all of them hang up."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for fd, _ in self._epoll.poll(0, AT_ONCE):
                    listener, sock = self._by_fd[fd]
                    if not listener.read():
                        self._forget(listener, sock)
        finally:
            for listener, sock in self._by_fd.values():
                listener.say_goodbye()
                sock.close()
            self._epoll.close()

    def _forget(self, listener: Listener, sock: socket.socket) -> None:
        del self._by_fd[sock.fileno()]
        sock.close()  # which takes it out of the epoll
        self.tally.errors[f"closed with {listener.close_code or NO_GOODBYE}"] += 1
        listener.over.set()
        if listener.opened and may_come_back(listener.close_code):
            self._nursery.start_soon(come_back, listener.connect, self.tally)
