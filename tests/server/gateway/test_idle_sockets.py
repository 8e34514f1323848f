"""One task reads the sockets of all idle clients; a client's own task is resumed only by what it has to read."""

import gc
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial

import pytest
import trio
import trio.testing

from server.broadcast.idle_sockets import AT_ONCE, IdleSockets

PATIENCE_SECONDS = 10.0
NOTHING = b"."  # input that needs nobody


@pytest.fixture
async def idle_sockets(nursery: trio.Nursery) -> IdleSockets:
    made = IdleSockets()
    nursery.start_soon(made.run)
    return made


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client's socket, and the server's, which does not block."""
    theirs, ours = socket.socketpair()
    ours.setblocking(False)
    with theirs, ours:
        yield theirs, ours


def receive(sock: socket.socket) -> bytes | None:
    data = sock.recv(100)
    return None if data and not data.strip(NOTHING) else data


class Reader:
    """A task that waits for one input."""

    def __init__(self, idle_sockets: IdleSockets, sock: socket.socket) -> None:
        self._idle_sockets, self._sock = idle_sockets, sock
        self.got: list[bytes] = []
        self.error: Exception | None = None
        self.ended = trio.Event()

    async def run(self) -> None:
        try:
            self.got.append(await self._idle_sockets.next_input(self._sock.fileno(), partial(receive, self._sock)))
        except (OSError, trio.ClosedResourceError, ValueError) as error:
            self.error = error
        finally:
            self.ended.set()

    async def end(self) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            await self.ended.wait()


@asynccontextmanager
async def waiting(idle_sockets: IdleSockets, sock: socket.socket) -> AsyncIterator[Reader]:
    async with trio.open_nursery() as nursery:
        reader = Reader(idle_sockets, sock)
        nursery.start_soon(reader.run)
        await trio.testing.wait_all_tasks_blocked()
        yield reader
        nursery.cancel_scope.cancel()


async def test_only_input_that_needs_its_task_resumes_it(idle_sockets: IdleSockets) -> None:
    with pair() as (theirs, ours):
        async with waiting(idle_sockets, ours) as reader:
            for _ in range(3):
                theirs.send(NOTHING)
                await trio.testing.wait_all_tasks_blocked(0.01)
                assert not reader.ended.is_set()
            theirs.send(b"hello")
            await reader.end()
            assert (reader.got, len(idle_sockets)) == ([b"hello"], 0)


async def test_the_end_of_the_input_is_input(idle_sockets: IdleSockets) -> None:
    with pair() as (theirs, ours):
        async with waiting(idle_sockets, ours) as reader:
            theirs.close()
            await reader.end()
            assert reader.got == [b""]


async def test_an_exception_is_raised_where_the_input_is_waited_for(idle_sockets: IdleSockets) -> None:
    def fail() -> bytes:
        raise ConnectionResetError("reset")

    with pair() as (theirs, ours), pair() as (other, healthy):
        async with waiting(idle_sockets, healthy) as reader:
            theirs.send(b"x")
            with pytest.raises(ConnectionResetError), trio.fail_after(PATIENCE_SECONDS):
                await idle_sockets.next_input(ours.fileno(), fail)
            other.send(b"hello")
            await reader.end()
            assert reader.got == [b"hello"]


async def test_a_wait_ends_before_its_socket_is_closed(idle_sockets: IdleSockets) -> None:
    with pair() as (_, ours):
        async with waiting(idle_sockets, ours) as reader:
            idle_sockets.notify_closing(ours.fileno())
            await reader.end()
            assert isinstance(reader.error, trio.ClosedResourceError)
            idle_sockets.notify_closing(ours.fileno())  # no wait, no error


async def test_a_cancelled_wait_leaves_the_number_to_the_next_socket(idle_sockets: IdleSockets) -> None:
    with pair() as (theirs, ours), pair() as (theirs_again, again):
        async with waiting(idle_sockets, ours):
            pass
        assert len(idle_sockets) == 0
        theirs.send(b"late")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert ours.recv(100) == b"late", "nobody else has read it"
        os.dup2(again.fileno(), ours.fileno(), inheritable=False)  # closes the socket, and gives its number to this one
        async with waiting(idle_sockets, ours) as reader:
            theirs_again.send(b"new")
            await reader.end()
            assert reader.got == [b"new"]


async def test_more_sockets_than_are_read_at_once_are_all_read(idle_sockets: IdleSockets) -> None:
    with ExitStack() as stack:
        pairs = [stack.enter_context(pair()) for _ in range(2 * AT_ONCE + 1)]
        async with trio.open_nursery() as nursery:
            readers = [Reader(idle_sockets, ours) for _, ours in pairs]
            for reader in readers:
                nursery.start_soon(reader.run)
            await trio.testing.wait_all_tasks_blocked()
            for number, (theirs, _) in enumerate(pairs):
                theirs.send(str(number).encode())
        assert [reader.got for reader in readers] == [[str(number).encode()] for number in range(len(pairs))]


async def test_what_arrived_before_the_wait_ends_it(idle_sockets: IdleSockets) -> None:
    with pair() as (theirs, ours):
        theirs.send(b"early")
        async with waiting(idle_sockets, ours) as reader:
            await reader.end()
            assert reader.got == [b"early"]


async def test_input_that_needs_nobody_leaves_nothing_for_the_collector(idle_sockets: IdleSockets) -> None:
    with ExitStack() as stack:
        pairs = [stack.enter_context(pair()) for _ in range(200)]
        async with trio.open_nursery() as nursery:
            for _, ours in pairs:
                nursery.start_soon(Reader(idle_sockets, ours).run)
            await trio.testing.wait_all_tasks_blocked()
            gc.collect()
            gc.disable()
            try:
                for theirs, _ in pairs:
                    theirs.send(NOTHING)
                await trio.testing.wait_all_tasks_blocked(0.01)
                young = len(gc.get_objects(generation=0))
            finally:
                gc.enable()
            nursery.cancel_scope.cancel()
    assert young < len(pairs), f"{young} objects for {len(pairs)} sockets"
