"""Applies the numbered SQL files, each once, in order, under a lock; forward only."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from storage.postgres import MIN_VERSION, Connection, Postgres

_DIRECTORY = Path(__file__).parent / "migrations"
_LOCK = 0x68616C66  # any number, the same for every server: "half"


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

    Raises MigrationError if the database is too old, is reached through a pooler that hides the session, or holds
    a schema from a later halfminute.
    """
    return await postgres.transaction(_migrate)


async def _migrate(connection: Connection) -> list[str]:
    await _check_server(connection)
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
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
        await connection.execute(migration.sql, timeout=600)
        await connection.execute(
            "INSERT INTO migrations (version, name) VALUES ($1, $2)", migration.version, migration.name
        )
    return [migration.name for migration in fresh]


async def _check_server(connection: Connection) -> None:
    major = connection.get_server_version().major
    if major < MIN_VERSION:
        raise MigrationError(f"PostgreSQL {MIN_VERSION} or later is needed, this is {major}")
    # What we set when we connected must hold: a transaction-mode pooler drops it, and prepared statements too.
    if await connection.fetchval("SELECT current_setting('search_path')") != "halfminute":
        raise MigrationError("the database is behind a transaction-mode pooler; halfminute needs a session of its own")
