"""A connection's send queue: ordered, bounded, and it never blocks the sender."""

import random
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

import pytest
import trio
import trio.testing

from server.broadcast.codec import close_frame
from server.broadcast.idle_sockets import IdleSockets
from server.broadcast.send_queue import SendQueue, push_to_each

LIMIT = 100_000
CLOSE_SECONDS = 10.0
PATIENCE_SECONDS = 60


class Ends(NamedTuple):
    """Both ends of one connection, with small buffers in the kernel."""

    ours: socket.socket
    theirs: socket.socket

    async def read_until(self, last: bytes) -> bytes:
        """Read everything up to these bytes."""
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(self.theirs))
        read = b""
        with trio.fail_after(PATIENCE_SECONDS):
            while not read.endswith(last):
                data = await stream.receive_some()
                assert data, f"it ended with {read[-40:]!r}"
                read += data
        return read


@contextmanager
def connected() -> Iterator[Ends]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        end.setblocking(False)
    yield Ends(ours, theirs)
    ours.close()
    theirs.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    with connected() as ends:
        yield ends


def queue_of(ends: Ends, nursery: trio.Nursery, limit: int = LIMIT, close_seconds: float = CLOSE_SECONDS) -> SendQueue:
    return SendQueue(ends.ours, nursery, IdleSockets(), limit=limit, close_seconds=close_seconds)


async def test_frames_leave_whole_and_in_order_however_slowly_they_are_read(ends: Ends, nursery: trio.Nursery) -> None:
    chance = random.Random(7)
    frames = [bytes([i % 256]) * chance.randint(1, 9_000) for i in range(60)]
    send_queue = queue_of(ends, nursery, limit=10 * LIMIT)
    read: list[bytes] = []
    async with trio.open_nursery() as reading:
        reading.start_soon(_collect, ends, b"the end", read)
        for frame in [*frames, b"the end"]:
            send_queue.push(frame)
            if chance.random() < 0.3:
                await trio.lowlevel.checkpoint()
    assert read[0] == b"".join(frames) + b"the end"


async def test_small_frames_that_wait_are_sent_together(
    ends: Ends, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each in a packet of its own, they would wait for as many acknowledgements of a peer with small buffers."""
    send_queue, sizes = queue_of(ends, nursery), list[int]()
    send = send_queue._send

    def counting(data: bytes) -> int:
        sizes.append(send(data))
        return sizes[-1]

    send_queue.push(b"x" * 50_000)
    monkeypatch.setattr(send_queue, "_send", counting)
    for _ in range(1_000):
        send_queue.push(b"xy")
    send_queue.push(b"the end")
    assert len(await ends.read_until(b"the end")) == 52_007
    assert len(sizes) < 100


async def _collect(ends: Ends, last: bytes, read: list[bytes]) -> None:
    read.append(await ends.read_until(last))


@pytest.mark.parametrize(("frame_bytes", "early_bytes"), [(10_000, 0), (150_000, 0), (150_000, 50_000)])
async def test_a_slow_reader_is_closed_with_its_code_after_the_frame_that_was_begun(
    ends: Ends, nursery: trio.Nursery, frame_bytes: int, early_bytes: int
) -> None:
    send_queue = queue_of(ends, nursery)
    frame = b"x" * frame_bytes
    send_queue.push(frame)
    early, pushed = b"", 1
    while len(early) < early_bytes:
        await trio.lowlevel.wait_readable(ends.theirs)
        early += ends.theirs.recv(1000)
    while not send_queue.closing:
        send_queue.push(frame)
        pushed += 1
        assert pushed * len(frame) < 100 * LIMIT, "it is never closed"
    send_queue.push(b"too late")
    goodbye = close_frame(4001, "slow consumer")
    ends.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 10 * LIMIT)  # for a quicker end
    read = early + await ends.read_until(goodbye)
    whole, rest = divmod(len(read) - len(goodbye), len(frame))
    assert rest == 0 and 0 < whole < pushed
    await trio.testing.wait_all_tasks_blocked()
    send_queue.push(b"later still")
    with pytest.raises(BlockingIOError):
        ends.theirs.recv(1)


async def test_a_reader_that_never_reads_is_aborted(ends: Ends, nursery: trio.Nursery) -> None:
    send_queue = queue_of(ends, nursery, close_seconds=0.1)
    while not send_queue.closing:
        send_queue.push(b"x" * 10_000)
    with trio.fail_after(PATIENCE_SECONDS):
        await send_queue.closed.wait()


async def test_nothing_follows_a_close_frame(ends: Ends, nursery: trio.Nursery) -> None:
    send_queue = queue_of(ends, nursery)
    send_queue.push(b"first")
    send_queue.close(4000, "bye")
    send_queue.push(b"second")
    send_queue.close(4001, "again")
    goodbye = close_frame(4000, "bye")
    assert await ends.read_until(goodbye) == b"first" + goodbye
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(BlockingIOError):
        ends.theirs.recv(1)


async def test_slow_readers_and_closed_connections_among_many_delay_no_other(nursery: trio.Nursery) -> None:
    with ExitStack() as connections:
        reader, deaf, gone = (connections.enter_context(connected()) for _ in range(3))
        send_queues = [queue_of(ends, nursery, limit=10 * LIMIT) for ends in (gone, deaf, reader)]
        gone.theirs.close()
        frames = [bytes([i]) * 5_000 for i in range(100)]
        async with trio.open_nursery() as reading:
            read: list[bytes] = []
            reading.start_soon(_collect, reader, frames[-1], read)
            for frame in frames:
                push_to_each(send_queues, frame)
                await trio.testing.wait_all_tasks_blocked()
        assert read[0] == b"".join(frames)
        assert await deaf.read_until(frames[-1]) == b"".join(frames)
        assert send_queues[0].closed.is_set()


async def test_a_connection_that_is_aborted_as_it_becomes_writable_writes_no_more(nursery: trio.Nursery) -> None:
    for _ in range(8):  # which of two runnable tasks runs first is random
        with connected() as ends:
            send_queue = queue_of(ends, nursery)
            send_queue.push(b"x" * LIMIT)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(_abort_when_readable, send_queue, ends)
            await trio.testing.wait_all_tasks_blocked()
            ends.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 10 * LIMIT)
            while not select.select([], [ends.ours], [], 0)[1]:
                with suppress(BlockingIOError):
                    ends.theirs.recv(LIMIT)
            ends.theirs.send(b"!")
            await send_queue.closed.wait()
            await trio.testing.wait_all_tasks_blocked()


async def _abort_when_readable(send_queue: SendQueue, ends: Ends) -> None:
    await trio.lowlevel.wait_readable(ends.ours)
    send_queue.abort()


async def test_nothing_follows_a_close_that_the_library_sends(ends: Ends, nursery: trio.Nursery) -> None:
    send_queue = queue_of(ends, nursery)
    await send_queue.send_all(close_frame(1000))
    send_queue.push(b"second")
    assert await ends.read_until(close_frame(1000)) == close_frame(1000)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(BlockingIOError):
        ends.theirs.recv(1)


async def test_writes_to_a_closed_peer_are_discarded(ends: Ends, nursery: trio.Nursery) -> None:
    send_queue = queue_of(ends, nursery)
    ends.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    ends.theirs.close()
    with trio.fail_after(PATIENCE_SECONDS):
        while not send_queue.closed.is_set():
            send_queue.push(b"anybody?")
            await trio.lowlevel.checkpoint()
    send_queue.push(b"nobody")
