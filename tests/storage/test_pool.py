"""The pool shares a few connections, and gets each back however its user ends."""

import pytest
import trio
import trio.testing

from storage.database_errors import StatementRefused
from storage.postgres import Postgres, open_postgres

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


async def test_a_connection_comes_back_from_who_is_refused_and_from_who_stops_waiting(dsn: str) -> None:
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


async def _fetch_slowly(postgres: Postgres) -> None:
    await postgres.fetch("SELECT pg_sleep(0.2)")
