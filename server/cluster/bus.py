"""The bus: carries messages between servers, each at most once, and never back to its sender."""

from collections.abc import Callable
from typing import Protocol

import trio

Handler = Callable[[bytes], None]


class Bus(Protocol):
    """Messages by subject. A message is lost if its broker, its sender or a receiver is cut off at that moment."""

    @property
    def is_connected(self) -> bool:
        """Whether a message that is published now would probably be received."""
        ...

    def subscribe(self, subject: str, handle: Handler) -> None:
        """Call `handle` with each message of a subject from another server; it must not wait. Once a subject."""
        ...

    def publish(self, subject: str, message: bytes) -> bool:
        """Send a message to the other servers that have subscribed. Never waits and never raises.

        Returns False if it is surely lost.
        """
        ...

    async def run(self) -> None:
        """Carry messages until cancelled."""
        ...


class NoBus:
    """The bus of a server without a broker: it sends and receives nothing."""

    is_connected = False

    def subscribe(self, subject: str, handle: Handler) -> None:
        """Do nothing."""

    def publish(self, subject: str, message: bytes) -> bool:
        """Return False: nobody receives it."""
        return False

    async def run(self) -> None:
        """Do nothing until cancelled."""
        await trio.sleep_forever()
