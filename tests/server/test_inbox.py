"""What waits for a room is handled in the order in which it arrived, and floods leave room for what matters."""

from typing import Any
from uuid import uuid4

import trio.testing

from domain import inputs
from domain.commands import CallEnd, CallPause
from domain.ids import MemberId, UserId
from server.alarm import Alarm
from server.clock import Clock
from server.inbox import ENDINGS, Inbox


class Nobody:
    def deliver(self, result: Any) -> None: ...


def pause() -> inputs.Acted:
    return inputs.Acted(UserId(uuid4()), CallPause(call_id=uuid4()), Nobody())


def end() -> inputs.Acted:
    return inputs.Acted(UserId(uuid4()), CallEnd(call_id=uuid4()), Nobody())


async def test_what_arrived_before_a_deadline_comes_before_it_though_the_room_woke_late(
    mock_clock: trio.testing.MockClock,
) -> None:
    clock = Clock()
    inbox = Inbox(clock, Alarm(), 10)
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


async def test_a_room_without_news_sleeps_until_its_deadline(autojump_clock: trio.testing.MockClock) -> None:
    clock, alarm = Clock(), Alarm()
    deadline = clock.now() + 30_000_000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarm.run)
        assert (await Inbox(clock, alarm, 10).next(deadline)).at == deadline
        assert clock.now() >= deadline
        nursery.cancel_scope.cancel()


async def test_a_deadline_that_moved_is_kept_and_the_one_before_it_wakes_nobody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clock, alarm = Clock(), Alarm()
    inbox, news = Inbox(clock, alarm, 10), inputs.Left(MemberId(uuid4()))
    first, later, sooner = (clock.now() + seconds * 1_000_000 for seconds in (30, 60, 40))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarm.run)
        inbox.deliver(news)
        assert (await inbox.next(first)).given is news
        nursery.start_soon(_bring_after, 5, inbox, news)
        assert (await inbox.next(first)).given is news
        nursery.start_soon(_bring_after, 5, inbox, news)
        assert (await inbox.next(later)).given is news
        assert (await inbox.next(sooner)).at == sooner
        assert sooner <= clock.now() < sooner + 1_000
        nursery.cancel_scope.cancel()


async def _bring_after(seconds: float, inbox: Inbox, news: inputs.Input) -> None:
    await trio.sleep(seconds)
    inbox.deliver(news)


async def test_a_room_wakes_for_what_arrives_while_it_sleeps(autojump_clock: trio.testing.MockClock) -> None:
    clock = Clock()
    inbox = Inbox(clock, Alarm(), 10)
    news = inputs.Left(MemberId(uuid4()))

    async def bring() -> None:
        await trio.sleep(5)
        inbox.deliver(news)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bring)
        assert (await inbox.next(clock.now() + 30_000_000)).given is news


async def test_a_flood_of_commands_is_refused_but_keeps_no_call_from_ending() -> None:
    inbox = Inbox(Clock(), Alarm(), 10)
    taken = [inbox.offer(pause()) for _ in range(1000)]
    assert taken.count(True) == 10
    assert inbox.offer(end())
    inbox.deliver(inputs.Receipts(()))
    inbox.deliver(inputs.Drain())
    assert [type(waiting.given) for waiting in inbox.take_all()][-2:] == [inputs.Receipts, inputs.Drain]


async def test_a_flood_of_endings_is_bounded_too() -> None:
    inbox = Inbox(Clock(), Alarm(), 10)
    assert [inbox.offer(end()) for _ in range(1000)].count(True) == ENDINGS


async def test_what_was_taken_out_leaves_its_place_to_others() -> None:
    inbox = Inbox(Clock(), Alarm(), 2)
    for _ in range(50):
        assert inbox.offer(pause())
        await inbox.next(None)
    inbox.offer(pause())
    inbox.offer(pause())
    assert not inbox.offer(pause())
    assert len(inbox.take_all()) == 2
    assert inbox.offer(pause())


async def test_what_the_server_delivers_is_never_refused_and_takes_no_place_of_a_command() -> None:
    inbox = Inbox(Clock(), Alarm(), 2)
    for _ in range(1000):
        inbox.deliver(inputs.Joined(MemberId(uuid4()), UserId(uuid4()), Nobody()))
    assert inbox.offer(pause()) and inbox.offer(pause())
    assert not inbox.offer(pause())
    assert len(inbox.take_all()) == 1002


async def test_commands_that_are_put_back_keep_their_order_and_their_places() -> None:
    inbox = Inbox(Clock(), Alarm(), 2)
    first, second = pause(), pause()
    assert inbox.offer(first) and inbox.offer(second)
    taken = inbox.take_all()
    joined = inputs.Joined(MemberId(uuid4()), UserId(uuid4()), Nobody())
    inbox.deliver(joined)
    inbox.put_back(taken)
    assert not inbox.offer(pause())
    assert [waiting.given for waiting in inbox.take_all()] == [joined, first, second]
    assert inbox.offer(pause())
