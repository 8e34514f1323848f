"""The pool: connections for independent statements and transactions, shared in the order of the requests."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from storage.connections.asyncio_loop import AsyncioLoop
from storage.connections.trio_connection import Connection, TrioConnection, as_storage_error
from storage.database_errors import StorageUnavailable

WAIT_SECONDS = 5.0  # for a connection; a longer wait means that the database is stuck
WAITING_MAX = 2_000  # more than requests and rooms in progress
CLOSE_SECONDS = 5.0  # for the work in progress when the pool closes


class Pool:
    """At most `size` connections, opened when they are needed. The one that became idle last is used first."""

    def __init__(self, loop: AsyncioLoop, size: int, log_in: Callable[[], Awaitable[Connection]]) -> None:
        """`log_in` is an asyncio coroutine function that opens a connection."""
        self._loop = loop
        self._size = size
        self._log_in = log_in
        self._closed = False
        self._opening: set[asyncio.Task[None]] = set()
        self._open: list[TrioConnection] = []
        self._idle: list[TrioConnection] = []
        self._waiting: OrderedDict[trio.lowlevel.Task, None] = OrderedDict()
        self._handed: dict[trio.lowlevel.Task, TrioConnection | BaseException] = {}

    @property
    def idle(self) -> bool:
        """Whether no work is in progress or waits."""
        return not self._waiting and len(self._idle) == len(self._open)

    async def take(self) -> TrioConnection:
        """Return an idle connection, which comes back to the pool when its work ends; hand it work at once.

        Raises StorageUnavailable, also if none is free within WAIT_SECONDS, and if the pool is closed.
        """
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.close()
        if len(self._waiting) < WAITING_MAX and not self._closed:
            with trio.move_on_after(WAIT_SECONDS):
                return await self._wait_turn()
        raise StorageUnavailable("all connections are busy" if self._open else "there is no connection")

    async def _wait_turn(self) -> TrioConnection:
        """Wait for a connection, in the order of the calls. Raises the error of a login that failed."""
        task = trio.lowlevel.current_task()

        def leave(_: object) -> trio.lowlevel.Abort:
            del self._waiting[task]
            return trio.lowlevel.Abort.SUCCEEDED

        self._waiting[task] = None
        self._open_more()
        await trio.lowlevel.wait_task_rescheduled(leave)
        handed = self._handed.pop(task)
        if isinstance(handed, BaseException):
            raise as_storage_error(handed)
        return handed

    def _hand(self, what: TrioConnection | BaseException) -> None:
        """Give a connection, or the error of a login, to the task that has waited longest."""
        task, _ = self._waiting.popitem(last=False)
        self._handed[task] = what
        trio.lowlevel.reschedule(task)

    def _open_more(self) -> None:
        """Open as many connections as tasks wait for, within the size of the pool."""
        while not self._closed and len(self._opening) < min(len(self._waiting), self._size - len(self._open)):
            opening = self._loop.spawn(self._connect())
            self._opening.add(opening)
            opening.add_done_callback(self._note_opened)

    def _note_opened(self, opening: asyncio.Task[None]) -> None:
        self._opening.discard(opening)
        self._open_more()  # for the others, if it failed

    async def _connect(self) -> None:
        """Open a connection. The first waiting task receives the error if that fails."""
        try:
            connection = await self._log_in()
        except Exception as error:  # reason: it belongs to the task that waits for the connection
            if self._waiting:
                self._hand(error)
        else:
            opened = TrioConnection(self._loop, connection, self._on_idle)
            self._open.append(opened)
            if opened.usable:
                self._on_idle(opened)
            else:  # it was lost as soon as it had logged in
                opened.close()

    def _on_idle(self, connection: TrioConnection) -> None:
        if not connection.usable:
            self._open.remove(connection)
            if connection in self._idle:
                self._idle.remove(connection)
            self._open_more()
        elif connection.in_transaction:
            connection.terminate()  # its rollback has failed
        elif self._waiting:
            self._hand(connection)
        else:
            self._idle.append(connection)

    def expire(self) -> None:
        """Close the connections that are open now, each after the work that it carries out."""
        for connection in list(self._open):
            connection.close()

    async def aclose(self) -> None:
        """Close all connections, after at most CLOSE_SECONDS for the work in progress; refuse what waits."""
        self._closed = True
        while self._waiting:
            self._hand(StorageUnavailable("the pool is closed"))
        connections = list(self._open)
        for opening in self._opening:
            opening.cancel()
        self.expire()
        with trio.move_on_after(CLOSE_SECONDS):
            for connection in connections:
                await connection.ended.wait()
        for connection in connections:
            connection.terminate()
            with suppress(trio.TooSlowError), trio.fail_after(1):
                await connection.ended.wait()
