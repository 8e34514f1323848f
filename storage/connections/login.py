"""Opens connections of asyncpg with our session settings, and detects a pooler that would lose them."""

import socket
from typing import Any

import asyncpg

from storage.connections.connection_string import SESSION_SETTINGS, ConnectionString, set_statement
from storage.database_errors import AddressError, StorageUnavailable, first_line
from storage.sqlstates import marks_sharing

CONNECT_SECONDS = 5.0  # a server that takes longer to answer is treated as unreachable
LOCK_TIMEOUT_MS = 5_000  # the write lock is held for one batch at most; a longer wait means a stuck server
STATEMENT_TIMEOUT_MS = 20_000
# Statements stay prepared as long as their connection: a lifetime would cost a timer each.
_SETTINGS: dict[str, Any] = {"max_cached_statement_lifetime": 0}
SHARING_CHECKS = 3  # comparisons of backends: the traffic of a pooler's other clients may hide it in one of them


async def log_in(where: ConnectionString, timeout: float | None = None) -> "asyncpg.Connection[asyncpg.Record]":
    """Open a connection with our session settings. An asyncio coroutine.

    Takes at most `timeout` seconds, by default those of the connection string or CONNECT_SECONDS. Raises AddressError,
    and StorageUnavailable also if the server refuses the login: it may accept a later one.
    """
    limit = where.connect_seconds or CONNECT_SECONDS
    connection: asyncpg.Connection[asyncpg.Record]
    try:
        connection = await asyncpg.connect(where.dsn, timeout=timeout or limit, **_SETTINGS)
    except (asyncpg.ClientConfigurationError, ValueError) as error:
        explained = isinstance(error, asyncpg.ClientConfigurationError)
        raise AddressError(first_line(error) if explained else "it cannot be read") from error
    except asyncpg.PostgresError as error:
        raise StorageUnavailable(first_line(error), str(error.sqlstate)) from error
    try:
        await _prepare_session(connection, where, limit)
    except BaseException:
        connection.terminate()
        raise
    return connection


def session_settings() -> dict[str, str]:
    """Return the settings of each session, with the timeouts of this module."""
    return {
        **SESSION_SETTINGS,
        "lock_timeout": str(LOCK_TIMEOUT_MS),
        "statement_timeout": str(STATEMENT_TIMEOUT_MS),
    }


async def _prepare_session(
    connection: "asyncpg.Connection[asyncpg.Record]", where: ConnectionString, timeout: float
) -> None:
    """Make the session settings in one round trip, since a pooler passes none on, and set the socket options."""
    settings = {"application_name": "halfminute", **where.settings, **session_settings()}  # later entries win
    try:
        await connection.execute(set_statement(settings), timeout=timeout)
    except asyncpg.PostgresError as error:
        raise StorageUnavailable(first_line(error), str(error.sqlstate)) from error
    sock = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # reason: there is no other way
    if sock.family != socket.AF_UNIX:
        for option in where.socket_options:
            sock.setsockopt(*option)


async def shares_sessions(where: ConnectionString) -> bool:
    """Return whether two open connections use the same backend, or one connection uses two. An asyncio coroutine."""
    connections: list[asyncpg.Connection[asyncpg.Record]] = []
    try:
        connections += [await log_in(where), await log_in(where)]
        first, second = connections
        for _ in range(SHARING_CHECKS):
            before = await _backend(first)
            async with second.transaction():
                held: Any = await second.fetchval("SELECT pg_backend_pid()")  # the backend of this transaction
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
