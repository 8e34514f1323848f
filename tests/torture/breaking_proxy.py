"""A TCP proxy in front of a server that breaks each connection after a random number of bytes."""

import math
import random
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

HOST = "127.0.0.1"
CHUNK_BYTES = 4096
LIFE_BYTES_MIN = 300  # less than a handshake
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time
WAYS = ("hang up", "reset", "vanish")


class BreakingProxy:
    """Each connection lives for some bytes in both directions together, and then breaks in one of three ways.

    Few live for as much as `life_bytes_max`, half of them for less than its geometric mean with the least.

    To hang up is a FIN to both sides, a reset an RST to both. To vanish resets the client's side alone: the
    server's side stays open, and the proxy discards what the server sends there.
    """

    def __init__(self, target_port: int, chance: random.Random, life_bytes_max: int) -> None:
        self.breaks: Counter[str] = Counter()
        self.port = 0
        self._target_port = target_port
        self._chance = chance
        self._life_bytes_max = life_bytes_max
        self._breaks_no_more = False

    def mend(self) -> None:
        """Stop breaking connections; those that are open stay open."""
        self._breaks_no_more = True

    async def serve(self, client: trio.SocketStream) -> None:
        """Carry one connection until it breaks or either side closes it."""
        try:
            server = await trio.open_tcp_stream(HOST, self._target_port)
        except OSError:  # the server restarts, and nothing listens
            await trio.aclose_forcefully(client)
            return
        try:
            way = await self._carry_until_broken(client, server)
            if way is not None:
                self.breaks[way] += 1
                await self._break(way, client, server)
        finally:
            for stream in (client, server):
                stream.socket.close()

    async def _break(self, way: str, client: trio.SocketStream, server: trio.SocketStream) -> None:
        if way == "vanish":
            _reset(client)
            await _swallow(server)
        if way == "reset":
            _reset(client)
            _reset(server)

    async def _carry_until_broken(self, client: trio.SocketStream, server: trio.SocketStream) -> str | None:
        """Carry bytes both ways. Return the way in which the connection breaks, or None if either side closed it."""
        life = _Life(round(math.exp(self._chance.uniform(math.log(LIFE_BYTES_MIN), math.log(self._life_bytes_max)))))
        async with trio.open_nursery() as nursery:
            for source, target in ((client, server), (server, client)):
                nursery.start_soon(self._carry, source, target, life, nursery.cancel_scope)
        return self._chance.choice(WAYS) if life.over else None

    async def _carry(
        self, source: trio.SocketStream, target: trio.SocketStream, life: "_Life", both: trio.CancelScope
    ) -> None:
        try:
            while not life.over and (chunk := await source.receive_some(CHUNK_BYTES)):
                await target.send_all(chunk if self._breaks_no_more else life.spend(chunk))
        except trio.BrokenResourceError:
            pass
        both.cancel()


class _Life:
    """The number of bytes that a connection still carries before it breaks."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.over = False

    def spend(self, chunk: bytes) -> bytes:
        """Return the part of the chunk that is still carried."""
        passed = chunk[: self.left]
        self.left -= len(passed)
        self.over = self.over or len(passed) < len(chunk)
        return passed


async def _swallow(stream: trio.SocketStream) -> None:
    try:
        while await stream.receive_some(CHUNK_BYTES):
            pass
    except trio.BrokenResourceError:
        pass


def _reset(stream: trio.SocketStream) -> None:
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, RESET_ON_CLOSE)
    stream.socket.close()


@asynccontextmanager
async def breaking_proxy(target_port: int, chance: random.Random, life_bytes_max: int) -> AsyncIterator[BreakingProxy]:
    """Run the proxy in front of a server that may restart."""
    proxy = BreakingProxy(target_port, chance, life_bytes_max)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host=HOST)
        proxy.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, proxy.serve, [listener])
        yield proxy
        nursery.cancel_scope.cancel()
