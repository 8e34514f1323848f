"""What waits for one room, in the order in which it arrived."""

from collections import deque
from contextvars import Context, copy_context
from typing import Any

import msgspec
import trio

from domain import inputs
from domain.commands import CallCancel, CallDecline, CallEnd
from domain.instant import Instant
from server.alarm import Alarm
from server.clock import Clock

ENDINGS = 64  # commands that end a call and still wait: when so many do, one more would say nothing new


class Given(msgspec.Struct, frozen=True, gc=False):
    """An input, and when it arrived; of what people send also in whose context, so that a log line can name it."""

    given: inputs.Input
    at: Instant
    context: Context | None = None


class _Awake:
    """What a reader that waits is woken with; trio asks it for its value.

    One for all: an `outcome.Value`, made anew for each wake, adds more than half to what a wake costs.
    """

    def unwrap(self) -> None: ...


_AWAKE: Any = _Awake()


class Inbox:
    """A bounded queue that one room reads and everybody fills without waiting.

    Only what people send can be refused: receipts, presence and the server's own words are bounded by what the room
    posted and by its members, and commands that end a call have places of their own, so no flood of others keeps
    a call from ending.
    """

    def __init__(self, clock: Clock, alarm: Alarm, limit: int) -> None:
        self._clock = clock
        self._alarm = alarm
        self._wake_at: float | None = None  # when the alarm will ring for the reader
        self._limit = limit
        self._waiting: deque[Given] = deque()
        self._commands = 0
        self._endings = 0
        self._reader: trio.lowlevel.Task | None = None

    def put(self, given: inputs.Input) -> bool:
        """Stamp it and leave it there; False if there is no room for it."""
        context = None
        if _can_be_refused(given):
            if self._commands >= self._limit:
                return False
            self._commands += 1
            context = copy_context()
        elif _ends_a_call(given):
            if self._endings >= ENDINGS:
                return False
            self._endings += 1
            context = copy_context()
        self._waiting.append(Given(given, self._clock.now(), context))
        self._wake()
        return True

    async def next(self, deadline: Instant | None) -> Given:
        """The oldest input that arrived before `deadline`, or, once it has passed without one, `Elapsed`."""
        if self._waiting or (deadline is not None and self._clock.now() >= deadline):
            await trio.lowlevel.checkpoint()  # a busy room lets others run, too; one that waits does so anyway
        while True:
            if self._waiting and (deadline is None or self._waiting[0].at < deadline):
                return self._take()
            if deadline is not None and self._clock.now() >= deadline:
                return Given(inputs.Elapsed(), deadline)
            await self._wait(deadline)

    @property
    def holds_more(self) -> bool:
        """Something waits to be handled now."""
        return bool(self._waiting)

    def take_all(self) -> list[Given]:
        """Everything that waits, for a room that has ended or starts again."""
        taken = []
        while self._waiting:
            taken.append(self._take())
        return taken

    async def _wait(self, deadline: Instant | None) -> None:
        """For an arrival, or for the deadline; or for nothing, if an earlier one rings."""
        wake_at = None if deadline is None else self._clock.trio_time(deadline)
        if wake_at is not None and wake_at != self._wake_at:  # mostly it is the one that was set before
            self._alarm.set(wake_at, self)
        self._wake_at = wake_at
        self._reader = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._leave)

    def ring(self, at: float) -> None:
        """The alarm: if it is still the one that the reader waits for, wake it."""
        if at == self._wake_at:
            self._wake_at = None
            self._wake()

    def _wake(self) -> None:
        if self._reader is not None:
            trio.lowlevel.reschedule(self._reader, _AWAKE)
            self._reader = None

    def _leave(self, _: object) -> trio.lowlevel.Abort:
        self._reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _take(self) -> Given:
        taken = self._waiting.popleft()
        if _can_be_refused(taken.given):
            self._commands -= 1
        elif _ends_a_call(taken.given):
            self._endings -= 1
        return taken


def _can_be_refused(given: inputs.Input) -> bool:
    # By exact type: `isinstance` of a struct asks its metaclass each time, and receipts come here at the highest rate.
    return type(given) in _ASKED or (type(given) is inputs.Acted and not _ends_a_call(given))


def _ends_a_call(given: inputs.Input) -> bool:
    return type(given) is inputs.Acted and isinstance(given.command, CallEnd | CallCancel | CallDecline)


_ASKED = frozenset({inputs.Joined, inputs.OverlayJoined, inputs.Said})
