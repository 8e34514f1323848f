"""The pool and its transactions; the only asyncio in the house, and the only place that knows asyncpg."""

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

from storage.connection_string import BadParameter, ConnectionString, read_connection_string, set_statement
from storage.database_errors import AddressError, StatementRefused, StorageUnavailable
from storage.sqlstates import is_passing, loses_session, marks_standby
from storage.unhandled import UnhandledErrors

__all__ = [
    "AddressError",
    "Connection",
    "PgUUID",
    "Postgres",
    "Row",
    "StatementRefused",
    "StorageUnavailable",
    "open_postgres",
]

log = structlog.get_logger(__name__)

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
SHARING_LOOKS = 3  # at who has which backend: other clients of a pooler may hide for a moment that it is one
# A prepared statement is missing, or is there already: somebody else had the backend meanwhile. A pooler in statement
# mode says that it is, and breaks the connection.
_SIGNS_OF_SHARING = {"26000", "42P05"}


_OUTAGES = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class Postgres:
    """A pool of connections for reads and records, and a lone connection for whoever must keep an order."""

    def __init__(
        self, where: ConnectionString, pool: "asyncpg.Pool[asyncpg.Record]", pool_size: int, unhandled: UnhandledErrors
    ) -> None:
        self.unhandled = unhandled
        self._where = where
        self._pool = pool
        # In the order of asking. In the pool's own line, whoever comes just as a connection is put back takes it, and
        # the one that was woken for it waits at the end again: under load some would never have their turn.
        self._free = trio.Semaphore(pool_size, max_value=pool_size)
        self._lone: list[LoneConnection] = []

    @property
    def idle(self) -> bool:
        """No statement of the pool or of a lone connection is under way."""
        return self._free.value == self._free.max_value and not any(lone.busy for lone in self._lone)

    async def fetch(self, sql: str, *args: Any) -> list[Row]:
        """All rows of one statement. Raises StorageUnavailable, StatementRefused."""
        return await self.transaction(lambda connection: connection.fetch(sql, *args), atomic=False)

    async def fetchrow(self, sql: str, *args: Any) -> Row | None:
        """The first row of one statement, if any. Raises StorageUnavailable, StatementRefused."""
        return await self.transaction(lambda connection: connection.fetchrow(sql, *args), atomic=False)

    async def execute(self, sql: str, *args: Any) -> None:
        """One statement for its effect. Raises StorageUnavailable, StatementRefused."""
        await self.transaction(lambda connection: connection.execute(sql, *args), atomic=False)

    async def transaction(self, work: Callable[[Connection], Awaitable[T]], *, atomic: bool = True) -> T:
        """Run `work` on one connection, in one asyncio coroutine, as one transaction unless told otherwise.

        Cancelling rolls back, unless the commit was under way. Raises StorageUnavailable, also where the database is
        only too busy, and StatementRefused.
        """

        async def in_asyncio() -> T:
            async with self._pool.acquire(timeout=_connect_seconds(self._where)) as connection:
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
                # The other connections of the pool are no younger: each would cost one more caller its answer.
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
        """Read-only queries that all see the same moment, however long they take; for one task at a time.

        Raises StorageUnavailable, also in the block.
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
        """A connection of its own, outside the pool; `timeout` in seconds, else that of the connection string.

        Raises StorageUnavailable, also where it is refused.
        """
        changed = {} if timeout is None else {"timeout": timeout}
        lone = LoneConnection(await _from_trio(lambda: _connect(self._where, **changed)))
        self._lone = [*(other for other in self._lone if not other.closed), lone]
        return lone

    def terminate_lone(self) -> None:
        """Drop the connections outside the pool that their owners still hold."""
        for lone in self._lone:
            lone.terminate()

    async def shares_sessions(self) -> bool:
        """Whether a pooler gives out a session for a transaction at a time; nothing of ours works then.

        Raises StorageUnavailable.
        """
        return await _from_trio(lambda: _shares_sessions(self._where))


class LoneConnection:
    """One connection in one owner's hands: what is sent first is done first."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection
        self.busy = False  # a statement is under way

    @property
    def closed(self) -> bool:
        return self._connection.is_closed()

    async def fetchrow(self, sql: str, *args: Any, timeout: float = CLIENT_TIMEOUT_SECONDS) -> Row | None:
        """Shielded: once sent, a commit is waited for, at most `timeout` seconds.

        Raises StorageUnavailable, with the connection closed unless its session is sound; or StatementRefused.
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
        """Drop the connection without a goodbye; what was under way has an unknown outcome."""
        self._connection.terminate()


@asynccontextmanager
async def open_postgres(dsn: str, *, pool_size: int) -> AsyncIterator[Postgres]:
    """Connect, and disconnect at the end. Raises StorageUnavailable, with the reason as its text; AddressError."""
    try:
        where = read_connection_string(dsn)
    except BadParameter as error:
        raise AddressError(str(error)) from None
    ours = {name.lower() for name in _session_settings()}
    if ignored := [*where.ignored, *(name for name in where.settings if name.lower() in ours)]:
        log.warning("connection_string.ignored", parameters=ignored)
    unhandled = UnhandledErrors()
    async with trio_asyncio.open_loop() as loop:  # outside every nursery that uses it, or it is gone before they are
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

    return await asyncpg.create_pool(min_size=1, max_size=pool_size, reset=_leave_as_it_is, connect=connect)


async def _leave_as_it_is(connection: Connection) -> None:
    """Nothing of ours changes a session, so a connection goes back without the round trip that would reset it."""


async def _close_pool(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    try:
        await asyncio.wait_for(pool.close(), CLOSE_SECONDS)
    except _OUTAGES:
        pool.terminate()


async def _connect(where: ConnectionString, **changed: Any) -> "asyncpg.Connection[asyncpg.Record]":
    """A session with our settings. Raises StorageUnavailable: who is not let in may be, another time."""
    connection: asyncpg.Connection[asyncpg.Record]
    try:
        connection = await asyncpg.connect(where.dsn, **{**_connect_settings(where), **changed})
    except (asyncpg.ClientConfigurationError, ValueError) as error:
        said = isinstance(error, asyncpg.ClientConfigurationError)
        raise AddressError(_first_line(error) if said else "it cannot be read") from error
    except asyncpg.PostgresError as error:
        raise StorageUnavailable(_first_line(error), str(error.sqlstate)) from error
    try:
        await _prepare_session(connection, where)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _prepare_session(connection: "asyncpg.Connection[asyncpg.Record]", where: ConnectionString) -> None:
    """Make our settings, which no pooler would pass on in a startup packet, and see to the socket."""
    settings = {"application_name": "halfminute", **where.settings, **_session_settings()}  # the last one holds
    try:
        await connection.execute(set_statement(settings), timeout=_connect_seconds(where))
    except asyncpg.PostgresError as error:
        raise StorageUnavailable(_first_line(error), str(error.sqlstate)) from error
    sock = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # reason: there is no other way
    if sock.family != socket.AF_UNIX:
        for option in where.socket_options:
            sock.setsockopt(*option)


def _connect_settings(where: ConnectionString) -> dict[str, Any]:
    return {"timeout": _connect_seconds(where), "command_timeout": CLIENT_TIMEOUT_SECONDS}


def _connect_seconds(where: ConnectionString) -> float:
    return where.connect_seconds or CONNECT_SECONDS


def _session_settings() -> dict[str, str]:
    """What must not depend on how somebody has set up their database, their role or their pooler."""
    return {
        "search_path": "halfminute",
        "lock_timeout": str(LOCK_TIMEOUT_MS),
        "statement_timeout": str(STATEMENT_TIMEOUT_MS),
        "default_transaction_isolation": "read committed",  # the functions read what others have just committed
        "jit": "off",
        "TimeZone": "UTC",
        "DateStyle": "ISO, YMD",
        "IntervalStyle": "postgres",
    }


async def _shares_sessions(where: ConnectionString) -> bool:
    """Two connections that are open at once have one backend, or one of them has two."""
    connections: list[asyncpg.Connection[asyncpg.Record]] = []
    try:
        connections += [await _connect(where), await _connect(where)]
        first, second = connections
        for _ in range(SHARING_LOOKS):
            before = await _backend(first)
            async with second.transaction():
                held = await second.fetchval("SELECT pg_backend_pid()")
                if held == before or await _backend(first) != before:
                    return True
    except asyncpg.PostgresError as error:
        if str(error.sqlstate) not in _SIGNS_OF_SHARING and "pooling mode" not in str(error):
            raise
        return True
    finally:
        for connection in connections:
            connection.terminate()
    return False


async def _backend(connection: "asyncpg.Connection[asyncpg.Record]") -> Any:
    async with connection.transaction():  # or a pooler may change it between the statement's preparation and its use
        return await connection.fetchval("SELECT pg_backend_pid()")


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


def _as_ours(error: BaseException) -> StorageUnavailable | StatementRefused:
    """The one of our two exceptions that an error of asyncpg means."""
    reason = _first_line(error)
    if not isinstance(error, asyncpg.PostgresError):
        return StorageUnavailable(reason)
    sqlstate = str(error.sqlstate)
    if is_passing(sqlstate):
        return StorageUnavailable(reason, sqlstate)
    return StatementRefused(reason, sqlstate, getattr(error, "constraint_name", None))


def _first_line(error: BaseException) -> str:
    return str(error).split("\n")[0] or type(error).__name__
