"""Database connections: the pool, its transactions, and connections with a single owner.

The only module that uses asyncpg and asyncio; its callers are trio tasks, which trio-asyncio bridges to the event loop.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, TypeAlias, TypeVar

import asyncpg
import structlog
import trio
import trio_asyncio
from asyncpg.pgproto import pgproto

from storage.connection_string import (
    SESSION_SETTINGS,
    BadParameter,
    ConnectionString,
    read_connection_string,
    set_statement,
)
from storage.database_errors import AddressError, StatementRefused, StorageUnavailable, first_line
from storage.sqlstates import is_passing, loses_session, marks_sharing, marks_standby
from storage.unhandled import UnhandledErrors

log = structlog.get_logger(__name__)

PgUUID = pgproto.UUID  # asyncpg's own class, which it encodes without a conversion
Row: TypeAlias = asyncpg.Record
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
T = TypeVar("T")

CONNECT_SECONDS = 5.0  # a server that takes longer to answer is treated as unreachable
LOCK_TIMEOUT_MS = 5_000  # the write lock is held for one batch at most; a longer wait means a stuck server
STATEMENT_TIMEOUT_MS = 20_000
CLIENT_TIMEOUT_SECONDS = 25.0  # longer than the server's timeout, so that normally the server's error is received
CLOSE_SECONDS = 5.0  # pool.close() hangs while a connection is held; after this the pool is terminated
MIN_VERSION = 14
SHARING_CHECKS = 3  # comparisons of backends: the traffic of a pooler's other clients may hide it in one of them
_OUTAGES = (OSError, asyncio.TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class Postgres:
    """The pool for independent statements and transactions, and the factory of connections with a single owner.

    A pool connection is taken for one statement or transaction, in the order of the requests. A LoneConnection is for
    an owner whose statements must run in order: the storage actor and the lease.
    """

    def __init__(
        self, where: ConnectionString, pool: "asyncpg.Pool[asyncpg.Record]", pool_size: int, unhandled: UnhandledErrors
    ) -> None:
        self.unhandled = unhandled
        self._where = where
        self._pool = pool
        # First in, first out. The pool's own queue is unfair: a new caller may take a returned connection from the
        # waiter that was woken for it, and that waiter queues again, under load without end.
        self._free = trio.Semaphore(pool_size, max_value=pool_size)
        self._lone: list[LoneConnection] = []

    @property
    def idle(self) -> bool:
        """Whether no statement is in flight, in the pool or on a LoneConnection."""
        return self._free.value == self._free.max_value and not any(lone.busy for lone in self._lone)

    async def fetch(self, sql: str, *args: Any) -> list[Row]:
        """Run one statement and return all of its rows. Raises StorageUnavailable, StatementRefused."""
        return await self.transaction(lambda connection: connection.fetch(sql, *args), atomic=False)

    async def fetchrow(self, sql: str, *args: Any) -> Row | None:
        """Run one statement and return its first row, if any. Raises StorageUnavailable, StatementRefused."""
        return await self.transaction(lambda connection: connection.fetchrow(sql, *args), atomic=False)

    async def execute(self, sql: str, *args: Any) -> None:
        """Run one statement and discard its rows. Raises StorageUnavailable, StatementRefused."""
        await self.transaction(lambda connection: connection.execute(sql, *args), atomic=False)

    async def transaction(self, work: Callable[[Connection], Awaitable[T]], *, atomic: bool = True) -> T:
        """Run `work` on one pool connection, in one asyncio coroutine, and return its result.

        With `atomic`, in one READ COMMITTED transaction, which an exception of `work` rolls back; otherwise each
        statement commits by itself. Cancelling rolls back, unless the commit was already sent: its outcome is then
        unknown. Raises StorageUnavailable, also if no connection is free within CONNECT_SECONDS, and StatementRefused.
        """

        async def in_asyncio() -> T:
            async with self._pool.acquire(timeout=self._where.connect_seconds or CONNECT_SECONDS) as connection:
                with _dropping_lost_session(connection):
                    if not atomic:
                        return await work(connection)
                    async with connection.transaction():
                        return await work(connection)

        await self._wait_for_connection()
        try:
            return await _from_trio(in_asyncio)
        except StorageUnavailable as unavailable:
            if unavailable.sqlstate is not None and marks_standby(unavailable.sqlstate):
                # Replace the other connections too: they lead to the same server, and each would fail one more caller.
                await _from_trio(self._pool.expire_connections)
            raise
        finally:
            self._free.release()

    async def _wait_for_connection(self) -> None:
        with trio.move_on_after(CONNECT_SECONDS) as waiting:
            await self._free.acquire()
        if waiting.cancelled_caught:
            raise StorageUnavailable("all connections are busy")

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Callable[[str], Awaitable[list[Row]]]]:
        """Yield a function that runs read-only queries on one snapshot of the database, without a time limit.

        Uses a connection of its own, takes no locks, and serves one task at a time. Raises StorageUnavailable, also
        inside of the block.
        """
        connection = await _from_trio(lambda: _connect(self._where, command_timeout=None))
        try:
            await _from_trio(lambda: connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            for limit in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
                await _from_trio(partial(connection.execute, f"SET LOCAL {limit} = 0"))
            yield lambda sql: _from_trio(lambda: connection.fetch(sql))
        finally:
            connection.terminate()

    async def connect(self, timeout: float | None = None) -> "LoneConnection":
        """Open a connection outside of the pool, within `timeout` seconds, or within those of the connection string.

        Raises StorageUnavailable, also if the server refuses the connection.
        """
        changed = {} if timeout is None else {"timeout": timeout}
        lone = LoneConnection(await _from_trio(lambda: _connect(self._where, **changed)))
        self._lone = [*(other for other in self._lone if not other.closed), lone]
        return lone

    def terminate_lone(self) -> None:
        """Close, without a protocol goodbye, all connections outside of the pool."""
        for lone in self._lone:
            lone.terminate()

    async def shares_sessions(self) -> bool:
        """Return whether a pooler in transaction mode would lose session settings. Raises StorageUnavailable."""
        return await _from_trio(lambda: _shares_sessions(self._where))


class LoneConnection:
    """A connection with a single owner, whose statements run in the order in which they are sent, one at a time."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection
        self.busy = False  # a statement is in flight

    @property
    def closed(self) -> bool:
        """Whether the connection can carry no more statements."""
        return self._connection.is_closed()

    async def fetchrow(self, sql: str, *args: Any, timeout: float = CLIENT_TIMEOUT_SECONDS) -> Row | None:
        """Run one statement and return its first row. Cancellation is deferred until its outcome is known.

        Waits at most `timeout` seconds. Raises StorageUnavailable, and has closed the connection then unless its
        session is still usable; or StatementRefused.
        """

        async def in_asyncio() -> Row | None:
            with _dropping_lost_session(self._connection):
                return await self._connection.fetchrow(sql, *args, timeout=timeout)

        self.busy = True
        try:
            with trio.CancelScope(shield=True):
                return await _from_trio(in_asyncio)
        finally:
            self.busy = False
        raise AssertionError("the scope above is never cancelled")

    def terminate(self) -> None:
        """Close the connection at once; a statement in flight has an unknown outcome."""
        self._connection.terminate()


@asynccontextmanager
async def open_postgres(dsn: str, *, pool_size: int) -> AsyncIterator[Postgres]:
    """Open the pool on a connection string of the form postgresql://…, and close all connections at the end.

    `pool_size` is the maximum number of pool connections. Closing waits at most CLOSE_SECONDS for statements in flight.
    Raises AddressError if the string is unusable, and StorageUnavailable if no connection succeeds.
    """
    try:
        where = read_connection_string(dsn)
    except BadParameter as error:
        raise AddressError(str(error)) from None
    ours = {name.lower() for name in _session_settings()}
    if ignored := [*where.ignored, *(name for name in where.settings if name.lower() in ours)]:
        log.warning("connection_string.ignored", parameters=ignored)
    unhandled = UnhandledErrors()
    async with trio_asyncio.open_loop() as loop:  # opened outside of every nursery that uses it, so that it ends last
        loop.set_exception_handler(unhandled)
        pool = await _from_trio(lambda: _open_pool(where, pool_size))
        postgres = Postgres(where, pool, pool_size, unhandled)
        try:
            yield postgres
        finally:
            postgres.terminate_lone()
            with trio.CancelScope(shield=True):
                await trio_asyncio.aio_as_trio(_close_pool)(pool)


async def _open_pool(where: ConnectionString, pool_size: int) -> "asyncpg.Pool[asyncpg.Record]":
    async def connect(*_: Any, **__: Any) -> "asyncpg.Connection[asyncpg.Record]":
        return await _connect(where)

    return await asyncpg.create_pool(min_size=1, max_size=pool_size, reset=_skip_reset, connect=connect)


async def _skip_reset(connection: Connection) -> None:
    """Return a connection to the pool without a reset, which costs a round trip: no statement changes the session."""


async def _close_pool(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    try:
        await asyncio.wait_for(pool.close(), CLOSE_SECONDS)
    except _OUTAGES:
        pool.terminate()


async def _connect(where: ConnectionString, **changed: Any) -> "asyncpg.Connection[asyncpg.Record]":
    """Open a connection with our session settings.

    Raises AddressError, and StorageUnavailable also if the server refuses the login: it may accept a later one.
    """
    connection: asyncpg.Connection[asyncpg.Record]
    try:
        connection = await asyncpg.connect(where.dsn, **{**_connect_settings(where), **changed})
    except (asyncpg.ClientConfigurationError, ValueError) as error:
        explained = isinstance(error, asyncpg.ClientConfigurationError)
        raise AddressError(first_line(error) if explained else "it cannot be read") from error
    except asyncpg.PostgresError as error:
        raise StorageUnavailable(first_line(error), str(error.sqlstate)) from error
    try:
        await _prepare_session(connection, where)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _prepare_session(connection: "asyncpg.Connection[asyncpg.Record]", where: ConnectionString) -> None:
    """Make the session settings in one round trip, since a pooler passes none on, and set the socket options."""
    settings = {"application_name": "halfminute", **where.settings, **_session_settings()}  # later entries win
    try:
        await connection.execute(set_statement(settings), timeout=where.connect_seconds or CONNECT_SECONDS)
    except asyncpg.PostgresError as error:
        raise StorageUnavailable(first_line(error), str(error.sqlstate)) from error
    sock = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # reason: there is no other way
    if sock.family != socket.AF_UNIX:
        for option in where.socket_options:
            sock.setsockopt(*option)


def _connect_settings(where: ConnectionString) -> dict[str, Any]:
    return {"timeout": where.connect_seconds or CONNECT_SECONDS, "command_timeout": CLIENT_TIMEOUT_SECONDS}


def _session_settings() -> dict[str, str]:
    """Return the settings of each session, with the timeouts of this module."""
    return {
        **SESSION_SETTINGS,
        "lock_timeout": str(LOCK_TIMEOUT_MS),
        "statement_timeout": str(STATEMENT_TIMEOUT_MS),
    }


async def _shares_sessions(where: ConnectionString) -> bool:
    """Return whether two open connections use the same backend, or one connection uses two backends."""
    connections: list[asyncpg.Connection[asyncpg.Record]] = []
    try:
        connections += [await _connect(where), await _connect(where)]
        first, second = connections
        for _ in range(SHARING_CHECKS):
            before = await _backend(first)
            async with second.transaction():
                held = await second.fetchval("SELECT pg_backend_pid()")  # the backend of this transaction
                if held == before or await _backend(first) != before:
                    return True
    except asyncpg.PostgresError as error:
        if not marks_sharing(str(error.sqlstate)) and "pooling mode" not in str(error):
            raise
        return True
    finally:
        for connection in connections:
            connection.terminate()
    return False


async def _backend(connection: "asyncpg.Connection[asyncpg.Record]") -> Any:
    """Return the process id of the backend."""
    async with connection.transaction():  # or a pooler may change backends between the preparation and the execution
        return await connection.fetchval("SELECT pg_backend_pid()")


@contextmanager
def _dropping_lost_session(connection: Connection) -> Iterator[None]:
    """Close the connection after an error that makes its session unusable, or the outcome of a statement unknown."""
    try:
        yield
    except asyncpg.PostgresError as error:
        if loses_session(str(error.sqlstate)):
            connection.terminate()
        raise
    except _OUTAGES:
        connection.terminate()
        raise
    except AttributeError as error:  # from inside asyncpg, if the connection is terminated between two of its messages
        if not connection.is_closed():
            raise
        raise asyncpg.InterfaceError("connection is closed") from error


async def _from_trio(work: Callable[[], Awaitable[T]]) -> T:
    """Run one asyncio coroutine from a trio task, and convert the errors of asyncpg.

    Raises StorageUnavailable, StatementRefused.
    """

    async def coroutine() -> T:
        return await work()

    try:
        result: T = await trio_asyncio.aio_as_trio(coroutine)()
    except (asyncpg.PostgresError, *_OUTAGES) as error:
        raise _as_storage_error(error) from error
    return result


def _as_storage_error(error: BaseException) -> StorageUnavailable | StatementRefused:
    """Convert an error of asyncpg, or of the network, into one of our two exceptions."""
    reason = first_line(error)
    if not isinstance(error, asyncpg.PostgresError):
        return StorageUnavailable(reason)
    sqlstate = str(error.sqlstate)
    if is_passing(sqlstate):
        return StorageUnavailable(reason, sqlstate)
    return StatementRefused(reason, sqlstate, getattr(error, "constraint_name", None))
