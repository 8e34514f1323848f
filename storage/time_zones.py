"""The time zones that PostgreSQL knows."""

from storage.postgres import Postgres


async def zone_names(postgres: Postgres) -> set[str]:
    """Every full name. PostgreSQL reads all of its zone files for that. Raises StorageUnavailable."""
    return {row["name"] for row in await postgres.fetch("SELECT name FROM pg_timezone_names")}
