"""One connection to the database, and the asyncio task that lives as long as it and carries out work on it.

A trio task hands over one piece of work at a time and waits for its end. To make an asyncio task for each statement
would cost more than the statement.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Generic, TypeAlias, TypeVar

import asyncpg
import trio

from storage.database_errors import StatementRefused, StorageUnavailable, first_line
from storage.sqlstates import is_passing, loses_session

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
T = TypeVar("T")

Spawn: TypeAlias = "Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]"  # starts a task in the event loop

CLIENT_TIMEOUT_SECONDS = 25.0  # longer than the server's timeout, so that normally the server's error is received
CANCEL_SECONDS = 5.0  # for the server's answer to a cancel request, and the rollback; then the connection is closed
OUTAGES = (OSError, asyncio.TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class Job(Generic[T]):
    """One piece of work on a connection; `done` is set when it has a value or an error."""

    __slots__ = ("begun", "cancelled", "done", "error", "value", "work")

    def __init__(self, work: Callable[[Connection], Awaitable[T]]) -> None:
        self.work = work
        self.begun = False
        self.cancelled = False  # before it was begun
        self.done = trio.Event()
        self.value: T
        self.error: BaseException | None = None


class ConnectionTask:
    """A connection that carries out one piece of work at a time.

    `on_idle` is called with it, from the event loop, each time that it can take work, also at first; and once when it
    can take no more. `ended` is set when the connection is closed.
    """

    def __init__(
        self,
        spawn: Spawn,
        connection: Connection,
        on_idle: Callable[["ConnectionTask"], None] = lambda _: None,
    ) -> None:
        self.ended = trio.Event()
        self._connection = connection
        self._on_idle = on_idle
        self._closing = False
        self._job: Job[Any] | None = None
        self._task = spawn(self._serve())
        self._next: asyncio.Future[Job[Any] | None] = self._task.get_loop().create_future()

    @property
    def usable(self) -> bool:
        """Whether it can take more work, now or after that which it carries out."""
        return not (self._closing or self._connection.is_closed())

    @property
    def busy(self) -> bool:
        """Whether it carries out work."""
        return self._job is not None

    async def run(self, work: Callable[[Connection], Awaitable[T]], seconds: float | None = None) -> T:
        """Carry out `work`, an asyncio coroutine function, and return its result. The connection must be idle.

        Cancellation cancels `work` and waits for its end. Raises StorageUnavailable, also after `seconds`, by default
        CLIENT_TIMEOUT_SECONDS, and StatementRefused; the connection is closed if its session is lost or the outcome of
        a statement is unknown.
        """
        if self._next.done():
            raise StorageUnavailable("the connection is closed")
        self._job = job = Job(work)
        self._next.set_result(job)
        seconds = CLIENT_TIMEOUT_SECONDS if seconds is None else seconds
        with trio.CancelScope(deadline=trio.current_time() + seconds) as limit:
            try:
                await job.done.wait()
            except trio.Cancelled:
                await self._stop(job, overdue=limit.cancel_called)
                raise
        if limit.cancelled_caught:
            raise StorageUnavailable("the database does not answer")
        if job.error is not None:
            raise as_storage_error(job.error)
        return job.value

    async def _stop(self, job: Job[Any], overdue: bool) -> None:
        """Cancel the work and wait for its end; close the connection if that takes long, or the answer is overdue."""
        if not overdue:
            self._cancel(job)
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CANCEL_SECONDS):
                await job.done.wait()
        if not job.done.is_set():
            self.terminate()
            self._cancel(job)
        with trio.CancelScope(shield=True):
            await job.done.wait()

    def _cancel(self, job: Job[Any]) -> None:
        """Cancel the work in progress. If the task has not received it, only mark it: cancelling would end the task."""
        job.cancelled = not job.begun
        if job.begun and not job.done.is_set():
            self._task.cancel()

    def terminate(self) -> None:
        """Close the connection at once; a statement in flight has an unknown outcome."""
        self._connection.terminate()
        self.close()

    def close(self) -> None:
        """Close the connection, after the work that it carries out."""
        self._closing = True
        if not self._next.done():
            self._next.set_result(None)

    async def _serve(self) -> None:
        """Carry out work until the connection is closed."""
        while self.usable:
            self._on_idle(self)
            job = await self._next
            self._next = self._task.get_loop().create_future()
            if job is not None:
                if not job.cancelled:
                    job.begun = True
                    await self._carry_out(job)
                self._job = None
                job.done.set()
        self._closing = True
        self._on_idle(self)
        with suppress(asyncpg.PostgresError, *OUTAGES):
            await self._connection.close(timeout=CANCEL_SECONDS)
        self.ended.set()

    async def _carry_out(self, job: Job[T]) -> None:
        """Store the value of the work, or its error. Close the connection if the error makes it unusable."""
        try:
            job.value = await job.work(self._connection)
        except asyncpg.PostgresError as error:
            job.error = error
            if loses_session(str(error.sqlstate)):
                self._connection.terminate()
        except OUTAGES as error:
            job.error = error
            self._connection.terminate()
        except asyncio.CancelledError:
            job.error = asyncpg.InterfaceError("the statement was cancelled")
            self._task.uncancel()
        except BaseException as error:  # reason: it belongs to the trio task that waits, which raises it
            job.error = error
            if isinstance(error, AttributeError) and self._connection.is_closed():
                # From inside asyncpg, if the connection is terminated between two of its messages.
                job.error = asyncpg.InterfaceError("connection is closed")


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
