"""Work of requests that is finished even if the client disconnects.

A handler that moves tokens must not be cancelled half-way: the posting could commit, and its consequences (a started
room, a settled row) be missing until maintenance finds them.
"""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import trio

from server.observability.faults import Faults, is_fault
from storage.database_errors import StorageUnavailable

T = TypeVar("T")


class TaskStopped(Exception):
    """The work was cancelled from inside; it may be done in part."""


MAX_BACKGROUND_TASKS = 1000  # waiting for an absent database; further requests are refused


class BackgroundTasks:
    """Runs work in a nursery of the server, so that a disconnecting client cancels its request and not the work.

    `patience_seconds` is how long a request waits for its work. The nursery is that of `serve_http`; it is cancelled
    when the server stops.
    """

    def __init__(self, nursery: trio.Nursery, patience_seconds: float, faults: Faults) -> None:
        self._nursery = nursery
        self._patience_seconds = patience_seconds
        self._faults = faults

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work` and return its result, or raise its exception.

        Raises StorageUnavailable after `patience_seconds`, or at once if MAX_BACKGROUND_TASKS are running. The work
        continues after a timeout or a cancellation of the caller; if it then fails, the failure is logged.
        """
        task = self._begin(work)
        try:
            with trio.move_on_after(self._patience_seconds):
                await task.done.wait()
            return task.result()
        finally:
            task.awaited = False

    def _begin(self, work: Callable[[], Awaitable[T]]) -> "_BackgroundTask[T]":
        if len(self._nursery.child_tasks) >= MAX_BACKGROUND_TASKS:
            raise StorageUnavailable("too much waits for the database already")
        task = _BackgroundTask(work, self._faults)
        self._nursery.start_soon(task.carry_out)
        return task


class _BackgroundTask(Generic[T]):
    """The work of one request, and its result or exception once it is done. `awaited` is whether a request waits."""

    def __init__(self, work: Callable[[], Awaitable[T]], faults: Faults) -> None:
        self._work = work
        self._faults = faults
        self._returned: list[T] = []
        self._raised: Exception = StorageUnavailable("no answer in time")
        self.awaited = True
        self.done = trio.Event()

    async def carry_out(self) -> None:
        """The body of the task: do the work, and keep what it returns or raises for the request."""
        try:
            self._returned.append(await self._work())
        except BaseException as error:  # reason: raised again in the waiting request, else logged
            if not is_fault(error):
                raise
            self._raised = error if isinstance(error, Exception) else TaskStopped("cancelled without a request")
            if not self.awaited:
                self._faults.note("background_task", error, "background_task.failed", {})
        finally:
            self.done.set()

    def result(self) -> T:
        """Return the result or raise the exception; raises StorageUnavailable if the work is not done."""
        if self._returned:
            return self._returned[0]
        raise self._raised
