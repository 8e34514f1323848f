"""Runs coroutines of asyncpg in the trio tasks that want their results: their futures wake the trio task directly.

trio-asyncio would run each step in a task of its own, several turns of trio's loop later, and a statement would cost
three times as much.
"""

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, TypeVar, cast

import trio

T = TypeVar("T")


class TrioFuture(asyncio.Future[Any]):
    """A future of asyncio, for `loop.create_future`, whose end one trio task may wait for."""

    _waiting: trio.lowlevel.Task | None = None
    _may_leave = True
    _called_at_once: tuple[Callable[[Any], object], ...] = ()

    def add_done_callback(self, fn: Callable[[Any], object], *, context: Context | None = None) -> None:
        """Call `fn` once the future is done: at once if it is code of asyncpg, in a later step if it resumes a task.

        Only tasks pass a context. A callback that is no task's only notes something, which needs no step of the loop.
        """
        if context is None and not self.done():
            self._called_at_once += (fn,)
        else:
            super().add_done_callback(fn, context=context)

    def remove_done_callback(self, fn: Callable[[Any], object]) -> int:
        kept = tuple(each for each in self._called_at_once if each != fn)
        removed = len(self._called_at_once) - len(kept)
        self._called_at_once = kept
        return removed + super().remove_done_callback(fn)

    def set_result(self, result: Any) -> None:
        super().set_result(result)
        self._note_done()

    def set_exception(self, exception: Any) -> None:
        super().set_exception(exception)
        self._note_done()

    def cancel(self, msg: Any = None) -> bool:
        if cancelled := super().cancel(msg):
            self._note_done()
        return cancelled

    async def wait_done(self, *, may_be_cancelled: bool) -> None:
        """Wait until the future has a result or an exception, or is cancelled. Only one task may wait.

        Cancellation cancels the future, or with `may_be_cancelled=False` is deferred to the task's next checkpoint.
        """
        if not self.done():
            self._waiting, self._may_leave = trio.lowlevel.current_task(), may_be_cancelled
            await trio.lowlevel.wait_task_rescheduled(self._leave)

    def _leave(self, _: object) -> trio.lowlevel.Abort:
        if not self._may_leave:
            return trio.lowlevel.Abort.FAILED
        self._waiting = None
        self.cancel()
        return trio.lowlevel.Abort.SUCCEEDED

    def _note_done(self) -> None:
        callbacks, self._called_at_once = self._called_at_once, ()
        for callback in callbacks:
            callback(self)
        task, self._waiting = self._waiting, None
        if task is not None:
            trio.lowlevel.reschedule(task)


async def run_in_trio(coroutine: Coroutine[Any, Any, T], context: Context, *, may_be_cancelled: bool) -> T:
    """Run a coroutine of asyncio that awaits nothing but futures of `loop.create_future`, and return its result.

    Each step runs in `context`. No task of asyncio is current meanwhile, so asyncio's timeouts do not work in it.
    Cancellation cancels the future that it waits for and leaves the rest of it to `finish`; with
    `may_be_cancelled=False` it is deferred.
    """
    try:
        while True:
            future = cast(TrioFuture, context.run(coroutine.send, None))
            future._asyncio_future_blocking = False  # which asyncio's own tasks reset, too: the wait has begun
            await future.wait_done(may_be_cancelled=may_be_cancelled)
    except StopIteration as stop:
        return cast(T, stop.value)


@types.coroutine
def finish(coroutine: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Run the rest of a coroutine that was begun, in a task of asyncio."""
    return (yield from cast(Generator[Any, Any, T], coroutine))
