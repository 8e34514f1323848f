"""Applies the numbered SQL files, each once, in order, under a lock; forward only."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import structlog
import trio

from storage.postgres import MIN_VERSION, Connection, Postgres, StorageUnavailable

WAIT_SECONDS_MAX = 900.0  # for another server's migration, and for tables that others read: then the start fails
RETRY_SECONDS = 0.5
STATEMENT_SECONDS_MAX = 3600.0  # of one file: an index on a large ledger takes minutes
_DIRECTORY = Path(__file__).parent / "migrations"
_LOCK = 0x68616C66  # any number, the same for every server: "half"
_LOCK_NOT_AVAILABLE = "55P03"

log = structlog.get_logger(__name__)


class MigrationError(Exception):
    """One line for a person: why the database cannot be brought up to this version of halfminute."""


class Migration(NamedTuple):
    version: int
    name: str
    sql: str


def migrations() -> Iterator[Migration]:
    """All migrations that this version of halfminute knows, in order."""
    for path in sorted(_DIRECTORY.glob("*.sql")):
        number = re.match(r"(\d{4})_", path.name)
        assert number is not None, f"{path.name} has no number"
        yield Migration(int(number[1]), path.stem, path.read_text())


async def migrate(postgres: Postgres) -> list[str]:
    """Bring the schema up to date; the names of what was applied. Safe to run from several servers at once.

    Waits, at most WAIT_SECONDS_MAX, while another server migrates or somebody holds a table that is to be changed.
    Raises MigrationError if the database is too old, is reached through a pooler that hides the session, holds a
    schema from a later halfminute, or stays locked; StorageUnavailable; StatementRefused.
    """
    if await postgres.shares_sessions():
        raise MigrationError(
            "the database is behind a pooler in transaction mode; halfminute needs a session of its own:"
            " let DATABASE_URL lead to the pooler's session mode, or to the database itself"
        )
    abandon_at = trio.current_time() + WAIT_SECONDS_MAX
    is_told = False
    while (applied := await _try_to_migrate(postgres)) is None:
        if trio.current_time() >= abandon_at:
            raise MigrationError(f"another migration held the database for {WAIT_SECONDS_MAX:.0f} s; see pg_locks")
        if not is_told:
            log.warning("migration.waiting", at_most_seconds=WAIT_SECONDS_MAX)
            is_told = True
        await trio.sleep(RETRY_SECONDS)
    return applied


async def _try_to_migrate(postgres: Postgres) -> list[str] | None:
    """None, with nothing done, if somebody holds the lock or a table."""
    try:
        return await postgres.transaction(_migrate)
    except StorageUnavailable as unavailable:
        if unavailable.sqlstate == _LOCK_NOT_AVAILABLE:
            return None
        raise


async def _migrate(connection: Connection) -> list[str] | None:
    await _check_server(connection)
    # The limits of the pool are for requests; whoever waits for a table is still turned away by lock_timeout, since
    # a change of a table that waits for a long reader makes everybody else wait behind it.
    await connection.execute("SET LOCAL statement_timeout = 0")
    if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LOCK):
        return None
    await connection.execute("CREATE SCHEMA IF NOT EXISTS halfminute")
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS halfminute.migrations ("
        " version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    applied = {row["version"] for row in await connection.fetch("SELECT version FROM migrations")}
    known = list(migrations())
    if later := applied - {migration.version for migration in known}:
        raise MigrationError(f"the database holds migration {max(later)}, which is from a later halfminute")
    fresh = [migration for migration in known if migration.version not in applied]
    for migration in fresh:
        await connection.execute(migration.sql, timeout=STATEMENT_SECONDS_MAX)
        await connection.execute(
            "INSERT INTO migrations (version, name) VALUES ($1, $2)", migration.version, migration.name
        )
    return [migration.name for migration in fresh]


async def _check_server(connection: Connection) -> None:
    major = connection.get_server_version().major
    if major < MIN_VERSION:
        raise MigrationError(f"PostgreSQL {MIN_VERSION} or later is needed, this is {major}")
