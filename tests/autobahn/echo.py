"""An echo in place of the protocol, for Autobahn's fuzzing client; all code below it is the server's own.

`python -m tests.autobahn.echo PORT alone|beside`. A message is sent back as one frame. With `beside` the server
also has other work:

- Other connections are members of one fan-out, and receive events as fast as they can acknowledge them.
- Each echo stands between two pings, which are put into the same send queue as those of a heartbeat. A ping in the
  middle of one of the client's frames would make it put its pong into that frame. An event between two echoes would be
  a failure, since the client accepts only its own messages.
- The kernel takes few bytes at a time, so that frames wait and are sent in parts.
"""

import sys
from functools import partial
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import msgspec
import trio

from domain.ids import MemberId
from domain.protocol.events import SequencedEvent
from server.broadcast.codec import PING_FRAME, Encoding
from server.broadcast.fanout import Fanout
from server.broadcast.history import History
from server.broadcast.idle_sockets import IdleSockets
from server.broadcast.send_queue import SendQueue
from server.config.listen_address import Address
from server.config.settings import LimitSettings, RoomSettings, Settings, WebsocketSettings
from server.gateway import connection
from server.gateway.connection_limits import ConnectionLimits
from server.gateway.listener import Listener, open_listener
from server.observability.faults import Faults
from server.observability.memory_limit import MemoryLimit
from server.observability.metrics import Metrics

BESIDE = "beside"
CHANNEL = "members"  # the Authorization header of the fan-out's members
MEMBERS = 8
EVENTS_AT_ONCE = 100  # of 200 bytes: far below what a send queue holds
TEXT = "x" * 120
AT = "2026-01-01T00:00:00.000Z"
MESSAGE_BYTES = 16 * 1024 * 1024  # the largest of group 9, and the most that our settings allow
OUTBOX_BYTES = 64 * 1024 * 1024  # the most as well: a sender of such messages is not slow
PONGS_PER_SECOND = 1_000_000  # from the ping before a message to the one behind it
FEW_BYTES = 4096  # the least


class EchoEvent(SequencedEvent, frozen=True, kw_only=True, tag="autobahn:said"):
    text: str


class EchoFanout:
    """A fan-out that publishes EVENTS_AT_ONCE events each time that all members have asked for more."""

    def __init__(self, nursery: trio.Nursery) -> None:
        rooms = RoomSettings()
        self._members: dict[MemberId, Echo] = {}
        self._fanout = Fanout(
            self._members,
            History(rooms.history_seconds, rooms.history_events),
            lambda go_on, _: nursery.start_soon(go_on),
            nursery.cancel_scope.cancel,
            lambda _: None,
        )
        self._fanout.begin(1)
        self._asked = 0

    def add(self, member: "Echo") -> None:
        member_id = MemberId(uuid4())
        self._members[member_id] = member
        self._fanout.add(member_id)

    def ask(self) -> None:
        self._asked += 1
        if self._asked == MEMBERS:
            self._asked = 0
            for _ in range(EVENTS_AT_ONCE):
                self._fanout.publish(EchoEvent(channel=CHANNEL, seq=self._fanout.last_seq + 1, at=AT, text=TEXT))
                self._fanout.flush()


class Echo:
    """Replaces the product's ClientProtocol: echoes messages, or is a member of the fan-out."""

    def __init__(self, context: Any, send_queue: SendQueue, encoding: Encoding, *, limited: bool) -> None:
        self._echo_fanout: EchoFanout = context.echo_fanout
        self._beside: bool = context.beside
        self._joined = False
        self.encoding = encoding
        self.send_queue = send_queue

    @property
    def connection(self) -> "Echo":
        return self

    def is_member_of(self, fanout: Fanout) -> bool:
        return True

    async def open_by_header(self, authorization: str) -> None:
        assert authorization == CHANNEL
        self._joined = True
        self._echo_fanout.add(self)

    async def open_by_message(self, message: str | bytes) -> None:
        await self.handle_message(message)

    async def send_missed_events(self) -> None:
        pass

    async def handle_message(self, message: str | bytes) -> None:
        if self._joined:
            self._echo_fanout.ask()
        elif self._beside:
            for frame in (PING_FRAME, _framed(message), PING_FRAME):
                self.send_queue.push(frame)
        else:
            self.send_queue.push(_framed(message))

    def end(self, code: int | None) -> None:
        pass


def _framed(message: str | bytes) -> bytes:
    """Return the message in a frame of its own opcode."""
    if isinstance(message, str):
        return Encoding.JSON.frame(msgspec.Raw(message.encode()))
    return Encoding.MSGPACK.frame(msgspec.Raw(message))


def _replace(name: str, instead: Any) -> None:
    """Replace a name of `server.gateway.connection`. Raises AssertionError if it has no such name any more."""
    assert name in vars(connection)
    vars(connection)[name] = instead


async def main(port: int, beside: bool) -> None:
    """Serve until the process is ended."""
    settings = WebsocketSettings(
        max_frame_bytes=MESSAGE_BYTES, outbox_bytes=OUTBOX_BYTES, messages_per_second=PONGS_PER_SECOND
    )
    if beside:
        settings = msgspec.structs.replace(settings, send_buffer_bytes=FEW_BYTES)
    _replace("ClientProtocol", Echo)  # the cases then test serve_connection itself
    _replace("first_message_bytes", lambda settings: settings.max_frame_bytes)  # the client opens no session
    async with trio.open_nursery() as nursery:
        exempt = LimitSettings(exempt=("127.0.0.1/32",))
        context: Any = SimpleNamespace(
            settings=msgspec.structs.replace(Settings(), websocket=settings, limits=exempt),
            metrics=(metrics := Metrics()),
            faults=Faults(metrics),
            idle_sockets=IdleSockets(),
            echo_fanout=EchoFanout(nursery),
            beside=beside,
        )
        listener = Listener(
            open_listener(Address("127.0.0.1", port)),
            partial(connection.serve_connection, context),
            ConnectionLimits(settings.connections, 100),
            settings.send_buffer_bytes,
            context.faults,
            MemoryLimit(),
        )
        nursery.start_soon(context.idle_sockets.run)
        nursery.start_soon(listener.run, nursery)
        print("LISTENING", flush=True)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2] == BESIDE)
