"""Serves one halfminute room: the real listener, handshakes, send queues and fan-out, with members that only receive.

`python -m tests.bench.fanout.ours [mixed] PORT`; with `mixed` every other member speaks MessagePack. The line "EVENTS
EVENTS_A_WRITE" on standard input publishes that many events, EVENTS_A_WRITE of them between two flushes; the answer is
the time at which it began. After "EVENTS EVENTS_A_WRITE watched" a second line says how late the blocks of another room
were meanwhile, in milliseconds: the 99th percentile and the maximum.
"""

import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle
from uuid import uuid4

import msgspec
import trio
from trio_websocket import ConnectionClosed, wrap_server_stream

from domain.ids import MemberId
from domain.protocol.events import SequencedEvent
from server.broadcast.codec import Encoding
from server.broadcast.fanout import Fanout
from server.broadcast.history import History
from server.broadcast.idle_sockets import IdleSockets
from server.broadcast.send_queue import SendQueue
from server.config.listen_address import Address
from server.config.settings import RoomSettings, WebsocketSettings
from server.gateway.connection_limits import Admission, ConnectionLimits
from server.gateway.frame_reader import QUEUED_MESSAGES
from server.gateway.listener import Listener, open_listener
from server.observability.faults import Faults
from server.observability.memory import freeze_objects
from server.observability.memory_limit import MemoryLimit
from server.observability.metrics import Metrics
from tests.bench.turn import percentile

EVENT_BYTES = 200
CHANNEL = "0123456789abcdef0123456789abcdef"
AT = "2026-01-01T00:00:00.000000Z"
FIRST_SEQ = 1_000_000  # always seven digits
HEAD_BYTES = 4  # of a frame of this size
MIXED, WATCHED = "mixed", "watched"
BLOCK_SECONDS = 0.002  # between two blocks of the other room; it takes next to nothing to wait for one


class BenchEvent(SequencedEvent, frozen=True, kw_only=True, tag="bench:said"):
    text: str


def bench_event(seq: int, text: str) -> BenchEvent:
    return BenchEvent(channel=CHANNEL, seq=seq, at=AT, text=text)


TEXT = "x" * (EVENT_BYTES - len(msgspec.json.encode(bench_event(FIRST_SEQ, ""))))
FRAME_BYTES = {encoding: len(encoding.frame(bench_event(FIRST_SEQ, TEXT))) for encoding in Encoding}
assert FRAME_BYTES[Encoding.JSON] == HEAD_BYTES + EVENT_BYTES


class Connection:
    """A member's connection, as far as a broadcast needs it."""

    __slots__ = ("connection", "encoding", "send_queue")

    def __init__(self, send_queue: SendQueue, encoding: Encoding) -> None:
        self.encoding = encoding
        self.send_queue = send_queue
        self.connection = self

    def is_member_of(self, fanout: Fanout) -> bool:
        """Return that every connection is a member of the one room."""
        return True


class Room:
    """The members, and the task that publishes."""

    def __init__(self, nursery: trio.Nursery, encodings: Sequence[Encoding]) -> None:
        settings = RoomSettings()
        self._encodings = cycle(encodings)
        self._nursery = nursery
        self._idle_sockets = IdleSockets()  # not run: these members send no Pong
        self._connections: dict[MemberId, Connection] = {}
        history = History(settings.history_seconds, settings.history_events)
        count = Metrics().events_delivered
        self._fanout = Fanout(self._connections, history, self._spawn, nursery.cancel_scope.cancel, count)
        self._fanout.begin(1)
        self._idle = trio.Event()
        self._idle.set()
        self._seq = FIRST_SEQ

    async def serve(self, sock: socket.socket, _: Admission) -> None:
        """Serve one accepted socket as a member until it is closed."""
        settings, member_id = WebsocketSettings(), MemberId(uuid4())
        async with trio.open_nursery() as nursery:
            send_queue = SendQueue(
                sock,
                nursery,
                self._idle_sockets,
                limit=settings.outbox_bytes,
                close_seconds=settings.close_seconds,
            )
            request = await wrap_server_stream(
                nursery, send_queue, message_queue_size=QUEUED_MESSAGES, max_message_size=settings.max_frame_bytes
            )
            websocket = await request.accept()
            self._connections[member_id] = Connection(send_queue, next(self._encodings))
            self._fanout.add(member_id)
            try:
                while True:
                    await websocket.get_message()
            except ConnectionClosed:
                self._fanout.remove(member_id)
            await send_queue.aclose()
            nursery.cancel_scope.cancel()

    async def publish(self, events: int, events_a_write: int) -> None:
        """Publish events; each write has reached all members or their send queues before the next begins."""
        for begun in range(0, events, events_a_write):
            for _ in range(min(events_a_write, events - begun)):
                self._seq += 1
                self._fanout.publish(bench_event(self._seq, TEXT))
            self._fanout.flush()
            await self._idle.wait()

    async def publish_watched(self, events: int, events_a_write: int) -> list[float]:
        """Publish events, and return how late each block of another room was, in milliseconds."""
        late_ms: list[float] = []
        async with trio.open_nursery() as other_room:
            other_room.start_soon(_charge_blocks, late_ms)
            await self.publish(events, events_a_write)
            # A few events may be published before the first block is due.
            while not late_ms:  # noqa: ASYNC110  # reason: a bench that waits for one of many blocks
                await trio.sleep(BLOCK_SECONDS)
            other_room.cancel_scope.cancel()
        return late_ms

    def _spawn(self, go_on: Callable[[], Awaitable[None]], fail: Callable[[], None]) -> None:
        async def run() -> None:
            await go_on()
            self._idle.set()

        self._idle = trio.Event()
        self._nursery.start_soon(run)


async def _charge_blocks(late_ms: list[float]) -> None:
    """Run another room's clock. Only this process's own work makes a block late, not other processes on its core."""
    while True:
        due_at, worked = trio.current_time() + BLOCK_SECONDS, time.thread_time()
        await trio.sleep_until(due_at)
        late_ms.append(min(trio.current_time() - due_at, time.thread_time() - worked) * 1000)


async def main(port: int, encodings: Sequence[Encoding]) -> None:
    """Serve until standard input ends."""
    settings = WebsocketSettings()
    async with trio.open_nursery() as nursery:
        room = Room(nursery, encodings)
        listener = open_listener(Address("127.0.0.1", port))
        limits = ConnectionLimits(settings.connections, 100)
        accepting = Listener(
            listener,
            room.serve,
            limits,
            settings.send_buffer_bytes,
            Faults(Metrics()),
            MemoryLimit(),
        )
        nursery.start_soon(accepting.run, nursery)
        freeze_objects()
        print("LISTENING", flush=True)
        while order := await trio.to_thread.run_sync(sys.stdin.readline):
            events, events_a_write, *watched = order.split()
            print(f"BEGAN {time.monotonic():.9f}", flush=True)
            if watched:
                late_ms = await room.publish_watched(int(events), int(events_a_write))
                print(f"LATE {percentile(late_ms, 0.99):.3f} {max(late_ms):.3f}", flush=True)
            else:
                await room.publish(int(events), int(events_a_write))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[-1]), tuple(Encoding) if MIXED in sys.argv else (Encoding.JSON,))
