"""Passive room members, thousands at little cost: one task reads all their sockets.

A task and a library object for each member would make the load program slower than the server that it measures.
"""

import select
import socket
from contextlib import suppress
from uuid import UUID

import msgspec
import trio

from server.broadcast.codec import Encoding
from server.loadtest.client.close_codes import ABNORMAL_CLOSURE, NORMAL, may_reconnect
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
from server.loadtest.client.reconnect import reconnect
from server.loadtest.client.sockets import WANTS_INPUT
from server.loadtest.measures.figures import LoadCounts

AT_ONCE = 256  # sockets read before other tasks run: a few milliseconds
RECENT_EVENTS = 512  # more than are in flight to the members of one room
ANSWER_SECONDS = 20.0  # a server takes handshakes, and a room its members, one after the other


class NotJoined(Exception):
    """A member was refused; the reason is counted in the errors."""


class Head(msgspec.Struct, rename="camel"):
    """The fields of an event that a passive member needs."""

    type: str
    seq: int | None = None
    epoch: int = 0
    error: str = ""
    session_id: UUID | None = None
    lost: list[str] = []


class PassiveMember:
    """A member that joins a room and counts the events that it receives.

    After a lost connection it resumes its session, and so notices events that are missing. It has no task of its own.
    """

    __slots__ = (
        "_answered",
        "_frames",
        "_passive_members",
        "_session_id",
        "_sock",
        "_token",
        "channel",
        "close_code",
        "opened",
        "over",
        "position",
    )

    def __init__(self, passive_members: "PassiveMembers", token: str) -> None:
        self.position = ReadPosition()
        self.channel = ""
        self.opened = False  # whether the latest connection has its session
        self.over = trio.Event()  # set once the session is open or the connection has ended
        self._answered = trio.Event()  # set by the answer to the join
        self.close_code: int | None = None
        self._passive_members = passive_members
        self._token = token
        self._session_id: UUID | None = None
        self._sock: socket.socket
        self._frames = Frames()

    async def connect(self) -> None:
        """Open a session, or resume the lost one, and wait for `session:ready`. Raises one of NOT_CONNECTED."""
        self._sock, unread = await shake_hands(self._passive_members.url, self._passive_members.encoding)
        self._frames = Frames()
        self.opened, self.over, self.close_code = False, trio.Event(), None
        self._passive_members.watch(self, self._sock)
        self.send({"type": "session:open", "token": self._token, **self._resume()})
        self._handle(unread)
        with trio.fail_after(ANSWER_SECONDS):
            await self.over.wait()
        if not self.opened:
            raise HandshakeError(f"closed with {self.close_code}")

    async def join(self, channel: str) -> None:
        """Join a room and wait for the answer. Raises NotJoined, trio.TooSlowError."""
        self.channel = channel
        self.send({"type": "room:join", "channel": channel})
        with trio.fail_after(ANSWER_SECONDS):
            await self._answered.wait()
        if not self.position.epoch:
            raise NotJoined

    def send_close(self) -> None:
        """Send a Close frame, so that the server does not keep the session. Does not wait for an answer."""
        self._send(CLOSE, NORMAL.to_bytes(2, "big"))

    def read(self) -> bool:
        """Read and handle the available bytes, at most READ_BYTES; return False if the connection has ended."""
        try:
            data = self._sock.recv(READ_BYTES)
        except WANTS_INPUT:
            return True
        except OSError:
            data = b""
        self._handle(data)
        return bool(data) and self.close_code is None

    def _handle(self, data: bytes) -> None:
        for opcode, payload in self._frames.take(data):
            if opcode in (TEXT, BINARY):
                self.on_event(self._passive_members.decode(payload))
            elif opcode == PING:
                self._send(PONG, payload)
            elif opcode == CLOSE:
                self.close_code = int.from_bytes(payload[:2], "big")

    def on_event(self, event: Head) -> None:
        """Count an event and update the state of the member."""
        if event.type == "room:joined":
            self.position.begin(event.epoch, event.seq or 0)
            self._answered.set()
        elif event.seq is not None:
            self.position.take(event.seq)
            self._passive_members.counts.deliveries += 1
        elif event.type == "session:ready":
            self._session_id = event.session_id
            self.opened = True
            self.over.set()
            if event.lost:
                self._passive_members.counts.errors["a room was lost on reconnecting"] += 1
        elif event.type == "error":
            self._passive_members.counts.errors[event.error] += 1
            self._answered.set()

    def _resume(self) -> dict[str, object]:
        if self._session_id is None:
            return {}
        position = {"channel": self.channel, "epoch": self.position.epoch, "seq": self.position.seq}
        return {"resume": {"sessionId": self._session_id, "channels": [position] if self.position.epoch else []}}

    def send(self, message: dict[str, object]) -> None:
        """Send a command without waiting for its answer."""
        if self._passive_members.encoding is Encoding.JSON:
            self._send(TEXT, msgspec.json.encode(message))
        else:
            self._send(BINARY, msgspec.msgpack.encode(message))

    def _send(self, opcode: int, payload: bytes) -> None:
        with suppress(OSError):  # a broken connection is found by its reader
            self._sock.send(masked_frame(opcode, payload))  # small enough for an empty send buffer


class PassiveMembers:
    """All passive members; one epoll object watches their sockets, and trio waits for that object.

    `head` is the struct that events are decoded into. Members reconnect in `nursery`. Linux only.
    """

    def __init__(
        self, url: str, encoding: Encoding, counts: LoadCounts, nursery: trio.Nursery, head: type[Head] = Head
    ) -> None:
        self.url = url
        self.encoding = encoding
        self.counts = counts
        self._decoder = (msgspec.json if encoding is Encoding.JSON else msgspec.msgpack).Decoder(head)
        self._recent: dict[bytes, Head] = {}
        self._nursery = nursery
        self._epoll = select.epoll()
        self._by_fd: dict[int, tuple[PassiveMember, socket.socket]] = {}

    def watch(self, member: PassiveMember, sock: socket.socket) -> None:
        """Read the socket of a member from now on, until it ends."""
        self._by_fd[sock.fileno()] = member, sock
        self._epoll.register(sock, select.EPOLLIN)

    def decode(self, payload: bytes) -> Head:
        """Decode an event. All members of a room get the same bytes, so that a cache is cheaper than decoding."""
        head = self._recent.get(payload)
        if head is None:
            if len(self._recent) == RECENT_EVENTS:
                self._recent.clear()
            head = self._recent[payload] = self._decoder.decode(payload)
        return head

    async def run(self) -> None:
        """Read all sockets until cancelled, then close all connections."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for fd, _ in self._epoll.poll(0, AT_ONCE):
                    member, sock = self._by_fd[fd]
                    if not member.read():
                        self._forget(member, sock)
        finally:
            for member, sock in self._by_fd.values():
                member.send_close()
                sock.close()
            self._epoll.close()

    def _forget(self, member: PassiveMember, sock: socket.socket) -> None:
        """Close the socket of a lost connection, count it, and let the member reconnect if its code allows that."""
        del self._by_fd[sock.fileno()]
        sock.close()  # this also removes it from the epoll object
        self.counts.errors[f"closed with {member.close_code or ABNORMAL_CLOSURE}"] += 1
        member.over.set()
        if member.opened and may_reconnect(member.close_code):
            self._nursery.start_soon(reconnect, member.connect, self.counts)
