"""A connection: work that raises, is cancelled, is overdue, or loses its connection."""

import errno
import random
import socket
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from storage.connections import asyncio_loop
from storage.connections.asyncio_loop import open_asyncio_loop
from storage.connections.socket_reader import read_socket
from storage.connections.trio_connection import TrioConnection
from storage.database_errors import StatementRefused, StorageUnavailable
from storage.postgres import LoneConnection, Postgres, open_postgres
from tests.storage.own_postgres import own_postgres
from tests.storage.poolers import pooler
from tests.storage.postgres_processes import eventually

PATIENCE_SECONDS = 10.0
AT_ONCE = 50
DELAY_SECONDS_MAX = 0.004  # about as long as the slowest of the requests takes


class TerminatedConnection:
    """A connection of asyncpg that is terminated between two messages of a statement."""

    def __init__(self, closed: bool) -> None:
        self._closed, self._is_closed_next = False, closed
        self._transport = self

    def is_closing(self) -> bool:
        return True  # nobody reads from it

    async def fetchrow(self, *_: object, **__: object) -> None:
        self._closed = self._is_closed_next
        raise AttributeError("'NoneType' object has no attribute 'bind_execute'")

    async def close(self, timeout: float) -> None:
        pass

    def is_closed(self) -> bool:
        return self._closed


@pytest.mark.parametrize(("closed", "raised"), [(True, StorageUnavailable), (False, AttributeError)])
async def test_a_connection_that_is_terminated_within_a_statement_is_unavailable(
    closed: bool, raised: type[Exception]
) -> None:
    async with open_asyncio_loop() as loop:
        connection = TrioConnection(loop, cast(Any, TerminatedConnection(closed)))
        with pytest.raises(raised):
            await connection.run(lambda broken: broken.fetchrow("SELECT 1"))
        connection.close()
        await connection.ended.wait()


class BrokenProtocol:
    """A connection of asyncpg, with its transport and its protocol, to which every message is a surprise."""

    def __init__(self, sock: socket.socket) -> None:
        self._transport = self
        self._of_transport = {"socket": sock, "sslcontext": None}
        self.get_extra_info = self._of_transport.get
        self.called: list[str] = []

    def is_closing(self) -> bool:
        return False

    def get_protocol(self) -> "BrokenProtocol":
        return self

    def data_received(self, _: bytes) -> None:
        raise ValueError("what is this?")

    def add_termination_listener(self, _: object) -> None:
        self.called.append("listen")

    def pause_reading(self) -> None:
        self.called.append("pause")

    def terminate(self) -> None:
        self.called.append("terminate")

    def resume_reading(self) -> None:
        self.called.append("resume")


async def test_an_exception_of_asyncpg_about_a_message_closes_the_connection() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.send(b"a message")
        broken = BrokenProtocol(ours)
        with trio.fail_after(PATIENCE_SECONDS), pytest.raises(ValueError, match="what is this"):
            await read_socket(cast(Any, broken))
        assert broken.called == ["pause", "listen", "terminate"]


@pytest.mark.parametrize("again", [False, True])
async def test_a_failing_task_beside_the_loop_is_reported_and_costs_no_other_task(
    monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    monkeypatch.setattr(asyncio_loop, "RESTART_SECONDS", 0.01)
    tried = list[int]()

    async def fail() -> None:
        tried.append(len(tried))
        await trio.lowlevel.checkpoint()
        raise ValueError("planted")

    async with open_asyncio_loop() as loop:
        loop.start(fail, again=again)
        await eventually(lambda: loop.unhandled.count == (3 if again else 1))
    assert len(tried) >= loop.unhandled.count


async def test_without_a_file_descriptor_left_asyncio_reads_on(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr("storage.connections.socket_reader.os.dup", full)
    async with open_postgres(dsn, pool_size=1) as postgres:
        assert await _pid(postgres) == await _pid(postgres)


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


async def test_a_cancelled_transaction_is_rolled_back(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres:
        await postgres.execute("CREATE TABLE noted (n integer)")
        with trio.move_on_after(0.2):
            await postgres.transaction(_note_slowly)
        assert await postgres.fetch("SELECT n FROM noted") == []


async def test_a_connection_with_tls_reads_long_answers_and_survives_errors_and_cancellation(tmp_path: Path) -> None:
    with own_postgres(tmp_path / "postgres") as plain, pooler(plain, "session", tls=True) as dsn:
        async with open_postgres(dsn, pool_size=1) as postgres:
            before = await _pid(postgres)
            rows = await postgres.fetch("SELECT repeat('a', 1000) AS text FROM generate_series(1, 2000)")
            assert sum(len(row["text"]) for row in rows) == 2_000_000
            with pytest.raises(StatementRefused):
                await postgres.fetch("SELECT 1 / 0")
            with trio.move_on_after(0.2):
                await postgres.transaction(_sleep)
            assert await _pid(postgres) == before
            with pytest.raises(StorageUnavailable, match="does not answer"):
                await postgres.transaction(_sleep, seconds=0.2)
            assert await _pid(postgres) != before


async def test_an_answer_that_cannot_be_cancelled_arrives_though_everything_is_cancelled(dsn: str) -> None:
    answers = []

    async def ask(lone: LoneConnection) -> None:
        answers.append(await lone.fetchrow("SELECT pg_sleep(0.2)"))

    with trio.CancelScope() as everything:
        async with open_postgres(dsn, pool_size=1) as postgres, trio.open_nursery() as nursery:
            nursery.start_soon(ask, await postgres.connect())
            await trio.testing.wait_all_tasks_blocked()
            everything.cancel()
    assert len(answers) == 1


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
