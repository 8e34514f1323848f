"""Other database roles, Supabase's anonymous roles above all, can neither read nor change our schema."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import pytest
import trio

from storage.database_errors import StatementRefused
from storage.migrate import migrate
from storage.postgres import Postgres, open_postgres
from tests.support.databases import Databases

ROLES = ("anon", "authenticated", "somebody")  # the last has nothing but what PUBLIC has
DENIED = "42501"
TABLES = """
    SELECT format('halfminute.%I', relname) AS name FROM pg_class
     WHERE relnamespace = 'halfminute'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY 1
"""
# Each with a NULL for each of its arguments.
CALLS = """
    SELECT format('SELECT halfminute.%I(%s)', proname, (
        SELECT string_agg(format('NULL::%s', format_type(type, NULL)), ', ' ORDER BY place)
          FROM unnest(proargtypes) WITH ORDINALITY AS argument (type, place))) AS sql
      FROM pg_proc WHERE pronamespace = 'halfminute'::regnamespace ORDER BY 1
"""
COLUMN = "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum = 1"
# Every privilege of a role on any object, granted to the role itself or to PUBLIC.
PRIVILEGES = """
    SELECT 'schema' AS kind, nspname::text AS name FROM pg_namespace
     WHERE nspname = 'halfminute' AND has_schema_privilege($1::text, oid, 'USAGE, CREATE')
    UNION ALL SELECT 'table', relname FROM pg_class
     WHERE relnamespace = 'halfminute'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
       AND (has_table_privilege($1::text, oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
            OR has_any_column_privilege($1::text, oid, 'SELECT, INSERT, UPDATE, REFERENCES'))
    UNION ALL SELECT 'sequence', relname FROM pg_class
     WHERE relnamespace = 'halfminute'::regnamespace
       AND CASE relkind WHEN 'S' THEN has_sequence_privilege($1::text, oid, 'USAGE, SELECT, UPDATE') END
    UNION ALL SELECT 'function', proname FROM pg_proc
     WHERE pronamespace = 'halfminute'::regnamespace AND has_function_privilege($1::text, oid, 'EXECUTE')
"""


@pytest.fixture(params=["before", "after"])
def shared_dsn(request: pytest.FixtureRequest, databases: Databases) -> Iterator[str]:
    """A database whose roles came before our schema and have a claim to all that is new, or came after it."""
    with _roles(databases):
        if request.param == "before":
            with databases.fresh(template="template0") as dsn:
                trio.run(_migrate_where_all_that_is_new_is_theirs, dsn)
                yield dsn
        else:
            with databases.fresh() as dsn:  # a copy of what was migrated when there were no such roles
                yield dsn


@contextmanager
def _roles(databases: Databases) -> Iterator[None]:
    for role in ROLES:
        databases.execute(f"CREATE ROLE {role} LOGIN")
    try:
        yield
    finally:
        for role in ROLES:
            databases.execute(f"DROP ROLE IF EXISTS {role}")


async def _migrate_where_all_that_is_new_is_theirs(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres:
        for kind in ("SCHEMAS", "TABLES", "SEQUENCES", "FUNCTIONS"):
            await postgres.execute(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON {kind} TO anon, authenticated")
        await migrate(postgres)


async def test_nothing_is_granted_to_anybody(shared_dsn: str) -> None:
    async with open_postgres(shared_dsn, pool_size=1) as postgres:
        for role in ROLES:
            granted = await postgres.fetch(PRIVILEGES, role)
            assert [tuple(row) for row in granted] == [], f"{role} may do something"


async def test_a_login_reads_and_writes_and_calls_nothing(shared_dsn: str) -> None:
    async with open_postgres(shared_dsn, pool_size=1) as postgres:
        attempts = await _attempts(postgres)
    await _see_all_denied(shared_dsn, attempts)


async def test_nor_does_one_that_was_let_into_the_schema_by_mistake(shared_dsn: str) -> None:
    async with open_postgres(shared_dsn, pool_size=1) as postgres:
        await postgres.execute(f"GRANT USAGE ON SCHEMA halfminute TO {', '.join(ROLES)}")
        attempts = await _attempts(postgres)
    await _see_all_denied(shared_dsn, attempts)


async def test_a_login_to_whom_all_tables_were_granted_by_mistake_finds_and_changes_no_row(shared_dsn: str) -> None:
    async with open_postgres(shared_dsn, pool_size=1) as postgres:
        await postgres.execute(f"GRANT USAGE ON SCHEMA halfminute TO {', '.join(ROLES)}")
        await postgres.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA halfminute TO {', '.join(ROLES)}")
        tables = [row["name"] for row in await postgres.fetch(TABLES)]
        assert await _rows(postgres, "halfminute.wallets") > 0, "there is something to find"
    for role in ROLES:
        async with open_postgres(_as(role, shared_dsn), pool_size=1) as login:
            assert {table: found for table in tables if (found := await _rows(login, table))} == {}
            with pytest.raises(StatementRefused, match="row-level security"):
                await login.execute("INSERT INTO halfminute.users (supabase_id) VALUES (gen_random_uuid())")


async def _see_all_denied(dsn: str, attempts: list[str]) -> None:
    for role in ROLES:
        async with open_postgres(_as(role, dsn), pool_size=1) as login:
            for sql in attempts:
                with pytest.raises(StatementRefused) as refused:
                    await login.execute(sql)
                assert refused.value.sqlstate == DENIED, f"{role}, {sql}: {refused.value}"


async def _attempts(postgres: Postgres) -> list[str]:
    """Return statements that read and write every table in every way, and call every function."""
    attempts = [row["sql"] for row in await postgres.fetch(CALLS)]
    for table in [row["name"] for row in await postgres.fetch(TABLES)]:
        column = (await postgres.fetch(COLUMN, table))[0]["attname"]
        attempts += [
            f"SELECT FROM {table}",
            f"SELECT {column} FROM {table}",
            f"INSERT INTO {table} DEFAULT VALUES",
            f"UPDATE {table} SET {column} = DEFAULT",
            f"DELETE FROM {table}",
            f"TRUNCATE {table} CASCADE",
        ]
    assert len(attempts) > 150, "the whole schema"
    return attempts


async def _rows(postgres: Postgres, table: str) -> int:
    rows: int = (await postgres.fetch(f"SELECT count(*) AS n FROM {table}"))[0]["n"]
    return rows


def _as(role: str, dsn: str) -> str:
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(netloc=f"{role}@"))
