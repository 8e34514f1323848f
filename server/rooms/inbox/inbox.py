"""The queue of inputs of one room, in order of arrival."""

from collections import deque
from collections.abc import Iterable
from contextvars import Context, copy_context
from enum import Enum
from typing import Any

import msgspec
import trio

from domain.instant import Instant
from domain.protocol.commands import CallCancel, CallDecline, CallEnd
from domain.room import inputs
from server.clock import Clock
from server.rooms.inbox.stall_order import StallOrder
from server.rooms.inbox.timers import RoomTimers

ENDINGS = 64  # commands that end a call and may wait at once; further ones would change nothing

_JOINS = inputs.Joined | inputs.OverlayJoined
Offered = inputs.CallAction | inputs.RoomAction | inputs.Joined | inputs.OverlayJoined


class RoomBroken(Exception):
    """Work outside of the room's task has failed, and was logged there; the room must restart."""


class Budget(Enum):
    """The limit that an input counts against while it waits."""

    NONE = 0  # delivered inputs; their number is bounded by the room's postings and members
    COMMANDS = 1
    ENDINGS = 2


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """An input with its time of arrival. `context` holds the log fields of the client's request or connection."""

    given: inputs.Input
    at: Instant
    context: Context | None = None
    budget: Budget = Budget.NONE

    @property
    def is_rejoin(self) -> bool:
        """Whether this is a join that the server delivered, for a member of a restarted room."""
        return self.budget is Budget.NONE and isinstance(self.given, _JOINS)


class _Awake:
    """The outcome with which trio resumes a waiting reader.

    One object serves all: a new `outcome.Value` for each wake-up would make it half as expensive again.
    """

    def unwrap(self) -> None: ...


_AWAKE: Any = _Awake()


class Inbox:
    """The queue from which one room's task reads; any task may add to it without waiting.

    Commands of clients are offered, and refused once `limit` of them wait. All other inputs are delivered and never
    refused: receipts, presence, rejoins and the server's own orders are bounded by the room's postings and members.
    Commands that end a call have a limit of their own, so that a flood of others cannot keep a call from ending.
    """

    def __init__(self, clock: Clock, timers: RoomTimers, limit: int) -> None:
        self._clock = clock
        self._timers = timers
        self._wake_at: float | None = None  # when the timer wakes the reader, by trio's clock
        self._limits = {Budget.COMMANDS: limit, Budget.ENDINGS: ENDINGS}
        self._used = dict.fromkeys(self._limits, 0)
        self._waiting: deque[Arrival] = deque()
        self._late: list[Arrival] = []  # inputs of the present stall that count from its end
        self._stall_order: StallOrder | None = None
        self._holds_stall = False
        self._made_at = clock.now()
        self._reader: trio.lowlevel.Task | None = None
        self._broken = False
        self._closed = False

    def offer(self, given: Offered) -> bool:
        """Add a client's command with the time of its arrival; False if too many wait, or the room is over.

        The caller must answer a refused command.
        """
        budget = Budget.ENDINGS if ends_a_call(given) else Budget.COMMANDS
        if self._closed or self._used[budget] >= self._limits[budget]:
            return False
        self._used[budget] += 1
        self._append(given, copy_context(), budget)
        return True

    def deliver(self, given: inputs.Input) -> None:
        """Add an input of the server with the time of its arrival. Never refused; ignored once the room is over."""
        self._append(given)

    def put_back(self, taken: Iterable[Arrival]) -> None:
        """Add again what `take_all` returned, behind the inputs that wait now. Never refused, even beyond a limit."""
        for each in taken:
            if each.budget is not Budget.NONE:
                self._used[each.budget] += 1
            self._append(each.given, each.context, each.budget)

    def fail(self) -> None:
        """Make `next` raise RoomBroken, so that the room restarts from its rows: events or receipts were lost."""
        self._broken = True
        self._wake()

    def close(self) -> None:
        """Refuse all further commands, since no task reads them and they would never be answered."""
        self._closed = True

    def _append(self, given: inputs.Input, context: Context | None = None, budget: Budget = Budget.NONE) -> None:
        now, began = self._clock.now(), self._clock.stalls.began
        if began is None:
            self._waiting.append(Arrival(given, now, context, budget))
        else:
            self._append_in_stall(Arrival(given, max(self._clock.at(began), self._made_at), context, budget))
        self._wake()

    def _append_in_stall(self, given: Arrival) -> None:
        self._stall_order = self._stall_order or StallOrder()
        if self._stall_order.is_late(given.given):
            self._late.append(given)
        else:
            self._waiting.append(given)

    def end_stall(self, began: float, all_silent: bool) -> None:
        """Order the inputs of a stall that began at `began` (a time of the stall watch) and is over now.

        Call it while the stall is still open. The room then handles the inputs that stop something, the stall itself,
        what fell due in it, and the rest. `all_silent` states that no client could be received for `presence_seconds`.
        """
        since, until = self._clock.at(began), self._clock.now()
        if since >= self._made_at:
            self._waiting.append(Arrival(inputs.Stalled(until, all_silent), since))
            self._holds_stall = True
        self._waiting.extend(Arrival(late.given, until, late.context, late.budget) for late in self._late)
        self._late.clear()
        self._stall_order = None

    def wake(self) -> None:
        """Wake the reader after a stall was closed."""
        self._wake()

    @property
    def holds_stall(self) -> bool:
        """Whether the room has yet to handle a stall, whose time its meters still count."""
        return self._holds_stall or self._clock.stalls.began is not None

    async def next(self, deadline: Instant | None) -> Arrival:
        """Wait for the oldest input that arrived before `deadline`, or for the deadline itself, returned as `Elapsed`.

        While a stall is open neither is returned: inputs that arrived in it are handled before anything falls due.
        Cancellation takes no input. Raises RoomBroken after `fail`.
        """
        if self._waiting or (deadline is not None and self._clock.now() >= deadline):
            await trio.lowlevel.checkpoint()  # a busy room lets other tasks run; a waiting one does so anyway
        stalls = self._clock.stalls
        while True:
            if self._broken:
                self._broken = False
                raise RoomBroken
            is_due = deadline is not None and self._clock.now() >= deadline
            # The stall watch is read for each arrival; before a deadline it checks more closely for a stall.
            if stalls.check_for_suspension() if is_due else stalls.began is not None:
                await self._wait(None)
            elif self._waiting and (deadline is None or self._waiting[0].at < deadline):
                return self._take()
            elif is_due and deadline is not None:
                return Arrival(inputs.Elapsed(), deadline)
            else:
                await self._wait(deadline)

    @property
    def holds_more(self) -> bool:
        """Whether an input waits."""
        return bool(self._waiting)

    def rejoins(self) -> list[inputs.Joined | inputs.OverlayJoined]:
        """The waiting joins that the server delivered, for members of a restarted room."""
        return [
            given.given
            for given in (*self._waiting, *self._late)
            if given.is_rejoin and isinstance(given.given, _JOINS)
        ]

    def take_all(self) -> list[Arrival]:
        """Take all waiting inputs, for a room that has ended or restarts."""
        self._waiting.extend(self._late)
        self._late.clear()
        taken = []
        while self._waiting:
            taken.append(self._take())
        return taken

    async def _wait(self, deadline: Instant | None) -> None:
        """Wait for an input or for the deadline; may also return early, after the timer of an earlier deadline."""
        wake_at = None if deadline is None else self._clock.trio_time(deadline)
        if wake_at is not None and wake_at != self._wake_at:  # mostly the timer is set already
            self._timers.set(wake_at, self)
        self._wake_at = wake_at
        self._reader = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._leave)

    def awaits(self, at: float) -> bool:
        """Whether the reader still has to be woken at this time."""
        return at == self._wake_at

    def on_timer(self, at: float) -> None:
        """Wake the reader, since the time has come that it awaits."""
        self._wake_at = None
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None:
            trio.lowlevel.reschedule(self._reader, _AWAKE)
            self._reader = None

    def _leave(self, _: object) -> trio.lowlevel.Abort:
        self._reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _take(self) -> Arrival:
        taken = self._waiting.popleft()
        if taken.budget is not Budget.NONE:
            self._used[taken.budget] -= 1
        if type(taken.given) is inputs.Stalled:
            self._holds_stall = False
        return taken


def ends_a_call(given: inputs.Input) -> bool:
    """Whether this is a command that ends, cancels or declines a call."""
    return isinstance(given, inputs.CallAction) and isinstance(given.command, CallEnd | CallCancel | CallDecline)
