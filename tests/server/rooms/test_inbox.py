"""A room handles its inputs in the order of their arrival, and a flood leaves room for what must not be refused."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import trio
import trio.testing

from domain.ids import MemberId, UserId
from domain.protocol.commands import CallEnd, CallPause, CallResume
from domain.room import inputs
from server.clock import Clock
from server.observability.stall_detector import StallWatch
from server.rooms.inbox.inbox import ENDINGS, Arrival, Inbox
from server.rooms.inbox.timers import RoomTimers


class Nobody:
    def deliver(self, result: Any) -> None: ...


def pause() -> inputs.CallAction:
    return inputs.CallAction(UserId(uuid4()), CallPause(call_id=uuid4()), Nobody())


def end() -> inputs.CallAction:
    return inputs.CallAction(UserId(uuid4()), CallEnd(call_id=uuid4()), Nobody())


async def test_an_input_that_arrived_before_a_deadline_is_handled_before_it_though_the_room_woke_late(
    mock_clock: trio.testing.MockClock,
) -> None:
    clock = Clock()
    inbox = Inbox(clock, RoomTimers(), 10)
    deadline = clock.now() + 1_000_000
    mock_clock.jump(0.9)
    before = pause()
    inbox.offer(before)
    mock_clock.jump(0.2)
    inbox.offer(pause())
    assert (await inbox.next(deadline)).given is before
    elapsed = await inbox.next(deadline)
    assert (elapsed.given, elapsed.at) == (inputs.Elapsed(), deadline)
    assert (await inbox.next(None)).at > deadline


async def test_a_room_without_inputs_sleeps_until_its_deadline(autojump_clock: trio.testing.MockClock) -> None:
    clock, timers = Clock(), RoomTimers()
    deadline = clock.now() + 30_000_000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)
        assert (await Inbox(clock, timers, 10).next(deadline)).at == deadline
        assert clock.now() >= deadline
        nursery.cancel_scope.cancel()


async def test_a_moved_deadline_is_kept_and_the_earlier_one_wakes_nobody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clock, timers = Clock(), RoomTimers()
    inbox, left = Inbox(clock, timers, 10), inputs.Left(MemberId(uuid4()))
    first, later, sooner = (clock.now() + seconds * 1_000_000 for seconds in (30, 60, 40))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)
        inbox.deliver(left)
        assert (await inbox.next(first)).given is left
        nursery.start_soon(_bring_after, 5, inbox, left)
        assert (await inbox.next(first)).given is left
        nursery.start_soon(_bring_after, 5, inbox, left)
        assert (await inbox.next(later)).given is left
        assert (await inbox.next(sooner)).at == sooner
        assert sooner <= clock.now() < sooner + 1_000
        nursery.cancel_scope.cancel()


async def _bring_after(seconds: float, inbox: Inbox, left: inputs.Input) -> None:
    await trio.sleep(seconds)
    inbox.deliver(left)


async def test_a_room_wakes_for_an_input_that_arrives_while_it_sleeps(autojump_clock: trio.testing.MockClock) -> None:
    clock = Clock()
    inbox = Inbox(clock, RoomTimers(), 10)
    left = inputs.Left(MemberId(uuid4()))

    async def bring() -> None:
        await trio.sleep(5)
        inbox.deliver(left)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bring)
        assert (await inbox.next(clock.now() + 30_000_000)).given is left


async def test_a_flood_of_commands_is_refused_but_keeps_no_call_from_ending() -> None:
    inbox = Inbox(Clock(), RoomTimers(), 10)
    taken = [inbox.offer(pause()) for _ in range(1000)]
    assert taken.count(True) == 10
    assert inbox.offer(end())
    inbox.deliver(inputs.Receipts(()))
    inbox.deliver(inputs.Drain())
    assert [type(waiting.given) for waiting in inbox.take_all()][-2:] == [inputs.Receipts, inputs.Drain]


async def test_a_flood_of_endings_is_bounded_too() -> None:
    inbox = Inbox(Clock(), RoomTimers(), 10)
    assert [inbox.offer(end()) for _ in range(1000)].count(True) == ENDINGS


async def test_a_command_that_was_taken_out_leaves_its_capacity_to_others() -> None:
    inbox = Inbox(Clock(), RoomTimers(), 2)
    for _ in range(50):
        assert inbox.offer(pause())
        await inbox.next(None)
    inbox.offer(pause())
    inbox.offer(pause())
    assert not inbox.offer(pause())
    assert len(inbox.take_all()) == 2
    assert inbox.offer(pause())


async def test_inputs_that_the_server_delivers_are_never_refused_and_use_no_capacity_of_commands() -> None:
    inbox = Inbox(Clock(), RoomTimers(), 2)
    for _ in range(1000):
        inbox.deliver(inputs.Joined(MemberId(uuid4()), UserId(uuid4()), Nobody()))
    assert inbox.offer(pause()) and inbox.offer(pause())
    assert not inbox.offer(pause())
    assert len(inbox.take_all()) == 1002


async def test_commands_that_are_put_back_keep_their_order_and_their_capacity() -> None:
    inbox = Inbox(Clock(), RoomTimers(), 2)
    first, second = pause(), pause()
    assert inbox.offer(first) and inbox.offer(second)
    taken = inbox.take_all()
    joined = inputs.Joined(MemberId(uuid4()), UserId(uuid4()), Nobody())
    inbox.deliver(joined)
    inbox.put_back(taken)
    assert not inbox.offer(pause())
    assert [waiting.given for waiting in inbox.take_all()] == [joined, first, second]
    assert inbox.offer(pause())


# Stalls: inputs that arrived while the server did not run


class TimerListener:
    """The time for which a machine was suspended, as a test sets it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@asynccontextmanager
async def watched(slept: TimerListener | None = None) -> AsyncIterator[Clock]:
    """A clock whose stall watch looks as often as it should, as long as the test's clock does not leap."""
    clock = Clock(StallWatch(slept or TimerListener()))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clock.stalls.wait)
        await trio.testing.wait_all_tasks_blocked()
        yield clock
        nursery.cancel_scope.cancel()


def close_stall(clock: Clock, *inboxes: Inbox, all_silent: bool = False) -> None:
    began = clock.stalls.began
    assert began is not None
    for inbox in inboxes:
        inbox.end_stall(began, all_silent)
    clock.stalls.end(all_silent=all_silent)
    for inbox in inboxes:
        inbox.wake()


async def take(inbox: Inbox, deadline: int, count: int) -> list[tuple[inputs.Input, int]]:
    given = [await inbox.next(deadline) for _ in range(count)]
    return [(each.given, each.at) for each in given]


async def test_an_input_that_arrived_in_a_stall_is_handled_before_the_block_that_fell_due_in_it(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with watched() as clock:
        inbox = Inbox(clock, RoomTimers(), 10)
        began = clock.now()
        deadline = began + 1_000_000
        mock_clock.jump(20)
        hang_up, left = end(), inputs.Left(MemberId(uuid4()))
        assert inbox.offer(hang_up)
        inbox.deliver(left)
        close_stall(clock, inbox, all_silent=True)
        until = clock.now()
        assert await take(inbox, deadline, 4) == [
            (hang_up, began),
            (left, began),
            (inputs.Stalled(until, True), began),
            (inputs.Elapsed(), deadline),
        ]


async def test_nothing_falls_due_before_a_stall_is_closed_though_the_room_looks_first(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with watched() as clock, trio.open_nursery() as nursery:
        inbox, taken = Inbox(clock, RoomTimers(), 10), list[inputs.Input]()

        async def read() -> None:
            taken.append((await inbox.next(deadline)).given)

        deadline = clock.now() + 1_000_000
        mock_clock.jump(3)
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        hang_up = end()
        inbox.offer(hang_up)
        await trio.testing.wait_all_tasks_blocked()
        assert taken == []
        close_stall(clock, inbox)
        await trio.testing.wait_all_tasks_blocked()
        assert taken == [hang_up]


async def test_a_clock_that_starts_in_a_stall_counts_from_its_end_with_its_dependents(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with watched() as clock:
        inbox, user, member = Inbox(clock, RoomTimers(), 10), UserId(uuid4()), MemberId(uuid4())
        began = clock.now()
        resumed, paused = (inputs.CallAction(user, kind(call_id=uuid4()), Nobody()) for kind in (CallResume, CallPause))
        joined, left, other_left = (
            inputs.Joined(member, user, Nobody()),
            inputs.Left(member),
            inputs.Left(MemberId(uuid4())),
        )
        mock_clock.jump(3)
        for given in (resumed, paused, joined):
            assert inbox.offer(given)
        inbox.deliver(left)
        inbox.deliver(other_left)
        close_stall(clock, inbox)
        until = clock.now()
        assert await take(inbox, until + 1, 6) == [
            (other_left, began),
            (inputs.Stalled(until, False), began),
            (resumed, until),
            (paused, until),
            (joined, until),
            (left, until),
        ]


async def test_a_suspended_machine_has_stalled_though_the_monotonic_clock_stood_still(
    mock_clock: trio.testing.MockClock,
) -> None:
    slept = TimerListener()
    async with watched(slept) as clock:
        inbox = Inbox(clock, RoomTimers(), 10)
        mock_clock.jump(0.5)
        began = clock.now()
        slept.seconds = 3600
        left = inputs.Left(MemberId(uuid4()))
        with trio.move_on_after(0):
            await inbox.next(began)
        inbox.deliver(left)
        close_stall(clock, inbox, all_silent=True)
        assert clock.now() == began + 3_600_000_000
        assert await take(inbox, clock.now(), 2) == [(left, began), (inputs.Stalled(clock.now(), True), began)]


async def test_a_room_that_was_made_while_a_stall_was_open_knows_of_none(mock_clock: trio.testing.MockClock) -> None:
    async with watched() as clock:
        mock_clock.jump(3)
        clock.now()
        inbox, left = Inbox(clock, RoomTimers(), 10), inputs.Left(MemberId(uuid4()))
        made_at = clock.now()
        inbox.deliver(left)
        close_stall(clock, inbox)
        assert (await inbox.next(None)) == Arrival(left, made_at)
        assert not inbox.holds_stall
        assert not inbox.holds_more


async def test_pauses_shorter_than_two_seconds_are_no_stall(mock_clock: trio.testing.MockClock) -> None:
    async with watched() as clock:
        mock_clock.jump(1.9)
        clock.now()
        mock_clock.jump(1.9)
        clock.now()
        assert clock.stalls.began is None
