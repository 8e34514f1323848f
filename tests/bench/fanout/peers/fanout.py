"""One room as others write it in Python: `websockets` and its broadcast(), or trio-websocket awaiting each member.

fanout.py websockets|awaiting PORT. "EVENTS ...\\n" on standard input: send so many; answered by when it began.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosedError

BACKLOG = 4096
EVENT_BYTES = 200


class Messages:
    """Builds events of one size, each with its own number."""

    def __init__(self) -> None:
        self._seq = 1_000_000  # always seven digits
        self._text = ""
        self._text = "x" * (EVENT_BYTES - len(self.next()))

    def next(self) -> str:
        self._seq += 1
        event = {
            "type": "bench:said",
            "channel": "0123456789abcdef0123456789abcdef",
            "seq": self._seq,
            "at": "2026-01-01T00:00:00.000000Z",
            "text": self._text,
        }
        return json.dumps(event, separators=(",", ":"))


def print_line(line: str) -> None:
    print(line, flush=True)


def events_of(order: str) -> int:
    print_line(f"BEGAN {time.monotonic():.9f}")
    return int(order.split()[0])


async def serve_with_websockets(port: int) -> None:
    room: set[ServerConnection] = set()
    messages = Messages()

    async def handle(connection: ServerConnection) -> None:
        room.add(connection)
        with suppress(ConnectionClosedError):
            async for _ in connection:
                pass

    async with serve(handle, "127.0.0.1", port, ping_interval=None, compression=None, backlog=BACKLOG):
        print_line("LISTENING")
        while order := await asyncio.to_thread(sys.stdin.readline):
            for _ in range(events_of(order)):
                broadcast(room, messages.next())
                await asyncio.sleep(0)


async def serve_awaiting(port: int) -> None:
    room: set[WebSocketConnection] = set()
    messages = Messages()

    async def handle(request: WebSocketRequest) -> None:
        connection = await request.accept()
        room.add(connection)
        try:
            while True:
                await connection.get_message()
        except ConnectionClosed:
            room.discard(connection)

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_websocket, handle, "127.0.0.1", port, None))
        print_line("LISTENING")
        while order := await trio.to_thread.run_sync(sys.stdin.readline):
            for _ in range(events_of(order)):
                message = messages.next()
                for connection in list(room):
                    await connection.send_message(message)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    PORT = int(sys.argv[2])
    WAYS: dict[str, Callable[[], None]] = {
        "websockets": lambda: asyncio.run(serve_with_websockets(PORT)),
        "awaiting": lambda: trio.run(serve_awaiting, PORT),
    }
    WAYS[sys.argv[1]]()
