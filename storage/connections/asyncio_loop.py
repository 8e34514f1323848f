"""The event loop of asyncio, inside of trio, in which asyncpg connects and closes, and the tasks beside it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from functools import partial
from typing import Any, TypeVar

import trio
import trio_asyncio

from storage.connections.trio_future import TrioFuture
from storage.connections.unhandled import UnhandledErrors
from storage.connections.watchdog import Watchdog

T = TypeVar("T")

RESTART_SECONDS = 1.0  # a task that always fails must not occupy the process


class AsyncioLoop:
    """An event loop of asyncio whose futures can wake trio tasks, and a nursery that ends before it."""

    def __init__(self, loop: trio_asyncio.TrioEventLoop, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.unhandled = UnhandledErrors()
        self.watchdog = Watchdog()
        self._loop = loop
        self._context = copy_context()  # its current event loop is this one, also where a caller has opened another
        loop.set_exception_handler(self.unhandled)
        # Asyncio's documented way to other futures; trio-asyncio offers none to another class of the loop.
        loop.create_future = partial(TrioFuture, loop=loop)
        self.start(self.watchdog.run, again=True)

    def context(self) -> Context:
        """Return a new context in which this loop is the current one."""
        return self._context.copy()

    def spawn(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Start a task of asyncio."""
        task: asyncio.Task[T] = self._loop.create_task(work, context=self.context())
        return task

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine function of asyncio in a task of its own, and return its result. Cancelling cancels it."""

        async def coroutine() -> T:
            return await work()

        result: T = await self._loop.run_aio_future(self.spawn(coroutine()))
        return result

    def start(self, work: Callable[[], Awaitable[None]], *, again: bool = False) -> None:
        """Start a trio task beside the loop. Its exception is reported and costs no other task.

        With `again`, the work begins anew RESTART_SECONDS after a failure.
        """
        self._nursery.start_soon(self._contain, work, again)

    async def _contain(self, work: Callable[[], Awaitable[None]], again: bool) -> None:
        pause = 0.0
        while True:
            try:
                await trio.sleep(pause)
                return await work()
            except BaseException as error:  # reason: nobody waits for this task, and it would end all others
                if self._nursery.cancel_scope.cancel_called:
                    raise
                self._loop.call_exception_handler({"message": "a task of the database failed", "exception": error})
            if not again:
                return None
            pause = RESTART_SECONDS


@asynccontextmanager
async def open_asyncio_loop() -> AsyncIterator[AsyncioLoop]:
    """Open an event loop; at the end, the tasks beside it are cancelled and the loop is closed.

    A cancellation from outside reaches those tasks only then: an answer that a caller waits for must still be read.
    """
    async with trio_asyncio.open_loop() as loop, trio.open_nursery() as nursery:
        tasks: trio.Nursery = await nursery.start(_open_shielded_nursery)
        try:
            yield AsyncioLoop(loop, tasks)
        finally:
            tasks.cancel_scope.cancel()


async def _open_shielded_nursery(task_status: trio.TaskStatus[trio.Nursery]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.shield = True
        task_status.started(nursery)
        await trio.sleep_forever()
