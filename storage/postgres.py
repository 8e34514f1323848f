"""The database: independent statements and transactions on a pool, and connections with a single owner.

Its callers are trio tasks, in which asyncpg runs. Only this module and those of `storage/connections` use asyncpg.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeAlias, TypeVar

import asyncpg
import structlog
import trio
from asyncpg.pgproto import pgproto

from storage.connections.asyncio_loop import AsyncioLoop, open_asyncio_loop
from storage.connections.connection_string import BadParameter, ConnectionString, read_connection_string
from storage.connections.login import log_in, session_settings, shares_sessions
from storage.connections.pool import Pool
from storage.connections.trio_connection import OUTAGES, TrioConnection, as_storage_error
from storage.connections.trio_connection import Connection as Connection
from storage.connections.trio_connection import Work as Work
from storage.database_errors import AddressError, StorageUnavailable
from storage.sqlstates import marks_standby

log = structlog.get_logger(__name__)

PgUUID = pgproto.UUID  # asyncpg's own class, which it encodes without a conversion
Row: TypeAlias = asyncpg.Record
T = TypeVar("T")

MIN_VERSION = 14


class Postgres:
    """The pool for independent statements and transactions, and the factory of connections with a single owner.

    A pool connection is taken for one statement or transaction, in the order of the requests. A LoneConnection is for
    an owner whose statements must run in order: the storage actor and the lease.
    """

    def __init__(self, loop: AsyncioLoop, where: ConnectionString, pool: Pool) -> None:
        self.unhandled = loop.unhandled
        self._loop = loop
        self._where = where
        self._pool = pool
        self._lone: list[LoneConnection] = []

    @property
    def idle(self) -> bool:
        """Whether no statement is in flight, in the pool or on a LoneConnection."""
        return self._pool.idle and not any(lone.busy for lone in self._lone)

    async def fetch(self, sql: str, *args: Any) -> list[Row]:
        """Run one statement and return all of its rows. Raises StorageUnavailable, StatementRefused."""
        return await self.transaction(lambda connection: connection.fetch(sql, *args), atomic=False)

    async def fetchrow(self, sql: str, *args: Any) -> Row | None:
        """Run one statement and return its first row, if any. Raises StorageUnavailable, StatementRefused."""
        return await self.transaction(lambda connection: connection.fetchrow(sql, *args), atomic=False)

    async def execute(self, sql: str, *args: Any) -> None:
        """Run one statement and discard its rows. Raises StorageUnavailable, StatementRefused."""
        await self.transaction(lambda connection: connection.execute(sql, *args), atomic=False)

    async def transaction(
        self,
        work: Work[T],
        *,
        atomic: bool = True,
        seconds: float | None = None,
    ) -> T:
        """Run `work`, an asyncio coroutine function, on one connection of the pool, and return its result.

        With `atomic`, in one READ COMMITTED transaction, which an exception of `work` rolls back; otherwise each
        statement commits by itself. Cancelling rolls back, unless the commit was already sent: its outcome is then
        unknown. After `seconds`, by default 25, the connection is closed. Raises StorageUnavailable, also if no
        connection becomes free in time, and StatementRefused.
        """

        await trio.lowlevel.checkpoint_if_cancelled()  # begin nothing that nobody waits for
        connection = await self._pool.take()
        try:
            return await connection.run(partial(_in_transaction, work) if atomic else work, seconds)
        except StorageUnavailable as unavailable:
            if unavailable.sqlstate is not None and marks_standby(unavailable.sqlstate):
                # Replace the other connections too: they lead to the same server, and each would fail one more caller.
                self._pool.expire()
            raise

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Callable[[str], Awaitable[list[Row]]]]:
        """Yield a function that runs read-only queries on one snapshot of the database, without a time limit.

        Uses a connection of its own, takes no locks, and serves one task at a time. Raises StorageUnavailable, also
        inside of the block.
        """
        connection = await self._in_asyncio(lambda: log_in(self._where))
        try:
            await self._in_asyncio(lambda: connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            for limit in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
                await self._in_asyncio(partial(connection.execute, f"SET LOCAL {limit} = 0"))
            yield lambda sql: self._in_asyncio(lambda: connection.fetch(sql))
        finally:
            connection.terminate()

    async def connect(self, timeout: float | None = None) -> "LoneConnection":
        """Open a connection outside of the pool, within `timeout` seconds, or within those of the connection string.

        Raises StorageUnavailable, also if the server refuses the connection.
        """
        connection = await self._in_asyncio(lambda: log_in(self._where, timeout))
        lone = LoneConnection(TrioConnection(self._loop, connection))
        self._lone = [*(other for other in self._lone if not other.closed), lone]
        return lone

    def terminate_lone(self) -> None:
        """Close, without a protocol goodbye, all connections outside of the pool."""
        for lone in self._lone:
            lone.terminate()

    async def _in_asyncio(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine function of asyncio in a task of its own. Raises StorageUnavailable, StatementRefused."""
        try:
            return await self._loop.run(work)
        except (asyncpg.PostgresError, *OUTAGES) as error:
            raise as_storage_error(error) from error

    async def shares_sessions(self) -> bool:
        """Return whether a pooler in transaction mode would lose session settings. Raises StorageUnavailable."""
        return await self._in_asyncio(lambda: shares_sessions(self._where))


class LoneConnection:
    """A connection with a single owner, whose statements run in the order in which they are sent, one at a time."""

    def __init__(self, connection: TrioConnection) -> None:
        self._connection = connection

    @property
    def busy(self) -> bool:
        """Whether a statement is in flight."""
        return self._connection.busy

    @property
    def closed(self) -> bool:
        """Whether the connection can carry no more statements."""
        return not self._connection.usable

    async def fetchrow(self, sql: str, *args: Any, timeout: float | None = None) -> Row | None:
        """Run one statement and return its first row. Cancellation is deferred until its outcome is known.

        Waits at most `timeout` seconds, by default 25. Raises StorageUnavailable, and has closed the connection then
        unless its session is still usable; or StatementRefused.
        """
        return await self._connection.run(
            lambda connection: connection.fetchrow(sql, *args), timeout, may_be_cancelled=False
        )

    def terminate(self) -> None:
        """Close the connection at once; a statement in flight has an unknown outcome."""
        self._connection.terminate()


async def _in_transaction(work: Work[T], connection: Connection) -> T:
    """Run `work` in one transaction, which any exception rolls back, also a cancellation of its first statement."""
    try:
        await connection.execute("BEGIN")
        result = await work(connection)
    except BaseException:
        with suppress(asyncpg.PostgresError, *OUTAGES):  # then the connection is closed, which rolls back as well
            await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT")
    return result


@asynccontextmanager
async def open_postgres(dsn: str, *, pool_size: int) -> AsyncIterator[Postgres]:
    """Open the pool on a connection string of the form postgresql://…, and close all connections at the end.

    `pool_size` is the maximum number of pool connections. Closing waits some seconds for statements in flight. Raises
    AddressError if the string is unusable, and StorageUnavailable if no connection succeeds.
    """
    try:
        where = read_connection_string(dsn)
    except BadParameter as error:
        raise AddressError(str(error)) from None
    ours = {name.lower() for name in session_settings()}
    if ignored := [*where.ignored, *(name for name in where.settings if name.lower() in ours)]:
        log.warning("connection_string.ignored", parameters=ignored)
    async with open_asyncio_loop() as loop:  # opened outside of every nursery that uses it, so that it ends last
        postgres = Postgres(loop, where, pool := Pool(loop, pool_size, lambda: log_in(where)))
        try:
            await postgres.execute("SELECT")  # raises if the database cannot be reached
            yield postgres
        finally:
            postgres.terminate_lone()
            with trio.CancelScope(shield=True):
                await pool.aclose()
