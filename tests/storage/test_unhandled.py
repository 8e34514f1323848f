"""Errors that asyncio reports as unhandled are logged and counted, and end no task."""

import asyncio
import gc
import socket
from collections.abc import Callable
from typing import Any

import pytest
import structlog.testing
import trio_asyncio

from storage.connections.unhandled import MAX_KINDS, UnhandledErrors
from storage.postgres import open_postgres
from tests.storage.postgres_processes import eventually


def _drop_failed_future(loop: asyncio.AbstractEventLoop) -> None:
    loop.create_future().set_exception(RuntimeError("nobody retrieves this"))
    gc.collect()


def _raise_in_callback(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_soon(_fail)


def _raise_in_timer(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_later(0, _fail)


def _raise_in_task(loop: asyncio.AbstractEventLoop) -> None:
    async def fail() -> None:
        _fail()

    loop.create_task(fail())  # no reference is kept on purpose


def _raise_when_readable(loop: asyncio.AbstractEventLoop) -> None:
    """Raise as a transport does whose protocol raises."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.send(b"x")

    def read() -> None:
        loop.remove_reader(ours)
        ours.close()
        theirs.close()
        _fail()

    loop.add_reader(ours, read)


@pytest.mark.parametrize(
    "go_wrong", [_drop_failed_future, _raise_in_callback, _raise_in_timer, _raise_in_task, _raise_when_readable]
)
async def test_an_unhandled_error_is_counted_and_queries_continue(
    dsn: str, go_wrong: Callable[[asyncio.AbstractEventLoop], None]
) -> None:
    with structlog.testing.capture_logs() as logged:
        async with open_postgres(dsn, pool_size=1) as postgres:
            loop = trio_asyncio.current_loop.get()
            for count in (1, 2):
                go_wrong(loop)
                await _collect_until(postgres.unhandled, count)
            assert (await postgres.fetch("SELECT 1 AS one"))[0]["one"] == 1
    assert [line["event"] for line in logged] == ["asyncio.unhandled"]
    assert logged[0]["log_level"] == "error"


async def test_a_connection_whose_transport_breaks_costs_its_user_alone(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres:
        lone = await postgres.connect()
        connection: Any = lone._connection._connection
        connection._transport._fatal_error(ValueError("broken"), "made to break")
        await eventually(lambda: lone.closed)
        assert postgres.unhandled.count == 1
        assert (await postgres.fetch("SELECT 1 AS one"))[0]["one"] == 1


def test_a_hundred_kinds_fill_no_log_and_no_memory() -> None:
    unhandled = UnhandledErrors()
    with structlog.testing.capture_logs() as logged:
        for i in range(100):
            unhandled(None, {"message": f"number {i}"})
            unhandled(None, {"message": f"number {i}"})
    assert (unhandled.count, len(logged)) == (200, MAX_KINDS)


def test_an_error_that_cannot_be_logged_is_counted() -> None:
    class Unspeakable:
        def __str__(self) -> str:
            raise ValueError("no words")

    unhandled = UnhandledErrors()
    unhandled(None, {"message": Unspeakable()})
    unhandled(None, {})
    assert unhandled.count >= 2


async def _collect_until(unhandled: UnhandledErrors, count: int) -> None:
    def are_counted() -> bool:
        gc.collect()
        return unhandled.count == count

    await eventually(are_counted)


def _fail() -> None:
    raise RuntimeError("nobody handles this")
