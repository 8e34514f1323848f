"""Work that is finished even if the client who asked for it is gone."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import trio

from server.observability.faults import Faults, is_fault
from storage.postgres import StorageUnavailable

T = TypeVar("T")


class TaskStopped(Exception):
    """The work was cancelled from within; how much of it is done is unknown."""


MAX_BACKGROUND_TASKS = 1000  # that wait for an absent database; one more request is refused instead


class BackgroundTasks:
    """A client that disconnects cancels its request, and nothing that was begun here."""

    def __init__(self, nursery: trio.Nursery, patience_seconds: float, faults: Faults) -> None:
        self._nursery = nursery
        self._patience_seconds = patience_seconds
        self._faults = faults

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` returns or raises. Raises StorageUnavailable if that takes too long; the work goes on."""
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
    def __init__(self, work: Callable[[], Awaitable[T]], faults: Faults) -> None:
        self._work = work
        self._faults = faults
        self._returned: list[T] = []
        self._raised: Exception = StorageUnavailable("no answer in time")
        self.awaited = True
        self.done = trio.Event()

    async def carry_out(self) -> None:
        try:
            self._returned.append(await self._work())
        except BaseException as error:  # reason: raised again where somebody waits for it, and logged where nobody does
            if not is_fault(error):
                raise
            self._raised = error if isinstance(error, Exception) else TaskStopped("cancelled, though nobody asked")
            if not self.awaited:
                self._faults.note("background_task", error, "background_task.failed", {})
        finally:
            self.done.set()

    def result(self) -> T:
        if self._returned:
            return self._returned[0]
        raise self._raised
