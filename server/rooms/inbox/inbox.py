"""What waits for one room, in the order in which it arrived."""

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

ENDINGS = 64  # commands that end a call and still wait: when so many do, one more would say nothing new

_JOINS = inputs.Joined | inputs.OverlayJoined
Offered = inputs.CallAction | inputs.RoomAction | inputs.Joined | inputs.OverlayJoined


class RoomBroken(Exception):
    """Something that a room relies on beside its task has raised; it was logged there."""


class Budget(Enum):
    """What an input counts against while it waits."""

    NONE = 0  # delivered: bounded by what the room posted and by its members
    COMMANDS = 1
    ENDINGS = 2


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """An input, and when it arrived; of what people send also in whose context, so that a log line can name it."""

    given: inputs.Input
    at: Instant
    context: Context | None = None
    budget: Budget = Budget.NONE

    @property
    def is_rejoin(self) -> bool:
        """A join that no client asked for."""
        return self.budget is Budget.NONE and isinstance(self.given, _JOINS)


class _Awake:
    """What a reader that waits is woken with; trio asks it for its value.

    One for all: an `outcome.Value`, made anew for each wake, adds more than half to what a wake costs.
    """

    def unwrap(self) -> None: ...


_AWAKE: Any = _Awake()


class Inbox:
    """The queue that one room reads and everybody fills without waiting.

    Commands of clients are offered, and refused once `limit` of them wait. Everything else is delivered and never
    refused: receipts, presence, re-joins and the server's own orders are bounded by what the room posted and by its
    members. Commands that end a call have a budget of their own, so that a flood of others keeps no call from ending.
    """

    def __init__(self, clock: Clock, timers: RoomTimers, limit: int) -> None:
        self._clock = clock
        self._timers = timers
        self._wake_at: float | None = None  # when the alarm will ring for the reader
        self._limits = {Budget.COMMANDS: limit, Budget.ENDINGS: ENDINGS}
        self._used = dict.fromkeys(self._limits, 0)
        self._waiting: deque[Arrival] = deque()
        self._late: list[Arrival] = []  # what arrived in a stall that is open, and counts from its end
        self._stall_order: StallOrder | None = None
        self._holds_stall = False
        self._made_at = clock.now()
        self._reader: trio.lowlevel.Task | None = None
        self._broken = False
        self._closed = False

    def offer(self, given: Offered) -> bool:
        """Stamp a client's command and keep it; False if too many wait, or the room is over.

        The caller must answer a refused one.
        """
        budget = Budget.ENDINGS if ends_a_call(given) else Budget.COMMANDS
        if self._closed or self._used[budget] >= self._limits[budget]:
            return False
        self._used[budget] += 1
        self._append(given, copy_context(), budget)
        return True

    def deliver(self, given: inputs.Input) -> None:
        """Stamp it and keep it. Never refused; once the room is over there is nobody whom it could concern."""
        self._append(given)

    def put_back(self, taken: Iterable[Arrival]) -> None:
        """Keep what `take_all` returned, behind what waits now, in its order and with its budgets. Never refused."""
        for each in taken:
            if each.budget is not Budget.NONE:
                self._used[each.budget] += 1
            self._append(each.given, each.context, each.budget)

    def fail(self) -> None:
        """Crash the room's task: events or receipts were lost, so only a restart from the rows helps."""
        self._broken = True
        self._wake()

    def close(self) -> None:
        """Nobody reads any more: commands are refused from here on, or they would wait for an answer for ever."""
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

    def end_stall(self, began: float, unheard: bool) -> None:
        """The stall that began then, by the time of the stall watch, is over: let the room go on.

        Call it while the stall is still open. The room handles what stopped something in the stall, then the stall
        itself, then what fell due in it, and then the rest. `unheard`: nobody could be heard for `presence_seconds`.
        """
        since, until = self._clock.at(began), self._clock.now()
        if since >= self._made_at:
            self._waiting.append(Arrival(inputs.Stalled(until, unheard), since))
            self._holds_stall = True
        self._waiting.extend(Arrival(late.given, until, late.context, late.budget) for late in self._late)
        self._late.clear()
        self._stall_order = None

    def wake(self) -> None:
        """Let the reader look again: no stall is open any more."""
        self._wake()

    @property
    def holds_stall(self) -> bool:
        """The room has not taken notice yet of a stall: its clocks may show time in which nobody was heard."""
        return self._holds_stall or self._clock.stalls.began is not None

    async def next(self, deadline: Instant | None) -> Arrival:
        """The oldest input that arrived before `deadline`, or, once it has passed without one, `Elapsed`.

        While a stall is open there is none: what arrived in it must be read before anything falls due.

        Raises RoomBroken after `fail`.
        """
        if self._waiting or (deadline is not None and self._clock.now() >= deadline):
            await trio.lowlevel.checkpoint()  # a busy room lets others run, too; one that waits does so anyway
        stalls = self._clock.stalls
        while True:
            if self._broken:
                self._broken = False
                raise RoomBroken
            is_due = deadline is not None and self._clock.now() >= deadline
            # Arrivals were stamped with a look of the stall watch; before something falls due it looks closely.
            if stalls.look_closely() if is_due else stalls.began is not None:
                await self._wait(None)
            elif self._waiting and (deadline is None or self._waiting[0].at < deadline):
                return self._take()
            elif is_due and deadline is not None:
                return Arrival(inputs.Elapsed(), deadline)
            else:
                await self._wait(deadline)

    @property
    def holds_more(self) -> bool:
        """Something waits to be handled now."""
        return bool(self._waiting)

    def rejoins(self) -> list[inputs.Joined | inputs.OverlayJoined]:
        """Those that wait: joins that the server delivered itself, for members of a room that starts again."""
        return [
            given.given
            for given in (*self._waiting, *self._late)
            if given.is_rejoin and isinstance(given.given, _JOINS)
        ]

    def take_all(self) -> list[Arrival]:
        """Everything that waits, for a room that has ended or starts again."""
        self._waiting.extend(self._late)
        self._late.clear()
        taken = []
        while self._waiting:
            taken.append(self._take())
        return taken

    async def _wait(self, deadline: Instant | None) -> None:
        """For an arrival, or for the deadline; or for nothing, if an earlier one rings."""
        wake_at = None if deadline is None else self._clock.trio_time(deadline)
        if wake_at is not None and wake_at != self._wake_at:  # mostly it is the one that was set before
            self._timers.set(wake_at, self)
        self._wake_at = wake_at
        self._reader = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._leave)

    def on_timer(self, at: float) -> None:
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

    def _take(self) -> Arrival:
        taken = self._waiting.popleft()
        if taken.budget is not Budget.NONE:
            self._used[taken.budget] -= 1
        if type(taken.given) is inputs.Stalled:
            self._holds_stall = False
        return taken


def ends_a_call(given: inputs.Input) -> bool:
    """Whether this is a party's command to end a call, or to let it ring no longer."""
    return isinstance(given, inputs.CallAction) and isinstance(given.command, CallEnd | CallCancel | CallDecline)
