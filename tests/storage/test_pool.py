"""The pool shares a few connections, and gets each back however its user ends."""

from typing import Any, cast

import pytest
import trio
import trio.testing

from storage.database_errors import StatementRefused, StorageUnavailable
from storage.postgres import LoneConnection, Postgres, open_postgres

PID = "SELECT pg_backend_pid() AS pid, pg_sleep(0.01)"


async def test_many_who_ask_at_once_share_a_few_connections(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=3) as postgres:
        pids: list[int] = []

        async def ask() -> None:
            pids.append((await postgres.fetch(PID))[0]["pid"])

        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(ask)
        assert len(pids) == 30
        assert 1 < len(set(pids)) <= 3


async def test_a_connection_returns_to_the_pool_after_a_refusal_and_after_a_cancellation(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres:
        for _ in range(3):
            with pytest.raises(StatementRefused):
                await postgres.fetch("SELECT 1 / 0")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_fetch_slowly, postgres)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        with trio.fail_after(10):
            assert (await postgres.fetch("SELECT 1 AS one"))[0]["one"] == 1


class TerminatedConnection:
    """A connection of asyncpg that is terminated between two messages of a statement."""

    def __init__(self, closed: bool) -> None:
        self._closed = closed

    async def fetchrow(self, *_: object, **__: object) -> None:
        raise AttributeError("'NoneType' object has no attribute 'bind_execute'")

    def is_closed(self) -> bool:
        return self._closed


async def test_a_connection_that_is_terminated_within_a_statement_is_unavailable(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=1):
        with pytest.raises(StorageUnavailable):
            await LoneConnection(cast(Any, TerminatedConnection(closed=True))).fetchrow("SELECT 1")
        with pytest.raises(AttributeError):
            await LoneConnection(cast(Any, TerminatedConnection(closed=False))).fetchrow("SELECT 1")


async def _fetch_slowly(postgres: Postgres) -> None:
    await postgres.fetch("SELECT pg_sleep(0.2)")
