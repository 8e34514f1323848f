"""Bounds how many requests of one client address run at once, so that a flood from one address leaves time to others.

Every runnable request delays each wait of every other task: with a hundred of them, each wait takes a hundred times as
long. Requests of one address beyond the first few therefore wait in order.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

# Requests of one address. Each delays others by about 0.3 ms at each of its waits, of which it has about ten.
AT_ONCE = 4
# A slot that is held for longer is passed on: its request is assumed to wait for a body, a room, the database or a slow
# reader, which costs others nothing. So an address starts at least 80 requests a second even if none of them ends.
PASSED_ON_SECONDS = 0.05


class AddressConcurrency:
    """The slots of all addresses; an address without requests takes no memory."""

    def __init__(self) -> None:
        self._of: dict[str, _Address] = {}

    @asynccontextmanager
    async def slot(self, address: str | None) -> AsyncIterator[None]:
        """Wait for a slot of this address and hold it inside the block; None never waits.

        A cancelled wait leaves nothing behind.
        """
        if address is None:
            yield
            return
        slots = self._of.setdefault(address, _Address())
        slots.users += 1
        try:
            number = await slots.acquire()
            try:
                yield
            finally:
                slots.release(number)
        finally:
            slots.users -= 1
            if not slots.users:
                del self._of[address]

    def __len__(self) -> int:
        """Return the number of addresses that have a request."""
        return len(self._of)


class _Address:
    """The slots of one address."""

    def __init__(self) -> None:
        self.users = 0  # requests that hold a slot or wait for one
        self._number = 0
        self._begun: dict[int, float] = {}  # start time by request number, the oldest first
        self._ended = trio.Event()
        self._first = trio.Lock()  # held by the request that waits for a free slot; the others queue for the lock

    async def acquire(self) -> int:
        """Wait for a slot and return the request's number."""
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

    def release(self, number: int) -> None:
        """Free the slot of an answered request, unless it was passed on before."""
        if self._begun.pop(number, None) is not None:
            self._ended.set()
