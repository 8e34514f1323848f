"""Reads request bodies within a bound and a time; the events of payment providers have a larger bound."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import trio
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

# Bodies beyond the usual bound that are in memory at once: 16 MiB at 1 MiB each. Further ones wait unread, which slows
# their senders down; ordinary payment events are far below the usual bound and never wait.
LARGE_AT_ONCE = 16


class BodyBounds:
    """The bound of each path in bytes: that of `larger` if the path is in it, else `usual`.

    A body that has not arrived after `seconds` is not waited for: no client waits longer for an answer.
    """

    def __init__(self, usual: int, larger: Mapping[str, int], seconds: float) -> None:
        self.usual = usual
        self.seconds = seconds
        self.large = trio.Semaphore(LARGE_AT_ONCE, max_value=LARGE_AT_ONCE)
        self._larger = {path: max(usual, size) for path, size in larger.items()}

    def of(self, path: str) -> int:
        """Return how many bytes of a body are read at this path."""
        return self._larger.get(path, self.usual)


class BodyReader:
    """Reads the body of one request by its ASGI `receive`; it must be closed when the request has ended."""

    def __init__(self, bounds: BodyBounds, receive: Any, path: str, announced: int) -> None:
        """`announced` is the Content-Length of the request, 0 without one."""
        self._bounds = bounds
        self._receive = receive
        self._most = bounds.of(path)
        self._announced = announced
        self._taken = 0
        self._is_large = False
        self._begun = self._ended = False

    async def read(self) -> bytes:
        """Return the whole body.

        Suspends while LARGE_AT_ONCE large bodies of other requests are in memory. Raises RequestEntityTooLarge where
        the body exceeds its bound, before it is read if it announces its length, and RequestTimeout.
        """
        self._begun = True
        if self._announced > self._most:
            raise RequestEntityTooLarge
        parts: list[bytes] = []
        with trio.move_on_after(self._bounds.seconds):
            while True:
                message = await self._receive()
                parts.append(message["body"])
                self._taken += len(message["body"])
                if self._taken > self._most:
                    raise RequestEntityTooLarge
                await self._wait_for_room()
                if not message["more_body"]:
                    self._ended = True
                    return b"".join(parts)
        raise RequestTimeout

    async def finish(self) -> bool:
        """Read a body that nobody has read, and return whether the whole body was read.

        If a response is sent before that, the connection cannot carry another request.
        """
        if not self._begun:
            with suppress(RequestEntityTooLarge, RequestTimeout):
                await self.read()
        return self._ended

    async def _wait_for_room(self) -> None:
        if self._taken > self._bounds.usual and not self._is_large:
            await self._bounds.large.acquire()
            self._is_large = True

    def close(self) -> None:
        """Let another large body be read."""
        if self._is_large:
            self._bounds.large.release()
