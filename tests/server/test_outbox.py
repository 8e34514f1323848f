"""A connection's way out: one order, bounded, and it never waits."""

import random
import socket
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import trio
import trio.testing

from server.outbox import Outbox
from server.wire import close_frame

LIMIT = 100_000
CLOSE_SECONDS = 10.0
PATIENCE_SECONDS = 20


class Ends(NamedTuple):
    """Both ends of one connection, with small buffers in the kernel."""

    ours: socket.socket
    theirs: socket.socket

    async def read_until(self, last: bytes) -> bytes:
        """Everything up to these bytes."""
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(self.theirs))
        read = b""
        with trio.fail_after(PATIENCE_SECONDS):
            while not read.endswith(last):
                data = await stream.receive_some()
                assert data, f"it ended with {read[-40:]!r}"
                read += data
        return read


@pytest.fixture
def ends() -> Iterator[Ends]:
    with socket.create_server(("127.0.0.1", 0)) as door:
        theirs = socket.create_connection(door.getsockname())
        ours, _ = door.accept()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        end.setblocking(False)
    yield Ends(ours, theirs)
    ours.close()
    theirs.close()


def outbox_of(ends: Ends, nursery: trio.Nursery, limit: int = LIMIT, close_seconds: float = CLOSE_SECONDS) -> Outbox:
    return Outbox(ends.ours, nursery, limit=limit, close_seconds=close_seconds)


async def test_frames_leave_whole_and_in_order_however_slowly_they_are_read(ends: Ends, nursery: trio.Nursery) -> None:
    chance = random.Random(7)
    frames = [bytes([i % 256]) * chance.randint(1, 9_000) for i in range(60)]
    outbox = outbox_of(ends, nursery, limit=10 * LIMIT)
    read: list[bytes] = []
    async with trio.open_nursery() as reading:
        reading.start_soon(_collect, ends, b"the end", read)
        for frame in [*frames, b"the end"]:
            outbox.push(frame)
            if chance.random() < 0.3:
                await trio.lowlevel.checkpoint()
    assert read[0] == b"".join(frames) + b"the end"


async def _collect(ends: Ends, last: bytes, read: list[bytes]) -> None:
    read.append(await ends.read_until(last))


async def test_who_does_not_read_is_told_so_after_the_frame_that_was_begun(ends: Ends, nursery: trio.Nursery) -> None:
    outbox = outbox_of(ends, nursery)
    frame = b"x" * 10_000
    pushed = 0
    while not outbox.closing:
        outbox.push(frame)
        pushed += 1
        assert pushed * len(frame) < 100 * LIMIT, "it is never closed"
    outbox.push(b"too late")
    goodbye = close_frame(4001, "slow consumer")
    read = await ends.read_until(goodbye)
    whole, rest = divmod(len(read) - len(goodbye), len(frame))
    assert rest == 0 and whole < pushed


async def test_a_reader_that_never_reads_is_aborted(ends: Ends, nursery: trio.Nursery) -> None:
    outbox = outbox_of(ends, nursery, close_seconds=0.1)
    while not outbox.closing:
        outbox.push(b"x" * 10_000)
    with trio.fail_after(PATIENCE_SECONDS):
        await outbox.closed.wait()


async def test_nothing_follows_a_close_frame(ends: Ends, nursery: trio.Nursery) -> None:
    outbox = outbox_of(ends, nursery)
    outbox.push(b"first")
    outbox.close(4000, "bye")
    outbox.push(b"second")
    outbox.close(4001, "again")
    goodbye = close_frame(4000, "bye")
    assert await ends.read_until(goodbye) == b"first" + goodbye
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(BlockingIOError):
        ends.theirs.recv(1)


async def test_a_peer_that_is_gone_swallows_everything(ends: Ends, nursery: trio.Nursery) -> None:
    outbox = outbox_of(ends, nursery)
    ends.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    ends.theirs.close()
    with trio.fail_after(PATIENCE_SECONDS):
        while not outbox.closed.is_set():
            outbox.push(b"anybody?")
            await trio.lowlevel.checkpoint()
    outbox.push(b"nobody")
