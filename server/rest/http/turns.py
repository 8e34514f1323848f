"""How many requests of one client address are worked on at once, so that a flood of them leaves time to others.

Each request that can go on costs every other task of the server a part of its own wait: with a hundred of them at once,
each wait of anybody is a hundred times longer. So the requests of one address beyond the first few wait in order.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

AT_ONCE = 4  # each delays others by some 0.3 ms for each time that they wait, of which a request has about ten
# From then on a request is taken to wait for something itself: a body, a room, the database, a slow reader. It costs
# others nothing meanwhile, and the next of its address begins: 80 a second, though none of them should end.
PASSED_ON_SECONDS = 0.05


class Turns:
    """The turns of all addresses; none is kept of an address without requests."""

    def __init__(self) -> None:
        self._of: dict[str, _Address] = {}

    @asynccontextmanager
    async def turn(self, address: str | None) -> AsyncIterator[None]:
        """Wait for a turn, and end it afterwards; None waits for nothing. A cancelled wait leaves nothing behind."""
        if address is None:
            yield
            return
        turns = self._of.setdefault(address, _Address())
        turns.users += 1
        try:
            number = await turns.begin()
            try:
                yield
            finally:
                turns.end(number)
        finally:
            turns.users -= 1
            if not turns.users:
                del self._of[address]

    def __len__(self) -> int:
        return len(self._of)


class _Address:
    """The turns of one address."""

    def __init__(self) -> None:
        self.users = 0  # requests that have a turn or wait for one
        self._number = 0
        self._begun: dict[int, float] = {}  # by number, the oldest first: when each began
        self._ended = trio.Event()
        self._first = trio.Lock()  # held by the request that waits for a free turn; the others wait behind it in order

    async def begin(self) -> int:
        """Wait for a turn; returns its number."""
        async with self._first:
            while len(self._begun) >= AT_ONCE:
                number, began_at = next(iter(self._begun.items()))
                self._ended = trio.Event()
                with trio.move_on_at(began_at + PASSED_ON_SECONDS) as waiting:
                    await self._ended.wait()
                if waiting.cancelled_caught:
                    self._begun.pop(number, None)
            self._number += 1
            self._begun[self._number] = trio.current_time()
            return self._number

    def end(self, number: int) -> None:
        """The request has been answered; its turn may have been passed on before."""
        if self._begun.pop(number, None) is not None:
            self._ended.set()
