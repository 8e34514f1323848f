"""The pool and its transactions; the only asyncio in the house, and the only place that knows asyncpg."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, TypeAlias, TypeVar

import asyncpg
import trio
import trio_asyncio
from asyncpg.pgproto import pgproto

from storage.sqlstates import is_passing, loses_session, marks_standby
from storage.unhandled import UnhandledErrors

__all__ = ["Connection", "PgUUID", "Postgres", "Refused", "Row", "StorageUnavailable", "open_postgres"]

PgUUID = pgproto.UUID  # asyncpg's own: it is encoded as it is
Row: TypeAlias = asyncpg.Record
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
T = TypeVar("T")

CONNECT_SECONDS = 5.0  # a server that takes longer to answer is treated as away
LOCK_TIMEOUT_MS = 5_000  # nobody holds the fence longer than a batch; more means a stuck peer
STATEMENT_TIMEOUT_MS = 20_000
CLIENT_TIMEOUT_SECONDS = 25.0  # longer than the server's own, so that its answer is what we usually see
CLOSE_SECONDS = 5.0  # pool.close() hangs while a connection is held; then it is terminated
MIN_VERSION = 14


class StorageUnavailable(Exception):
    """The database is out of reach, or says "not now": what was asked may or may not have happened.

    Wait, and ask again under the same keys. `sqlstate` is what the database said, None where it said nothing.
    """

    def __init__(self, reason: str, sqlstate: str | None = None) -> None:
        super().__init__(reason)
        self.sqlstate = sqlstate


class Refused(Exception):
    """The database will never do what was asked; nothing was done. Give up on this one statement."""

    def __init__(self, reason: str, sqlstate: str, constraint: str | None = None) -> None:
        super().__init__(reason)
        self.sqlstate = sqlstate
        self.constraint = constraint

    @property
    def duplicate(self) -> bool:
        """Something with this key is there already."""
        return self.sqlstate == asyncpg.UniqueViolationError.sqlstate


_OUTAGES = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class Postgres:
    """A pool of connections for reads and records, and a lone connection for whoever must keep an order."""

    def __init__(
        self, dsn: str, pool: "asyncpg.Pool[asyncpg.Record]", pool_size: int, unhandled: UnhandledErrors
    ) -> None:
        self.unhandled = unhandled
        self._dsn = dsn
        self._pool = pool
        # In the order of asking. In the pool's own line, whoever comes just as a connection is put back takes it, and
        # the one that was woken for it waits at the end again: under load some would never have their turn.
        self._free = trio.Semaphore(pool_size, max_value=pool_size)
        self._lone: list[LoneConnection] = []

    async def fetch(self, sql: str, *args: Any) -> list[Row]:
        """All rows of one statement. Raises StorageUnavailable, Refused."""
        return await self.transaction(lambda connection: connection.fetch(sql, *args), atomic=False)

    async def fetchrow(self, sql: str, *args: Any) -> Row | None:
        """The first row of one statement, if any. Raises StorageUnavailable, Refused."""
        return await self.transaction(lambda connection: connection.fetchrow(sql, *args), atomic=False)

    async def execute(self, sql: str, *args: Any) -> None:
        """One statement for its effect. Raises StorageUnavailable, Refused."""
        await self.transaction(lambda connection: connection.execute(sql, *args), atomic=False)

    async def transaction(self, work: Callable[[Connection], Awaitable[T]], *, atomic: bool = True) -> T:
        """Run `work` on one connection, in one asyncio coroutine, as one transaction unless told otherwise.

        Cancelling rolls back, unless the commit was under way. Raises StorageUnavailable, also where the database is
        only too busy, and Refused.
        """

        async def in_asyncio() -> T:
            async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
                with _dropping_lost_session(connection):
                    if not atomic:
                        return await work(connection)
                    async with connection.transaction():
                        return await work(connection)

        await self._wait_turn()
        try:
            return await _from_trio(in_asyncio)
        except StorageUnavailable as unavailable:
            if unavailable.sqlstate is not None and marks_standby(unavailable.sqlstate):
                # The other connections of the pool are no younger: each would cost one more caller its answer.
                await _from_trio(self._pool.expire_connections)
            raise
        finally:
            self._free.release()

    async def _wait_turn(self) -> None:
        with trio.move_on_after(CONNECT_SECONDS) as waiting:
            await self._free.acquire()
        if waiting.cancelled_caught:
            raise StorageUnavailable("all connections are busy")

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Callable[[str], Awaitable[list[Row]]]]:
        """Read-only queries that all see the same moment, however long they take; for one task at a time.

        Raises StorageUnavailable, also in the block.
        """
        connection = await _from_trio(lambda: _connect(self._dsn, command_timeout=None))
        try:
            await _from_trio(lambda: connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            for limit in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
                await _from_trio(partial(connection.execute, f"SET LOCAL {limit} = 0"))
            yield lambda sql: _from_trio(lambda: connection.fetch(sql))
        finally:
            connection.terminate()

    async def connect(self, timeout: float = CONNECT_SECONDS) -> "LoneConnection":
        """A connection of its own, outside the pool; `timeout` in seconds. Raises StorageUnavailable."""
        lone = LoneConnection(await _from_trio(lambda: _connect(self._dsn, timeout=timeout)))
        self._lone = [*(other for other in self._lone if not other.closed), lone]
        return lone

    def terminate_lone(self) -> None:
        """Drop the connections outside the pool that their owners still hold."""
        for lone in self._lone:
            lone.terminate()


class LoneConnection:
    """One connection in one owner's hands: what is sent first is done first."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    @property
    def closed(self) -> bool:
        return self._connection.is_closed()

    async def fetchrow(self, sql: str, *args: Any, timeout: float = CLIENT_TIMEOUT_SECONDS) -> Row | None:
        """Shielded: once sent, a commit is waited for, at most `timeout` seconds.

        Raises StorageUnavailable, with the connection closed unless its session is sound; or Refused.
        """

        async def in_asyncio() -> Row | None:
            with _dropping_lost_session(self._connection):
                return await self._connection.fetchrow(sql, *args, timeout=timeout)

        with trio.CancelScope(shield=True):
            return await _from_trio(in_asyncio)
        raise AssertionError("the scope above is never cancelled")

    def terminate(self) -> None:
        """Drop the connection without a goodbye; what was under way has an unknown outcome."""
        self._connection.terminate()


@asynccontextmanager
async def open_postgres(dsn: str, *, pool_size: int) -> AsyncIterator[Postgres]:
    """Connect, and disconnect at the end. Raises StorageUnavailable, with the reason as its text."""
    unhandled = UnhandledErrors()
    async with trio_asyncio.open_loop() as loop:  # outside every nursery that uses it, or it is gone before they are
        loop.set_exception_handler(unhandled)
        pool = await _from_trio(lambda: _open_pool(dsn, pool_size))
        postgres = Postgres(dsn, pool, pool_size, unhandled)
        try:
            yield postgres
        finally:
            postgres.terminate_lone()
            with trio.CancelScope(shield=True):
                await trio_asyncio.aio_as_trio(_close_pool)(pool)


async def _open_pool(dsn: str, pool_size: int) -> "asyncpg.Pool[asyncpg.Record]":
    return await asyncpg.create_pool(dsn, min_size=1, max_size=pool_size, reset=_leave_as_it_is, **_connect_settings())


async def _leave_as_it_is(connection: Connection) -> None:
    """Nothing of ours changes a session, so a connection goes back without the round trip that would reset it."""


async def _close_pool(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    try:
        await asyncio.wait_for(pool.close(), CLOSE_SECONDS)
    except _OUTAGES:
        pool.terminate()


async def _connect(dsn: str, **changed: Any) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(dsn, **{**_connect_settings(), **changed})


def _connect_settings() -> dict[str, Any]:
    return {
        "timeout": CONNECT_SECONDS,
        "command_timeout": CLIENT_TIMEOUT_SECONDS,
        "server_settings": {
            "application_name": "halfminute",
            "search_path": "halfminute",
            "lock_timeout": str(LOCK_TIMEOUT_MS),
            "statement_timeout": str(STATEMENT_TIMEOUT_MS),
            "jit": "off",
            "timezone": "UTC",
        },
    }


@contextmanager
def _dropping_lost_session(connection: Connection) -> Iterator[None]:
    """Close the connection where an error leaves its session of no use, or what is under way in it unknown."""
    try:
        yield
    except asyncpg.PostgresError as error:
        if loses_session(str(error.sqlstate)):
            connection.terminate()
        raise
    except _OUTAGES:
        connection.terminate()
        raise


async def _from_trio(work: Callable[[], Awaitable[T]]) -> T:
    """Run one asyncio coroutine from trio; the one typed door between the two."""

    async def coroutine() -> T:
        return await work()

    try:
        result: T = await trio_asyncio.aio_as_trio(coroutine)()
    except (asyncpg.PostgresError, *_OUTAGES) as error:
        raise _as_ours(error) from error
    return result


def _as_ours(error: BaseException) -> StorageUnavailable | Refused:
    """The one of our two exceptions that an error of asyncpg means."""
    reason = str(error).split("\n")[0] or type(error).__name__
    if not isinstance(error, asyncpg.PostgresError):
        return StorageUnavailable(reason)
    sqlstate = str(error.sqlstate)
    if is_passing(sqlstate):
        return StorageUnavailable(reason, sqlstate)
    return Refused(reason, sqlstate, getattr(error, "constraint_name", None))
