"""The time zones that PostgreSQL knows."""

from storage.postgres import Postgres


async def zone_names(postgres: Postgres) -> set[str]:
    """Return all full zone names. Slow, since PostgreSQL reads all of its zone files. Raises StorageUnavailable."""
    # List the zones of the server's own time zone database.
    return {row["name"] for row in await postgres.fetch("SELECT name FROM pg_timezone_names")}
