"""A proxy before PostgreSQL that breaks connections before a statement, within it, or before its reply."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit, urlunsplit

import trio

CUTS = ("before", "middle", "after")
CHUNK_BYTES = 65_536  # a batch of the tests' size is one chunk


class CuttingProxy:
    """Breaks connections to PostgreSQL at random, and counts the breaks of each kind."""

    def __init__(self, target: str, chance: random.Random, often: float) -> None:
        self._target = target
        self._chance = chance
        self._often = often
        self.cuts: Counter[str] = Counter()

    async def serve(self, client: trio.SocketStream) -> None:
        """Forward one connection until the proxy breaks it or either side closes it."""
        server = await trio.open_unix_socket(self._target)
        try:
            async with client, server:
                await _Connection(client, server, self._draw).carry()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    def _draw(self, chunk: bytes) -> str | None:
        if not _is_batch(chunk) or self._chance.random() >= self._often:
            return None
        cut = self._chance.choice(CUTS)
        self.cuts[cut] += 1
        return cut


class _Connection:
    """One connection to PostgreSQL through the proxy."""

    def __init__(
        self, client: trio.SocketStream, server: trio.SocketStream, draw: Callable[[bytes], str | None]
    ) -> None:
        self._client = client
        self._server = server
        self._draw = draw
        self._swallows = False
        self._swallowed = trio.Event()

    async def carry(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._carry_replies, nursery.cancel_scope)
            await self._carry_requests()
            nursery.cancel_scope.cancel()

    async def _carry_requests(self) -> None:
        while chunk := await self._client.receive_some(CHUNK_BYTES):
            cut = self._draw(chunk)
            if cut is not None:
                await self._cut(cut, chunk)
                return
            await self._server.send_all(chunk)

    async def _cut(self, cut: str, chunk: bytes) -> None:
        if cut == "middle":
            await self._server.send_all(chunk[: len(chunk) // 2])
        if cut == "after":
            self._swallows = True
            await self._server.send_all(chunk)
            await self._swallowed.wait()

    async def _carry_replies(self, scope: trio.CancelScope) -> None:
        while chunk := await self._server.receive_some(CHUNK_BYTES):
            if self._swallows:  # it is committed, and its reply is lost
                self._swallowed.set()
                return
            await self._client.send_all(chunk)
        scope.cancel()


def _is_batch(chunk: bytes) -> bool:
    """Return whether this is a Bind message of the batch statement, and no startup or Parse message."""
    return chunk[:1] == b"B" and len(chunk) > 200


@asynccontextmanager
async def cutting(
    dsn: str, directory: Path, chance: random.Random, often: float
) -> AsyncIterator[tuple[CuttingProxy, str]]:
    """Run a proxy in front of the database of `dsn`, and yield it with its connection string."""
    parts = urlsplit(dsn)
    query = parse_qs(parts.query)
    target = f"{unquote(query['host'][0])}/.s.PGSQL.{query['port'][0]}"
    proxy = CuttingProxy(target, chance, often)
    listener = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await listener.bind(str(directory / ".s.PGSQL.5432"))
    listener.listen(64)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, proxy.serve, [trio.SocketListener(listener)])
        yield proxy, urlunsplit(parts._replace(query=f"host={quote(str(directory))}&port=5432"))
        nursery.cancel_scope.cancel()
