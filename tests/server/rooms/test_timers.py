"""The timers of all rooms: each awaited time is told once, and a replaced one costs no wake-up."""

import trio
import trio.testing

from server.rooms.inbox.timers import PAUSE_SECONDS, RoomTimers


class Listener:
    """Awaits one time, and notes when it was called."""

    def __init__(self) -> None:
        self.awaited: float | None = None
        self.called: list[float] = []  # by trio's clock

    def awaits(self, at: float) -> bool:
        return at == self.awaited

    def on_timer(self, at: float) -> None:
        self.awaited = None
        self.called.append(trio.current_time())


class Steps(trio.abc.Instrument):
    """Counts how often the task of the timers ran."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task.name == "timers"


async def test_replaced_times_wake_nobody(autojump_clock: trio.testing.MockClock) -> None:
    timers, listeners, steps = RoomTimers(), [Listener() for _ in range(100)], Steps()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run, name="timers")
        for i, listener in enumerate(listeners):
            timers.set(10 + i / 10, listener)
            timers.set(60, listener)
            listener.awaited = 60
        trio.lowlevel.add_instrument(steps)
        await trio.sleep(70)
        trio.lowlevel.remove_instrument(steps)
        nursery.cancel_scope.cancel()
    assert [listener.called for listener in listeners] == [[60]] * 100
    assert steps.count <= 4, "at its start, at the first of the replaced times, and at the end"


async def test_many_times_are_told_together_and_each_in_time(autojump_clock: trio.testing.MockClock) -> None:
    timers, listeners, steps = RoomTimers(), [Listener() for _ in range(1000)], Steps()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run, name="timers")
        trio.lowlevel.add_instrument(steps)
        for i, listener in enumerate(listeners):
            listener.awaited = 10 + i / 1000
            timers.set(listener.awaited, listener)
        await trio.sleep(12)
        trio.lowlevel.remove_instrument(steps)
        nursery.cancel_scope.cancel()
    late = [listener.called[0] - (10 + i / 1000) for i, listener in enumerate(listeners)]
    assert min(late) >= 0 and max(late) <= PAUSE_SECONDS + 1e-9
    assert late[0] == 0, "the first one is exact"
    assert steps.count <= 3 + 1 / PAUSE_SECONDS


async def test_a_time_that_was_set_twice_is_told_once(autojump_clock: trio.testing.MockClock) -> None:
    timers, listener = RoomTimers(), Listener()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)
        for at in (10, 20, 10):
            timers.set(at, listener)
        listener.awaited = 10
        await trio.sleep(30)
        nursery.cancel_scope.cancel()
    assert listener.called == [10]


async def test_an_earlier_time_is_told_before_the_one_that_was_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    timers, late, early = RoomTimers(), Listener(), Listener()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)
        timers.set(50, late)
        late.awaited = 50
        await trio.sleep(5)
        timers.set(10, early)
        early.awaited = 10
        await trio.sleep(10)
        assert (early.called, late.called) == ([10], [])
        await trio.sleep(40)
        assert late.called == [50]
        nursery.cancel_scope.cancel()
