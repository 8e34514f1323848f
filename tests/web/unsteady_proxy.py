"""A TCP proxy whose connections are delayed, cut, held back or become half open, until it is told to be steady."""

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

HOST = "127.0.0.1"
CHUNK_BYTES = 4096
LIFE_SECONDS_MAX = 6.0  # of a connection, before something happens to it
DELAY_SECONDS_MAX = 1.0
HELD_SECONDS_MAX = 8.0  # longer than a client waits for an answer before it connects anew
ENDS = ("cut", "half open", "delay", "held")


class UnsteadyProxy:
    """Each connection is steady for a random time and is then cut, or carries nothing more, or carries slowly.

    A connection that is held back carries everything later, after what the client's next connection has carried.
    A half-open connection stays so, and neither side is told: only a client that asks for an answer notices.
    """

    def __init__(self, target_port: int, chance: random.Random) -> None:
        self.port = 0
        self.ends: Counter[str] = Counter()
        self.carried = 0  # connections so far
        self._target_port = target_port
        self._chance = chance
        self._is_steady = False

    def steady(self) -> None:
        """Let connections be from now on; those that are half open already remain so."""
        self._is_steady = True

    async def serve(self, client: trio.SocketStream) -> None:
        """Carry one connection until it is cut or either side closes it."""
        server = await trio.open_tcp_stream(HOST, self._target_port)
        carried = _Carried(self._chance)
        self.carried += 1
        async with client, server, trio.open_nursery() as nursery:
            for source, target in ((client, server), (server, client)):
                nursery.start_soon(carried.carry, source, target, nursery.cancel_scope)
            await trio.sleep(self._chance.uniform(0, LIFE_SECONDS_MAX))  # the proxy's own time
            if self._is_steady:
                return
            end = self._chance.choice(ENDS)
            self.ends[end] += 1
            if end == "cut":
                nursery.cancel_scope.cancel()
            carried.is_half_open = end == "half open"
            carried.is_slow = end == "delay"
            if end == "held":
                carried.held_until = trio.current_time() + self._chance.uniform(0, HELD_SECONDS_MAX)


class _Carried:
    """The two directions of a connection."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.is_half_open = False
        self.is_slow = False
        self.held_until = float("-inf")

    async def carry(self, source: trio.SocketStream, target: trio.SocketStream, both: trio.CancelScope) -> None:
        try:
            while chunk := await source.receive_some(CHUNK_BYTES):
                if self.is_half_open:
                    continue
                await trio.sleep_until(self.held_until)  # the proxy's own time
                if self.is_slow:
                    await trio.sleep(self._chance.uniform(0, DELAY_SECONDS_MAX))  # the proxy's own time
                await target.send_all(chunk)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        if not self.is_half_open:
            both.cancel()


@asynccontextmanager
async def unsteady_proxy(target_port: int, chance: random.Random) -> AsyncIterator[UnsteadyProxy]:
    """Run the proxy before a server."""
    proxy = UnsteadyProxy(target_port, chance)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host=HOST)
        proxy.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, proxy.serve, [listener])
        yield proxy
        nursery.cancel_scope.cancel()
