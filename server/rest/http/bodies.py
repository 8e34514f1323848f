"""Bounds on request bodies: a usual one, and larger ones for the events of payment providers."""

from collections.abc import Mapping
from typing import Any, TypeVar

import trio
from quart import Request

# Bodies beyond the usual bound that are in memory at once: 16 MiB at 1 MiB each. Further ones wait unread, which slows
# their senders down; ordinary payment events are far below the usual bound and never wait.
LARGE_AT_ONCE = 16


R = TypeVar("R", bound=Request)


class BodyBounds:
    """The bound of each path in bytes: that of `larger` if the path is in it, else `usual`."""

    def __init__(self, usual: int, larger: Mapping[str, int]) -> None:
        self._usual = usual
        self._larger = {path: max(usual, size) for path, size in larger.items()}
        self._large = trio.Semaphore(LARGE_AT_ONCE, max_value=LARGE_AT_ONCE)

    def of(self, path: str) -> int:
        """Return how many bytes of a body are read at this path."""
        return self._larger.get(path, self._usual)

    def bounded(self, kind: type[R]) -> type[R]:
        """Return a subclass of `kind` that refuses a body beyond the bound of its path with 413."""
        bounds = self

        class Bounded(kind):  # type: ignore[misc, valid-type]  # reason: a class that is only known when this runs
            def __init__(self, method: str, scheme: str, path: str, *rest: Any, **named: Any) -> None:
                super().__init__(method, scheme, path, *rest, **named | {"max_content_length": bounds.of(path)})

        return Bounded

    def cut_off(self, receive: Any, path: str) -> "BodyReader":
        """Wrap an ASGI `receive` so that a body ends where it exceeds its bound.

        Without this, Quart (0.23 and later) reads the whole body into memory before it refuses it. The app sees a body
        of more bytes than its bound, which the class made by `bounded` refuses.
        """
        return BodyReader(receive, self._usual, self.of(path), self._large)


class BodyReader:
    """An ASGI `receive` of one request that counts the bytes of the body; it must be closed at the end."""

    def __init__(self, receive: Any, usual: int, most: int, large: trio.Semaphore) -> None:
        self._receive = receive
        self._usual = usual
        self._most = most
        self._large = large
        self._taken = 0
        self._is_large = False

    async def receive(self) -> Any:
        """Return the next message; the body ends with the part in which it exceeds `most` bytes.

        Parts after that one are read and dropped until the client disconnects. Suspends while LARGE_AT_ONCE large
        bodies of other requests are in memory.
        """
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            if self._taken <= self._most:
                self._taken += len(message["body"])
                await self._wait_for_room()
                return {**message, "more_body": message["more_body"] and self._taken <= self._most}

    async def _wait_for_room(self) -> None:
        if self._usual < self._taken <= self._most and not self._is_large:
            await self._large.acquire()
            self._is_large = True

    def close(self) -> None:
        """Let another large body be read; called when the request has ended."""
        if self._is_large:
            self._large.release()
