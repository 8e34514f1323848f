"""Ends statements that the database does not answer in time, without a timer for each."""

from typing import Protocol

import trio

CHECK_SECONDS = 0.5  # between two checks: how late an overdue statement may be noticed


class Watched(Protocol):
    """A connection with the time at which its work is overdue, by trio's clock; infinite without work."""

    overdue_at: float

    def end_overdue(self) -> None:
        """Close the connection, so that its work fails."""
        ...


class Watchdog:
    """Checks connections periodically while `run` runs."""

    def __init__(self) -> None:
        self._watched: set[Watched] = set()

    def watch(self, connection: Watched) -> None:
        """Check this connection from here on."""
        self._watched.add(connection)

    def forget(self, connection: Watched) -> None:
        """Check this connection no longer. Idempotent."""
        self._watched.discard(connection)

    async def run(self) -> None:
        """End overdue work, until cancelled."""
        while True:
            await trio.sleep(CHECK_SECONDS)
            now = trio.current_time()
            for connection in [each for each in self._watched if each.overdue_at <= now]:
                connection.end_overdue()
