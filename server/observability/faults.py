"""Contains unexpected exceptions: logs each once, counts it, and keeps the surrounding tasks running.

In trio an exception that leaves a task cancels its nursery, and at the top that ends the process with all its calls. So
everything that runs because of a client's input or a database row runs inside `contained` or `run`. Exceptions of the
storage actor, the lease and the listeners are not contained: the process cannot serve without these, and ends.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from types import TracebackType
from typing import Literal, TypeAlias, get_args

import structlog
import trio

from server.observability.metrics import Metrics

RESTART_SECONDS = 1.0  # between two runs of a failed service, so that a lasting fault does not fill the log

Where: TypeAlias = Literal[
    "adoption",  # a live room could not be restored from its rows
    "timers",  # the timers of all rooms were restarted
    "command",  # one command was answered INTERNAL
    "connection",  # one connection was closed
    "demo",  # an automatic creator of the demo lost its session
    "background_task",  # one request was answered 500
    "fanout",  # one room was restarted, since events for its members were lost
    "heartbeat",  # one connection was closed, or one round of checks was skipped
    "bus",  # a message of another server, or the connection to the broker, which is opened anew
    "idle_sockets",  # the task that reads the sockets of idle clients was restarted
    "keys",  # the task that reads the public keys was restarted
    "late_blocks",  # a user who was blocked as a room opened may be in it
    "maintenance",  # one part of one round was skipped
    "observer",  # rooms and users did not get the events of one batch
    "recall",  # one command was answered INTERNAL
    "receipts",  # one room was restarted, since receipts for it were lost
    "refund",  # one ticket was not given back
    "release",  # a stream's tickets stay in escrow until a later round
    "reply",  # one command got no answer
    "request",  # one HTTP request was answered 500
    "rights",  # the session of a user whose rights changed was ended
    "room",  # one room was restarted or ended
    "room_end",  # an abandoned room could not be ended from its rows
    "stalls",  # the recovery from a stall was restarted
    "tell",  # one private event was lost
]

log = structlog.get_logger(__name__)


class Faults:
    """Catches and counts unexpected exceptions. A fault costs what the comment on its `Where` says, never the process.

    One object serves the whole server. An alert watches its counter `halfminute_faults`.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        metrics.name_faults(get_args(Where))

    def note(self, where: Where, error: BaseException, event: str, fields: dict[str, object]) -> None:
        """Log an unexpected exception at level error with its traceback, and count it.

        `event` is the name of the log event, and `fields` are its further fields.
        Without memory for the log line it is only counted: a contained fault must not end the process because it cannot
        be logged.
        """
        self._metrics.fault(where)
        with suppress(MemoryError):
            log.error(event, exc_info=error, **fields)

    def contained(
        self,
        where: Where,
        on_fault: Callable[[], None] | None = None,
        *,
        expected: type[Exception] | None = None,
        **fields: object,
    ) -> "_Contained":
        """Return a context manager that logs and suppresses exceptions of its block, and then calls `on_fault`.

        An `expected` exception is not a fault and propagates to the caller. A cancellation from outside propagates too.
        A stray `Cancelled` that no scope asked for is a fault: in trio it would silently cancel the sibling tasks.
        `on_fault` undoes or ends what the block left half-done, for example the room; its own exception is contained
        too. `fields` are added to the log event.
        """
        return _Contained(self, where, on_fault, expected, fields)

    async def run(
        self, where: Where, work: Callable[[], Awaitable[None]], on_fault: Callable[[], None] | None = None
    ) -> None:
        """Run `work` as the body of a task, so that its exception does not cancel the nursery."""
        with self.contained(where, on_fault):
            await work()

    async def keep_running(self, where: Where, work: Callable[[], Awaitable[None]]) -> None:
        """Run a service until cancelled, and restart it RESTART_SECONDS after it has raised or returned.

        Restarts are unlimited: a restart of the process would end live rooms, and an alert watches the counter.
        """
        while True:
            await self.run(where, work)
            await trio.sleep(RESTART_SECONDS)

    async def keep_started(
        self,
        where: Where,
        work: Callable[..., Awaitable[None]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Like `keep_running`, for a service with a `task_status`; one that raises early counts as started.

        Otherwise the start of the server would wait for a service that cannot start.
        """
        status = _Started(task_status)
        while True:
            with self.contained(where):
                await work(task_status=status)
            status.started()
            await trio.sleep(RESTART_SECONDS)


class _Started(trio.TaskStatus[None]):
    """Forwards the first `started` of a service that may be restarted."""

    def __init__(self, task_status: trio.TaskStatus[None]) -> None:
        self._task_status = task_status
        self._done = False

    def started(self, value: None = None) -> None:
        """Report the service as started, unless that has been done: trio allows it once."""
        if not self._done:
            self._done = True
            self._task_status.started()


class _Contained:
    """The context manager of `contained`; a class, since a generator is too slow for every receipt."""

    __slots__ = ("_expected", "_faults", "_fields", "_on_fault", "_where")

    def __init__(
        self,
        faults: Faults,
        where: Where,
        on_fault: Callable[[], None] | None,
        expected: type[Exception] | None,
        fields: dict[str, object],
    ) -> None:
        self._faults = faults
        self._where = where
        self._on_fault = on_fault
        self._expected = expected
        self._fields = fields

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            return False
        if not is_fault(error) or (self._expected is not None and isinstance(error, self._expected)):
            return False
        self._faults.note(self._where, error, f"{self._where}.fault", self._fields)
        if self._on_fault is not None:
            with _Contained(self._faults, self._where, None, None, self._fields):
                self._on_fault()
        return True


def is_fault(error: BaseException) -> bool:
    """Return whether this is an unexpected error: not the end of the process, and not a requested cancellation.

    KeyboardInterrupt and SystemExit are no faults, and neither is a group that contains one of them.
    """
    if isinstance(error, Exception):
        return True
    if isinstance(error, BaseExceptionGroup):
        return all(is_fault(each) for each in error.exceptions)
    return isinstance(error, trio.Cancelled) and trio.current_effective_deadline() != -inf
