"""Migrations of a database with users: the ledger stays unchanged."""

from collections.abc import Iterator
from uuid import UUID

import pytest
import structlog
import trio

from domain.ids import TOKEN_SALES, RoomId, UserId, block_key
from domain.refusals import Refusal
from server.ids import new_uuid
from storage import migrate as migrating
from storage.connections import login, trio_connection
from storage.ledger import audit as auditing
from storage.ledger.audit import Finding, Proof, audit
from storage.market.payment_settlements import Settlement, settle_payment
from storage.market.payments import list_payments
from storage.migrate import Migration, MigrationError, migrate, migrations, require_present_schema
from storage.paging import Page
from storage.postgres import Connection, PgUUID, Postgres, open_postgres
from tests.storage.ledger_pair import block, open_ledger_pair, tip
from tests.storage.postgres_processes import eventually
from tests.support.databases import Databases

FAN, CREATOR, ROOM = UserId(UUID(int=0xA << 120)), UserId(UUID(int=0xB << 120)), RoomId(UUID(int=0xC << 120))
FIRST = block(ROOM, FAN, CREATOR, 1)


async def _use_the_first_schema(connection: Connection) -> None:
    """Two users, a room, and postings as the first batch statement booked them."""
    await connection.execute("INSERT INTO users (supabase_id) VALUES ($1), ($2)", FAN, CREATOR)
    await connection.execute("INSERT INTO rooms (id, kind, channel) VALUES ($1, 'call', repeat('c', 22))", ROOM)
    await connection.execute("INSERT INTO meters (room_id, payer_id) VALUES ($1, $2)", ROOM, FAN)
    await connection.execute(
        "SELECT status FROM apply_postings(ARRAY[$1, $2, $3]::uuid[], $4::uuid[], '{4,1}', '{1,2}', '{2,3}',"
        " ARRAY[NULL, $5]::uuid[], '{0,1}', '{0,1}', '{100,15}', '{}', '{}', '{}', '{}', false)",
        *(TOKEN_SALES, FAN, CREATOR, [new_uuid(), PgUUID(block_key(ROOM, FAN, 1))], ROOM),
    )


@pytest.fixture
def empty_dsn(databases: Databases) -> Iterator[str]:
    with databases.fresh(template="template0") as dsn:
        yield dsn


async def test_purchases_that_waited_for_a_person_before_payments_were_kept_wait_for_an_operator_now(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, paid = new_uuid(), new_uuid()
    async with open_postgres(empty_dsn, pool_size=1) as postgres:
        with monkeypatch.context() as before:
            before.setattr(migrating, "migrations", lambda: [each for each in migrations() if each.version <= 3])
            await migrate(postgres)
        await postgres.execute("INSERT INTO users (supabase_id) VALUES ($1), ($2)", FAN, CREATOR)
        for purchase_id, status, paid_at in ((waiting, "review", None), (paid, "paid", "now")):
            await postgres.execute(
                "INSERT INTO purchases (id, user_id, pack_id, tokens, price_cents, currency, provider, status, paid_at)"
                " VALUES ($1, $2, 'small', 100, 699, 'USD', 'stripe', $3, $4::text::timestamptz)",
                *(purchase_id, FAN, status, paid_at),
            )
        await migrate(postgres)
        (payment,) = (await list_payments(postgres, Page(), status="open")).items
        assert (payment.purchase_id, payment.problem, payment.amount_cents) == (waiting, "wrong_amount", None)
        settlement = Settlement(action="reject", reason="Sent back", operator_id=CREATOR, key=None, content=bytes(16))
        assert not isinstance(await settle_payment(postgres, payment.id, settlement, None), Refusal)


async def test_an_audit_refuses_another_schema_and_changes_nothing(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = max(each.version for each in migrations())
    async with open_postgres(empty_dsn, pool_size=1) as postgres:
        with pytest.raises(MigrationError, match="there is no ledger in this database"):
            await require_present_schema(postgres)
        assert await postgres.fetch("SELECT FROM pg_namespace WHERE nspname = 'halfminute'") == []
        with monkeypatch.context() as before:
            before.setattr(migrating, "migrations", lambda: [each for each in migrations() if each.version < last])
            await migrate(postgres)
            await require_present_schema(postgres)
        with pytest.raises(MigrationError, match=f"holds migration {last - 1} of {last}: run `halfminute migrate`"):
            await require_present_schema(postgres)
        await migrate(postgres)
        await require_present_schema(postgres)
        await postgres.execute("INSERT INTO migrations (version, name) VALUES (9999, '9999_later')")
        with pytest.raises(MigrationError, match="9999, which is from a later halfminute"):
            await require_present_schema(postgres)


async def test_a_database_in_use_is_migrated(empty_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_postgres(empty_dsn, pool_size=1) as postgres:
        with monkeypatch.context() as before:
            before.setattr(migrating, "migrations", lambda: [next(migrations())])
            assert await migrate(postgres) == ["0001_initial"]
        await postgres.transaction(_use_the_first_schema)
        assert await migrate(postgres) == [each.name for each in migrations()][1:]
        assert await migrate(postgres) == []
    async with open_ledger_pair(empty_dsn) as ledgers:
        assert [finding.sentence async for finding in audit(ledgers.postgres) if finding.rows] == []
        postings = [FIRST, block(ROOM, FAN, CREATOR, 2), tip(FAN, CREATOR, 5)]
        receipts = await ledgers.actor.post(postings)
        assert [receipt.outcome.name for receipt in receipts] == ["ALREADY", "COMMITTED", "COMMITTED"]
        assert receipts[-1].debit_after == 65
        assert [finding.sentence async for finding in audit(ledgers.postgres) if finding.rows] == []


async def _migrate_to(postgres: Postgres, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as before:
        before.setattr(migrating, "migrations", lambda: [each for each in migrations() if each.version <= version])
        await migrate(postgres)


@pytest.mark.long
@pytest.mark.parametrize("version", range(1, sum(1 for _ in migrations())))
async def test_a_database_of_any_earlier_version_is_migrated(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    async with open_postgres(empty_dsn, pool_size=1) as postgres:
        await _migrate_to(postgres, 1, monkeypatch)
        await postgres.transaction(_use_the_first_schema)
        await _migrate_to(postgres, version, monkeypatch)
        assert await migrate(postgres) == [each.name for each in migrations()][version:]
    async with open_ledger_pair(empty_dsn) as ledgers:
        receipts = await ledgers.actor.post([FIRST, block(ROOM, FAN, CREATOR, 2)])
        assert [receipt.outcome.name for receipt in receipts] == ["ALREADY", "COMMITTED"]
        assert [finding.sentence async for finding in audit(ledgers.postgres) if finding.rows] == []


async def test_a_second_starter_waits_for_the_migration_of_the_first(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "LOCK_TIMEOUT_MS", 50)
    names: list[str] = []
    async with open_postgres(empty_dsn, pool_size=2) as postgres:
        first = await postgres.connect()
        await first.fetchrow("SELECT pg_advisory_lock($1)", migrating._LOCK)
        with structlog.testing.capture_logs() as logged:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_migrate_into, names, postgres)
                await eventually(lambda: "migration.waiting" in [line["event"] for line in logged])
                assert names == []
                first.terminate()
    assert names == [each.name for each in migrations()]
    assert len(logged) == 1, "the wait is logged once"


async def test_a_migration_waits_for_a_session_that_holds_a_table(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    async with open_postgres(empty_dsn, pool_size=1) as postgres:
        await migrate(postgres)
        monkeypatch.setattr(login, "LOCK_TIMEOUT_MS", 50)
        _add_migration(monkeypatch, "ALTER TABLE users ADD COLUMN more integer")
        async with open_postgres(empty_dsn, pool_size=1) as starter:
            reader = await postgres.connect()
            await reader.fetchrow("BEGIN")
            await reader.fetchrow("SELECT 1 FROM users")
            with structlog.testing.capture_logs() as logged:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_migrate_into, names, starter)
                    await eventually(lambda: "migration.waiting" in [line["event"] for line in logged])
                    reader.terminate()
    assert names == ["9999_more"]


async def test_a_migration_that_waits_too_long_raises_an_error(empty_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrating, "WAIT_SECONDS_MAX", 0.1)
    async with open_postgres(empty_dsn, pool_size=1) as postgres:
        first = await postgres.connect()
        await first.fetchrow("SELECT pg_advisory_lock($1)", migrating._LOCK)
        with pytest.raises(MigrationError, match="another migration held the database"), trio.fail_after(20):
            await migrate(postgres)
        first.terminate()


async def test_a_statement_of_a_migration_takes_as_long_as_it_needs(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_postgres(empty_dsn, pool_size=1) as postgres:
        await migrate(postgres)
    monkeypatch.setattr(login, "STATEMENT_TIMEOUT_MS", 100)
    monkeypatch.setattr(trio_connection, "CLIENT_TIMEOUT_SECONDS", 0.2)
    _add_migration(monkeypatch, "SELECT pg_sleep(0.6)")
    async with open_postgres(empty_dsn, pool_size=1) as postgres:
        assert await migrate(postgres) == ["9999_more"]


async def test_the_proof_of_a_large_ledger_takes_as_long_as_it_needs(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "STATEMENT_TIMEOUT_MS", 100)
    monkeypatch.setattr(trio_connection, "CLIENT_TIMEOUT_SECONDS", 0.2)
    slow = Proof("a slow proof", "SELECT x FROM (SELECT pg_sleep(0.6)::text AS x) s WHERE x <> ''")
    monkeypatch.setattr(auditing, "PROOFS", (slow,))
    async with open_postgres(dsn, pool_size=1) as postgres:
        assert [finding async for finding in audit(postgres)] == [("a slow proof", [])]


async def test_the_proof_waits_for_a_session_that_changes_a_table(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "LOCK_TIMEOUT_MS", 1)
    monkeypatch.setattr(auditing, "PROOFS", (Proof("nobody is there", "SELECT 1 AS one FROM users"),))
    findings: list[Finding] = []
    async with open_postgres(dsn, pool_size=2) as postgres, trio.open_nursery() as nursery:
        changer = await postgres.connect()
        await changer.fetchrow("BEGIN")
        await changer.fetchrow("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        nursery.start_soon(_prove_into, findings, postgres)
        while not (await postgres.fetch("SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'users'::regclass")):
            await trio.lowlevel.checkpoint()
        changer.terminate()
    assert findings == [("nobody is there", [])]


def _add_migration(monkeypatch: pytest.MonkeyPatch, sql: str) -> None:
    known = [*migrations(), Migration(9999, "9999_more", sql)]
    monkeypatch.setattr(migrating, "migrations", lambda: known)


async def _migrate_into(names: list[str], postgres: Postgres) -> None:
    names += await migrate(postgres)


async def _prove_into(findings: list[Finding], postgres: Postgres) -> None:
    findings += [finding async for finding in audit(postgres)]
