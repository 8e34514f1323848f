"""Schema migrations: applies the numbered SQL files, each once, in order, in one transaction under an advisory lock.

There are no down migrations. The table `migrations` records number and name of each applied file, not its text.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import structlog
import trio

from storage.database_errors import StorageUnavailable
from storage.postgres import MIN_VERSION, Connection, Postgres

WAIT_SECONDS_MAX = 900.0  # for another server's migration, or for a locked table; after it the start fails
RETRY_SECONDS = 0.5
STATEMENT_SECONDS_MAX = 3600.0  # for one file: an index on a large ledger takes minutes
_DIRECTORY = Path(__file__).parent / "migrations"
_LOCK = 0x68616C66  # key of the advisory lock, the same on every server: "half" in ASCII
_LOCK_NOT_AVAILABLE = "55P03"

log = structlog.get_logger(__name__)


class MigrationError(Exception):
    """The database cannot be migrated to this version of halfminute; the text is the reason, in one line."""


class Migration(NamedTuple):
    """One numbered SQL file: 0007_parts.sql has version 7 and the name "0007_parts"."""

    version: int
    name: str
    sql: str


def migrations() -> Iterator[Migration]:
    """Yield all migrations of this version of halfminute, in order."""
    for path in sorted(_DIRECTORY.glob("*.sql")):
        number = re.match(r"(\d{4})_", path.name)
        assert number is not None, f"{path.name} has no number"
        yield Migration(int(number[1]), path.stem, path.read_text())


async def migrate(postgres: Postgres) -> list[str]:
    """Bring the schema up to date and return the names of the applied migrations. Several servers may do so at once.

    Holds an advisory lock for the transaction. While another server migrates, or a table to be altered is locked,
    retries for at most WAIT_SECONDS_MAX. Cancelling rolls back all of it, unless the commit was sent. Raises
    MigrationError if PostgreSQL is too old, a pooler shares sessions, the schema is from a later halfminute, or the
    lock is not released in time; StorageUnavailable; StatementRefused.
    """
    await _refuse_shared_sessions(postgres)
    abandon_at = trio.current_time() + WAIT_SECONDS_MAX
    is_logged = False
    while (applied := await _try_to_migrate(postgres)) is None:
        if trio.current_time() >= abandon_at:
            raise MigrationError(f"another migration held the database for {WAIT_SECONDS_MAX:.0f} s; see pg_locks")
        if not is_logged:
            log.warning("migration.waiting", at_most_seconds=WAIT_SECONDS_MAX)
            is_logged = True
        await trio.sleep(RETRY_SECONDS)
    return applied


async def require_present_schema(postgres: Postgres) -> None:
    """Raise MigrationError unless the schema is that of this version of halfminute. Changes nothing.

    Raises StorageUnavailable, StatementRefused.
    """
    await _refuse_shared_sessions(postgres)
    # Look whether a schema was ever created.
    found = await postgres.fetch("SELECT to_regclass('halfminute.migrations') IS NOT NULL AS created")
    if not found[0]["created"]:
        raise MigrationError(
            "there is no ledger in this database: `halfminute migrate` or `halfminute serve` creates it"
        )
    # Read the last applied migration.
    rows = await postgres.fetch("SELECT max(version) AS version FROM migrations")
    applied, known = rows[0]["version"] or 0, max(migration.version for migration in migrations())
    if applied < known:
        raise MigrationError(f"the database holds migration {applied} of {known}: run `halfminute migrate` first")
    if applied > known:
        raise _from_a_later_version(applied)


async def _refuse_shared_sessions(postgres: Postgres) -> None:
    if await postgres.shares_sessions():
        raise MigrationError(
            "the database is behind a pooler in transaction mode; halfminute needs a session of its own:"
            " let DATABASE_URL lead to the pooler's session mode, or to the database itself"
        )


def _from_a_later_version(version: int) -> MigrationError:
    return MigrationError(f"the database holds migration {version}, which is from a later halfminute")


async def _try_to_migrate(postgres: Postgres) -> list[str] | None:
    """Return the names of the applied migrations; None, with nothing done, if the lock or a table is held."""
    try:
        return await postgres.transaction(_migrate, seconds=math.inf)  # each of its statements has a limit
    except StorageUnavailable as unavailable:
        if unavailable.sqlstate == _LOCK_NOT_AVAILABLE:
            return None
        raise


async def _migrate(connection: Connection) -> list[str] | None:
    await _check_server(connection)
    # Lift the statement timeout, which is meant for requests. lock_timeout stays: while an ALTER TABLE waits for a long
    # reader, every other statement on that table waits behind it.
    await connection.execute("SET LOCAL statement_timeout = 0")
    # Take the lock that only one migrating server can hold.
    if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LOCK):
        return None
    # Create the schema of all tables.
    await connection.execute("CREATE SCHEMA IF NOT EXISTS halfminute")
    # Create the record of applied migrations.
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS halfminute.migrations ("
        " version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    # Read which migrations are applied.
    applied = {row["version"] for row in await connection.fetch("SELECT version FROM migrations")}
    known = list(migrations())
    if later := applied - {migration.version for migration in known}:
        raise _from_a_later_version(max(later))
    fresh = [migration for migration in known if migration.version not in applied]
    for migration in fresh:
        await connection.execute(migration.sql, timeout=STATEMENT_SECONDS_MAX)
        # Record the migration as applied.
        await connection.execute(
            "INSERT INTO migrations (version, name) VALUES ($1, $2)", migration.version, migration.name
        )
    return [migration.name for migration in fresh]


async def _check_server(connection: Connection) -> None:
    major = connection.get_server_version().major
    if major < MIN_VERSION:
        raise MigrationError(f"PostgreSQL {MIN_VERSION} or later is needed, this is {major}")
