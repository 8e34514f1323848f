"""Runs a function for many items with bounded concurrency."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import trio

T = TypeVar("T")


async def each(items: Iterable[T], act: Callable[[T], Awaitable[None]], at_once: int) -> None:
    """Run `act` for each item, started in order, at most `at_once` concurrently.

    The first exception cancels those under way and is raised in an exception group. An `act` of its own for each item,
    as in a nursery, would start thousands of tasks at once for a large run.
    """
    waiting = iter(items)

    async def work() -> None:
        for item in waiting:
            await act(item)

    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(work)
