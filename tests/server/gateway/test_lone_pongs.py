"""A Pong that arrives alone is noted where its bytes are read; anything else takes the way through the parser."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from trio_websocket import ConnectionClosed

from server.broadcast.idle_sockets import IdleSockets
from server.broadcast.send_queue import SendQueue
from server.config.settings import WebsocketSettings
from server.gateway.frame_reader import FrameReader
from server.observability.faults import Faults
from server.observability.metrics import Metrics

MASK = bytes(4)  # masks nothing, and is valid
SETTINGS = WebsocketSettings()
PATIENCE_SECONDS = 10.0


def frame(first: int, payload: bytes, *, masked: bool = True) -> bytes:
    """Return a frame of at most 125 bytes with this first byte."""
    return bytes([first, (0x80 if masked else 0) | len(payload)]) + (MASK if masked else b"") + payload


PONG, TEXT_BEGUN, TEXT_ENDED, TEXT, BINARY = 0x8A, 0x01, 0x80, 0x81, 0x82


class Connected:
    """A client's socket, and the server's reader at the other end."""

    def __init__(self, client: socket.socket, send_queue: SendQueue, reader: FrameReader) -> None:
        self._client, self.send_queue, self.reader = client, send_queue, reader
        self.parsed: list[bytes] = []
        parse = send_queue.needs_no_reader

        def noted(data: bytes) -> bool:
            skipped = parse(data)
            if not skipped:
                self.parsed.append(data)
            return skipped

        send_queue.needs_no_reader = noted

    async def send(self, data: bytes) -> None:
        """Send bytes that the server reads in one piece."""
        self._client.send(data)
        await trio.testing.wait_all_tasks_blocked(0.01)


@asynccontextmanager
async def connected() -> AsyncIterator[Connected]:
    theirs, ours = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        async with trio.open_nursery() as nursery:
            idle_sockets = IdleSockets()
            nursery.start_soon(idle_sockets.run)
            send_queue = SendQueue(ours, nursery, idle_sockets, limit=100_000, close_seconds=0.1)
            reader = FrameReader(send_queue, SETTINGS, 1_000, Faults(Metrics()))
            reader.admit_messages()
            connection = Connected(theirs, send_queue, reader)
            nursery.start_soon(reader.read)
            yield connection
            send_queue.abort()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("payload", [b"", b"x", b"x" * 125])
async def test_a_lone_pong_is_heard_and_not_parsed(payload: bytes) -> None:
    async with connected() as connection:
        connection.send_queue.received_at = 0.0
        await connection.send(frame(PONG, payload))
        assert connection.send_queue.received_at > 0 and connection.parsed == []
        await connection.send(frame(TEXT, b"hello"))
        assert await connection.reader.get_message() == "hello"


OTHERS = {
    "two pongs": frame(PONG, b"") * 2,
    "a pong before a message": frame(PONG, b"") + frame(TEXT, b"hello"),
    "a message before a pong": frame(TEXT, b"hello") + frame(PONG, b""),
    "a ping": frame(0x89, b""),
    "half a pong": frame(PONG, b"four")[:7],
    "a pong that announces more": bytes([PONG, 0x80 | 5]) + MASK + b"four",
    "a pong that announces less": bytes([PONG, 0x80 | 3]) + MASK + b"four",
    "a pong with a length of two bytes": bytes([PONG, 0x80 | 126, 0, 126]) + MASK + b"x" * 126,
    "a pong without a mask": frame(PONG, b"12345678", masked=False),
    "a pong that is not final": frame(0x0A, b""),
    "a pong with a reserved bit": frame(0xCA, b""),
}


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS)
async def test_anything_else_is_parsed(data: bytes) -> None:
    async with connected() as connection:
        await connection.send(data)
        assert connection.parsed == [data]


async def test_bytes_that_look_like_a_pong_within_a_frame_belong_to_it() -> None:
    inside = frame(PONG, b"")
    async with connected() as connection:
        await connection.send(frame(BINARY, b"abcd" + inside)[: -len(inside)])
        await connection.send(inside)
        with trio.fail_after(PATIENCE_SECONDS):
            assert await connection.reader.get_message() == b"abcd" + inside


async def test_a_pong_between_the_frames_of_a_message_leaves_it_whole() -> None:
    async with connected() as connection:
        await connection.send(frame(TEXT_BEGUN, b"hel"))
        await connection.send(frame(PONG, b""))
        await connection.send(frame(TEXT_ENDED, b"lo"))
        assert await connection.reader.get_message() == "hello"
        assert connection.parsed == [frame(TEXT_BEGUN, b"hel"), frame(TEXT_ENDED, b"lo")]


async def test_a_flood_of_lone_pongs_closes_the_connection() -> None:
    async with connected() as connection:
        for _ in range(SETTINGS.messages_burst * 4):
            if connection.send_queue.closing:
                break
            await connection.send(frame(PONG, b""))
        with trio.fail_after(PATIENCE_SECONDS), pytest.raises(ConnectionClosed) as closed:
            await connection.reader.get_message()
        assert closed.value.reason is not None and closed.value.reason.code == 4429
