"""Makes a table fail: every statement that writes to it raises one SQLSTATE until the trigger is removed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from storage.postgres import Postgres


async def make_raise(postgres: Postgres, table: str, sqlstate: str, when: str = "true") -> None:
    """Make writes to the table raise; `when` is an SQL condition on NEW and OLD that selects single rows."""
    each = "FOR EACH ROW" if "NEW" in when else "FOR EACH STATEMENT"
    events = "UPDATE" if "OLD" in when else "INSERT OR UPDATE" if "NEW" in when else "INSERT OR UPDATE OR DELETE"
    await postgres.execute("CREATE SEQUENCE IF NOT EXISTS raised MINVALUE 0 START 0")
    await postgres.execute("SELECT setval('raised', 0)")
    await postgres.execute(
        f"CREATE OR REPLACE FUNCTION raise_in_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" PERFORM nextval('halfminute.raised'); RAISE EXCEPTION 'made to fail' USING ERRCODE = '{sqlstate}'; END $$"
    )
    await postgres.execute(
        f"CREATE TRIGGER made_to_fail BEFORE {events} ON {table} {each} WHEN ({when})"
        f" EXECUTE FUNCTION raise_in_{table}()"
    )


async def times_raised(postgres: Postgres) -> int:
    """Return how often it was raised since `make_raise`, by a sequence, which is not rolled back."""
    return int((await postgres.fetch("SELECT last_value FROM raised"))[0]["last_value"])


async def mend(postgres: Postgres, table: str) -> None:
    """Remove the trigger, so that writes succeed again."""
    await postgres.execute(f"DROP TRIGGER made_to_fail ON {table}")


@asynccontextmanager
async def raising(postgres: Postgres, table: str, sqlstate: str, when: str = "true") -> AsyncIterator[None]:
    """Make writes to the table raise for the duration of the block."""
    await make_raise(postgres, table, sqlstate, when)
    try:
        yield
    finally:
        await mend(postgres, table)
