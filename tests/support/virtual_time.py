"""Moves a server's clock by hand while its sockets and its database are real."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import trio
import trio.testing

from server.config.settings import Settings
from server.context import Context
from tests.support.servers import running_server

STEP_SECONDS = 5.0  # after each, what it started in the database is waited for
LEAP_SECONDS = 1.0  # a longer one would be a stall
ROUNDING_SECONDS = 0.002  # a step may fall short of a deadline by the last digit of a float, and be a step late
PATIENCE_SECONDS = 20.0  # of real time


@asynccontextmanager
async def server_on(clock: trio.testing.MockClock, dsn: str, wanted: Settings) -> AsyncIterator[Context]:
    """Run a server whose clock stands until `pass_seconds`; while it starts and drains, its clock runs as usual."""
    clock.rate = 1.0
    # A lease is counted in real time, as the database counts it, and here it is renewed only when the clock is passed.
    patient = msgspec.structs.replace(wanted, server=msgspec.structs.replace(wanted.server, lease_seconds=3600))
    async with running_server(dsn, patient) as context:
        clock.rate = 0.0
        try:
            yield context
        finally:
            clock.rate = 1.0


async def pass_seconds(clock: trio.testing.MockClock, context: Context, seconds: float) -> None:
    """Advance the clock in steps. Each step waits until everything that the previous one started has finished."""
    await wait_quiet(context)
    clock.jump(ROUNDING_SECONDS)
    while seconds > 0:
        step = min(STEP_SECONDS, seconds)
        await wait_quiet(context)
        await _jump(clock, context, step)
        seconds -= step
    await wait_quiet(context)


async def _jump(clock: trio.testing.MockClock, context: Context, seconds: float) -> None:
    """Advance the clock in steps that are too short to count as a stall, and after each wait for the clients' pongs.

    A client that answers late, on a busy machine, would otherwise seem silent for as long as the clock advanced.
    """
    while seconds > 0:
        clock.jump(min(LEAP_SECONDS, seconds))
        seconds -= LEAP_SECONDS
        await trio.testing.wait_all_tasks_blocked()
        await _wait_all_received(context)


async def wait_quiet(context: Context) -> None:
    """Wait until every task waits for input, and no posting or statement is pending."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        await trio.testing.wait_all_tasks_blocked(0.01)
        if context.actor.idle and context.postgres.idle:
            return
        assert time.monotonic() < deadline, "the storage actor or the database did not come to rest"


async def _wait_all_received(context: Context) -> None:
    """Wait until every ping that was due has been answered."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        connections = [session.connection for session in context.sessions.by_member.values()]
        if all(connection.unanswered_since is None for connection in connections if connection is not None):
            return
        assert time.monotonic() < deadline, "a ping was not answered"
        await trio.testing.wait_all_tasks_blocked(0.01)
