"""One connection to the database, on which one trio task at a time runs statements of asyncpg."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from inspect import CORO_SUSPENDED, getcoroutinestate
from typing import Any, TypeAlias, TypeVar

import asyncpg
import trio

from storage.connections.asyncio_loop import AsyncioLoop
from storage.connections.socket_reader import read_socket
from storage.connections.trio_future import finish, run_in_trio
from storage.database_errors import StatementRefused, StorageUnavailable, first_line
from storage.sqlstates import is_passing, loses_session

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
T = TypeVar("T")
Work: TypeAlias = Callable[[Connection], Coroutine[Any, Any, T]]

CLIENT_TIMEOUT_SECONDS = 25.0  # longer than the server's timeout, so that normally the server's error is received
CANCEL_SECONDS = 5.0  # for the server's answer to a cancel request, and the rollback; then the connection is closed
OUTAGES = (OSError, asyncio.TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class TrioConnection:
    """A connection that carries out one piece of work at a time.

    `on_idle` is called with it each time that it can take work again, and once when it can take no more. `ended` is set
    when the connection is closed.
    """

    def __init__(
        self,
        loop: AsyncioLoop,
        connection: Connection,
        on_idle: Callable[["TrioConnection"], None] = lambda _: None,
    ) -> None:
        self.ended = trio.Event()
        self.busy = False  # whether it carries out work
        self._loop = loop
        self._connection = connection
        self._context = loop.context()
        self._on_idle = on_idle
        self._closing = False
        self._is_overdue = False
        self.overdue_at = math.inf  # by trio's clock
        loop.watchdog.watch(self)
        loop.start(partial(read_socket, connection))

    @property
    def usable(self) -> bool:
        """Whether it can take more work, now or after that which it carries out."""
        return not (self._closing or self._connection.is_closed())

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._connection.is_in_transaction()

    async def run(self, work: Work[T], seconds: float | None = None, *, may_be_cancelled: bool = True) -> T:
        """Carry out `work`, an asyncio coroutine function, and return its result. The connection must be idle.

        Cancellation cancels `work` and waits for its end; with `may_be_cancelled=False` it is deferred. Raises
        StorageUnavailable, also after `seconds`, by default CLIENT_TIMEOUT_SECONDS, and StatementRefused. The
        connection is closed if its session is lost or the outcome of a statement is unknown.
        """
        if not self.usable:
            raise StorageUnavailable("the connection is closed")
        self.busy = True
        self.overdue_at = trio.current_time() + (CLIENT_TIMEOUT_SECONDS if seconds is None else seconds)
        coroutine = work(self._connection)
        try:
            return await run_in_trio(coroutine, self._context, may_be_cancelled=may_be_cancelled)
        except BaseException as error:
            if getcoroutinestate(coroutine) == CORO_SUSPENDED:  # it was cancelled, or interrupted from the keyboard
                await self._stop(coroutine)
                raise
            if (explained := self._explain(error)) is error:
                raise
            raise explained from error
        finally:
            self.busy = False
            self.overdue_at = math.inf
            self._note_end()

    async def _stop(self, cancelled: Coroutine[Any, Any, Any]) -> None:
        """Wait for the end of cancelled work; close the connection if that takes long."""
        stopped = trio.Event()
        self._loop.spawn(self._finish(cancelled, stopped))
        with trio.CancelScope(shield=True):
            with trio.move_on_after(CANCEL_SECONDS):
                await stopped.wait()
            if not stopped.is_set():
                self.terminate()
            await stopped.wait()

    async def _finish(self, cancelled: Coroutine[Any, Any, Any], stopped: trio.Event) -> None:
        """Run cancelled work to its end in asyncio, and a statement that waits for the answer to the cancel request."""
        for rest in (finish(cancelled), self._connection.execute("SELECT")):
            try:
                await rest
            except (asyncio.CancelledError, asyncpg.QueryCanceledError):
                pass  # the request may come late, and then cancels the second
            except BaseException as error:  # reason: nobody waits for it
                self._explain(error)
        stopped.set()

    def end_overdue(self) -> None:
        """Close the connection, since its work is overdue."""
        self._is_overdue = True
        self.terminate()

    def terminate(self) -> None:
        """Close the connection at once; a statement in flight has an unknown outcome."""
        self._connection.terminate()
        self.close()

    def close(self) -> None:
        """Close the connection, after the work that it carries out."""
        if not self._closing:
            self._closing = True
            if not self.busy:
                self._begin_closing()

    def _note_end(self) -> None:
        """Take more work, or close."""
        if self.usable:
            self._on_idle(self)
        else:
            self._closing = True
            self._begin_closing()

    def _begin_closing(self) -> None:
        self._loop.watchdog.forget(self)
        self._on_idle(self)
        self._loop.spawn(self._close())

    async def _close(self) -> None:
        with suppress(asyncpg.PostgresError, *OUTAGES):
            await self._connection.close(timeout=CANCEL_SECONDS)
        self.ended.set()

    def _explain(self, error: BaseException) -> BaseException:
        """Return an error of asyncpg as StorageUnavailable or StatementRefused; close a connection that it spoils."""
        if isinstance(error, asyncpg.PostgresError):
            if loses_session(str(error.sqlstate)):
                self._connection.terminate()
        elif isinstance(error, OUTAGES):
            self._connection.terminate()
        elif isinstance(error, AttributeError) and self._connection.is_closed():
            # From inside asyncpg, if the connection is terminated between two of its messages.
            error = asyncpg.InterfaceError("connection is closed")
        elif isinstance(error, asyncio.CancelledError):
            error = asyncpg.InterfaceError("the statement was cancelled")
        return StorageUnavailable("the database does not answer") if self._is_overdue else as_storage_error(error)


def as_storage_error(error: BaseException) -> BaseException:
    """Return an error of asyncpg, or of the network, as one of our two exceptions; any other as it is."""
    if isinstance(error, asyncpg.PostgresError):
        sqlstate = str(error.sqlstate)
        if is_passing(sqlstate):
            raised: Exception = StorageUnavailable(first_line(error), sqlstate)
        else:
            raised = StatementRefused(first_line(error), sqlstate, getattr(error, "constraint_name", None))
    elif isinstance(error, OUTAGES):
        raised = StorageUnavailable(first_line(error))
    else:
        return error
    raised.__cause__ = error
    return raised
