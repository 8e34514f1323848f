"""The pool shares a few connections, and gets each back however its user ends."""

import pytest
import trio
import trio.testing

from storage.connections import pool
from storage.connections.trio_connection import Connection
from storage.database_errors import StatementRefused, StorageUnavailable
from storage.postgres import Postgres, open_postgres
from tests.storage.postgres_processes import eventually

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


async def test_an_idle_connection_that_the_server_has_closed_is_replaced(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres, open_postgres(dsn, pool_size=1) as other:
        pid = (await postgres.fetch(PID))[0]["pid"]
        await other.fetch("SELECT pg_terminate_backend($1)", pid)
        await eventually(lambda: not any(connection.usable for connection in postgres._pool._open))
        assert (await postgres.fetch(PID))[0]["pid"] != pid


async def test_a_connection_that_is_lost_as_soon_as_it_has_logged_in_is_replaced(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres:
        real, watched = postgres._pool._log_in, postgres._pool._loop.watchdog._watched
        opened: list[Connection] = []

        async def lose_the_first() -> Connection:
            opened.append(await real())
            if len(opened) == 1:
                opened[0].terminate()
            return opened[-1]

        postgres._pool.expire()
        monkeypatch.setattr(postgres._pool, "_log_in", lose_the_first)
        with trio.fail_after(10):
            assert (await postgres.fetch("SELECT 1 AS one"))[0]["one"] == 1
        assert (len(opened), len(watched)) == (2, 1)


async def test_more_tasks_than_can_wait_are_refused_at_once(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "WAITING_MAX", 3)
    async with open_postgres(dsn, pool_size=1) as postgres, trio.open_nursery() as nursery:
        for _ in range(1 + 3):
            nursery.start_soon(_fetch_slowly, postgres)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(StorageUnavailable, match="busy"):
            await postgres.fetch("SELECT 1")


async def test_a_task_that_waits_too_long_for_a_connection_is_refused(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres, trio.open_nursery() as nursery:
        monkeypatch.setattr(pool, "WAIT_SECONDS", 0.05)
        nursery.start_soon(_fetch_slowly, postgres)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(StorageUnavailable, match="busy"):
            await postgres.fetch("SELECT 1")


async def _fetch_slowly(postgres: Postgres) -> None:
    await postgres.fetch("SELECT pg_sleep(0.2)")
