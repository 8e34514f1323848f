"""A connection and its asyncio task: work that raises, is cancelled, is overdue, or loses its connection."""

import random
from typing import Any, cast

import pytest
import trio
import trio_asyncio

from storage.connections.connection_task import ConnectionTask
from storage.database_errors import StatementRefused, StorageUnavailable
from storage.postgres import Postgres, open_postgres

PATIENCE_SECONDS = 10.0
AT_ONCE = 50
DELAY_SECONDS_MAX = 0.004  # about as long as the slowest of the requests takes


class TerminatedConnection:
    """A connection of asyncpg that is terminated between two messages of a statement."""

    def __init__(self, closed: bool) -> None:
        self._closed = closed

    async def fetchrow(self, *_: object, **__: object) -> None:
        raise AttributeError("'NoneType' object has no attribute 'bind_execute'")

    async def close(self, timeout: float) -> None:
        pass

    def is_closed(self) -> bool:
        return self._closed


@pytest.mark.parametrize(("closed", "raised"), [(True, StorageUnavailable), (False, AttributeError)])
async def test_a_connection_that_is_terminated_within_a_statement_is_unavailable(
    closed: bool, raised: type[Exception]
) -> None:
    async with trio_asyncio.open_loop() as loop:
        broken = TerminatedConnection(closed=False)
        task = ConnectionTask(loop.create_task, cast(Any, broken))
        await trio.testing.wait_all_tasks_blocked()
        broken._closed = closed
        with pytest.raises(raised):
            await task.run(lambda connection: connection.fetchrow("SELECT 1"))
        task.close()
        await task.ended.wait()


async def test_an_answer_that_is_overdue_closes_the_connection(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres:
        before = await _pid(postgres)
        with pytest.raises(StorageUnavailable, match="does not answer"):
            await postgres.transaction(_sleep, seconds=0.2)
        assert await _pid(postgres) != before


async def test_a_cancelled_statement_leaves_its_connection_usable(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres:
        before = await _pid(postgres)
        with trio.move_on_after(0.2) as waiting:
            await postgres.fetch("SELECT pg_sleep(30)")
        assert waiting.cancelled_caught
        assert await _pid(postgres) == before


async def test_work_of_a_caller_that_is_cancelled_already_is_not_begun(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres:
        await postgres.execute("CREATE TABLE noted (n integer)")
        with trio.CancelScope() as scope:
            scope.cancel()
            await postgres.execute("INSERT INTO noted VALUES (1)")
        assert scope.cancelled_caught
        assert await postgres.fetch("SELECT n FROM noted") == []


async def test_work_that_is_cancelled_as_it_is_handed_over_leaves_its_connection_usable() -> None:
    async with trio_asyncio.open_loop() as loop:
        task = ConnectionTask(loop.create_task, cast(Any, TerminatedConnection(closed=False)))
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(20):  # whether the work begins before it is cancelled is a matter of chance
            with trio.fail_after(PATIENCE_SECONDS):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await task.run(_answer)
                assert await task.run(_answer) == 1
        task.close()
        await task.ended.wait()


async def _answer(_: object) -> int:
    return 1


async def test_a_cancelled_transaction_is_rolled_back(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres:
        await postgres.execute("CREATE TABLE noted (n integer)")
        with trio.move_on_after(0.2):
            await postgres.transaction(_note_slowly)
        assert await postgres.fetch("SELECT n FROM noted") == []


async def _sleep(connection: Any) -> None:
    await connection.execute("SELECT pg_sleep(30)")


async def _note_slowly(connection: Any) -> None:
    await connection.execute("INSERT INTO noted VALUES (1)")
    await connection.execute("SELECT pg_sleep(30)")


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.long)])
async def test_requests_cancelled_at_any_moment_leave_no_connection_dirty(dsn: str, count: int) -> None:
    chance, limit = random.Random(count), trio.Semaphore(AT_ONCE)
    committed: set[int] = set()

    async def read(n: int) -> None:
        row = await postgres.fetchrow("SELECT $1::integer AS n", n)
        assert row is not None
        assert row["n"] == n, "the result of another request"

    async def write(n: int) -> None:
        async def note(connection: Any) -> None:
            await connection.execute("INSERT INTO noted VALUES ($1)", n)
            await connection.fetchval("SELECT count(*) FROM noted WHERE n = $1", n)

        await postgres.transaction(note)
        committed.add(n)

    async def fail(_: int) -> None:
        with pytest.raises(StatementRefused):
            await postgres.fetch("SELECT 1 / 0")

    async def request(n: int) -> None:
        with trio.move_on_after(chance.uniform(0, DELAY_SECONDS_MAX) if chance.random() < 0.7 else 60):
            await chance.choice([read, read, write, fail])(n)
        limit.release()

    async with open_postgres(dsn, pool_size=4) as postgres, trio.open_nursery() as nursery:
        await postgres.execute("CREATE TABLE noted (n integer PRIMARY KEY)")
        tasks = _tasks()
        for n in range(count):
            await limit.acquire()
            nursery.start_soon(request, n)
        for _ in range(AT_ONCE):
            await limit.acquire()
        await trio.testing.wait_all_tasks_blocked()
        assert postgres.idle
        assert _tasks() <= tasks + 3 * 4, "a connection has a reader and a writer"
        noted = {row["n"] for row in await postgres.fetch("SELECT n FROM noted")}
        assert committed <= noted
        found = await postgres.fetch(
            "SELECT count(*) AS open, count(*) FILTER (WHERE state LIKE 'idle in%') AS dirty FROM pg_stat_activity"
            " WHERE datname = current_database() AND backend_type = 'client backend'"
        )
        assert (found[0]["open"] <= 4, found[0]["dirty"]) == (True, 0)


def _tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


async def _pid(postgres: Postgres) -> int:
    return int((await postgres.fetch("SELECT pg_backend_pid() AS pid"))[0]["pid"])
