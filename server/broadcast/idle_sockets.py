"""Reads the sockets of idle clients, which send nothing but Pongs, in one task for all of them.

A client's own task would be resumed for each Pong and suspended again. Each time, some 17 objects of its wait are made
anew, and stay in the garbage collector's young generation: with 10,000 clients one collection took up to 0.26 s, in
which no block was posted. Here a task stays suspended until something arrives that it has to read.
"""

import select
from collections.abc import Callable
from typing import NamedTuple

import outcome
import trio

AT_ONCE = 128  # sockets read between two checkpoints


class _Waiting(NamedTuple):
    """A suspended task, and the function that receives its input."""

    task: trio.lowlevel.Task
    receive: Callable[[], bytes | None]


class IdleSockets:
    """The sockets whose tasks wait for input. `run` reads them; without it, no wait ends but by `notify_closing`."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._waiting: dict[int, _Waiting] = {}

    async def next_input(self, fileno: int, receive: Callable[[], bytes | None]) -> bytes:
        """Wait for input of a socket that the caller has to read, and return it.

        `receive` is called whenever the socket is readable. It returns the input, or None for input that needs nobody;
        its exceptions are raised here, except BlockingIOError. Raises ClosedResourceError after `notify_closing`.
        Cancellation leaves nothing behind.
        """
        self._epoll.register(fileno, select.EPOLLIN)
        self._waiting[fileno] = _Waiting(trio.lowlevel.current_task(), receive)

        def stop(_: object) -> trio.lowlevel.Abort:
            self._forget(fileno)
            return trio.lowlevel.Abort.SUCCEEDED

        data: bytes = await trio.lowlevel.wait_task_rescheduled(stop)
        return data

    def notify_closing(self, fileno: int) -> None:
        """Make the wait for this socket's input, if there is one, raise ClosedResourceError; before it is closed."""
        if fileno in self._waiting:
            self._resume(fileno, outcome.Error(trio.ClosedResourceError()))

    async def run(self) -> None:
        """Receive the input of idle sockets, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for fileno, _ in self._epoll.poll(0, AT_ONCE):
                self._receive(fileno)

    def _receive(self, fileno: int) -> None:
        """Receive the input of one socket, and resume its task if it has to read it or the socket failed."""
        waiting = self._waiting.get(fileno)
        if waiting is None:  # an earlier socket of the same turn has ended its wait
            return
        result = outcome.capture(waiting.receive)
        needs_nobody = isinstance(result, outcome.Value) and result.value is None
        if not needs_nobody and not _is_early(result):
            self._resume(fileno, result)

    def _resume(self, fileno: int, result: outcome.Value[bytes | None] | outcome.Error) -> None:
        waiting = self._forget(fileno)
        trio.lowlevel.reschedule(waiting.task, result)

    def _forget(self, fileno: int) -> _Waiting:
        """Watch the socket no longer: its task reads it, or it is being closed."""
        self._epoll.unregister(fileno)
        return self._waiting.pop(fileno)

    def __len__(self) -> int:
        """Return the number of sockets whose input is waited for here."""
        return len(self._waiting)


def _is_early(result: outcome.Value[bytes | None] | outcome.Error) -> bool:
    """Whether nothing had arrived in the end, which the kernel may find out only when it is asked."""
    return isinstance(result, outcome.Error) and isinstance(result.error, BlockingIOError)
