"""Periodic work runs when it is due, however long a round takes."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing

from server.maintenance import LEAST_PAUSE, repeat
from server.observability.faults import Faults
from server.observability.metrics import Metrics


async def moments(rounds: int, seconds: float, work: Callable[[], Awaitable[None]]) -> list[float]:
    """Return when so many rounds started, counted from the first."""
    began, times = trio.current_time(), list[float]()

    async def note() -> None:
        times.append(trio.current_time() - began)
        if len(times) == rounds:
            nursery.cancel_scope.cancel()
        await work()

    async with trio.open_nursery() as nursery:
        await repeat(Faults(Metrics()), seconds, note)
    return times


async def test_rounds_that_take_a_while_do_not_delay_those_after_them(autojump_clock: trio.testing.MockClock) -> None:
    assert await moments(5, 1, partial(trio.sleep, 0.4)) == pytest.approx([1, 2, 3, 4, 5])


async def test_after_a_round_that_took_too_long_there_is_a_pause(autojump_clock: trio.testing.MockClock) -> None:
    times = await moments(4, 1, partial(trio.sleep, 1.3))
    assert times == pytest.approx([1 + number * (1.3 + LEAST_PAUSE) for number in range(4)])


async def test_rounds_that_raise_are_skipped(autojump_clock: trio.testing.MockClock) -> None:
    async def fail() -> None:
        raise RuntimeError("a round of a test")

    assert await moments(3, 1, fail) == pytest.approx([1, 2, 3])
