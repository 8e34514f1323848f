"""Bounds how many requests of one client address run at once, so that a flood from one address leaves time to others.

Every runnable request delays each wait of every other task: with a hundred of them, each wait takes a hundred times as
long. Requests of one address beyond the first few therefore wait in order.
"""

from types import TracebackType

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

    def slot(self, address: str | None) -> "_Slot":
        """Return a context manager that waits for a slot of this address and holds it inside the block.

        None never waits. A cancelled wait leaves nothing behind.
        """
        return _Slot(self._of, address)

    def __len__(self) -> int:
        """Return the number of addresses that have a request."""
        return len(self._of)


class _Slot:
    """The slot of one request."""

    __slots__ = ("_address", "_number", "_of", "_slots")

    def __init__(self, of: "dict[str, _Address]", address: str | None) -> None:
        self._of, self._address = of, address
        self._slots: _Address | None = None
        self._number = 0

    async def __aenter__(self) -> None:
        if self._address is not None:
            self._slots = slots = self._of.get(self._address) or self._of.setdefault(self._address, _Address())
            slots.users += 1
            try:
                self._number = await slots.acquire()
            except BaseException:
                self._leave(slots)
                raise

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._slots is not None:
            self._slots.release(self._number)
            self._leave(self._slots)

    def _leave(self, slots: "_Address") -> None:
        slots.users -= 1
        if not slots.users and self._address is not None:
            del self._of[self._address]


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
        if len(self._begun) < AT_ONCE and not self._first.locked():
            return self._begin()
        async with self._first:
            while len(self._begun) >= AT_ONCE:
                number, began_at = next(iter(self._begun.items()))
                self._ended = trio.Event()
                with trio.move_on_at(began_at + PASSED_ON_SECONDS) as waiting:
                    await self._ended.wait()
                if waiting.cancelled_caught:
                    self._begun.pop(number, None)
            return self._begin()

    def _begin(self) -> int:
        self._number += 1
        self._begun[self._number] = trio.current_time()
        return self._number

    def release(self, number: int) -> None:
        """Free the slot of an answered request, unless it was passed on before."""
        if self._begun.pop(number, None) is not None:
            self._ended.set()
