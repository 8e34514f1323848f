"""Which database errors are temporary, and whether the connection is replaced after them."""

from urllib.parse import urlsplit

import asyncpg
import pytest
import trio

from domain.billing.posting import Outcome, Receipt
from storage.database_errors import StatementRefused, StorageUnavailable
from storage.ledger.audit import audit
from storage.postgres import Postgres, open_postgres
from storage.sqlstates import is_passing, loses_session
from tests.storage.ledger_pair import open_ledger_pair, tip
from tests.storage.postgres_processes import eventually
from tests.storage.raising import raising

PASSING = {
    "08006": "connection failure",
    "25006": "read only after a failover",
    "25P03": "idle in transaction for too long",
    "26000": "a statement that a pooler's other backend has not prepared",
    "40001": "serialization failure",
    "40P01": "deadlock",
    "53100": "disk full",
    "53200": "out of memory",
    "53300": "too many connections",
    "53400": "a configured limit",
    "55P03": "a lock that another holds",
    "57014": "cancelled, or too slow",
    "57P01": "shut down by the administrator",
    "58030": "input or output failed",
    "XX000": "internal error",
    "XX001": "a damaged row",
    "28P01": "a password that was changed",
    "3D000": "a database that is not there",
    "ZZ999": "a code that nobody knows",
    "": "no code at all",
}
OURS = {
    "21000": "more rows than one",
    "22003": "a number out of range",
    "22021": "the byte that no text may have",
    "23505": "a key that is there already",
    "23514": "a check that does not hold",
    "42501": "a privilege that is missing",
    "42P01": "a table that is missing",
    "44000": "a row that its view would not show",
    "54000": "more than an index row holds",
    "HM004": "a balance out of range",
    "P0001": "raised by somebody's trigger",
}


@pytest.mark.parametrize("sqlstate", PASSING)
def test_transient_sqlstates_are_retried(sqlstate: str) -> None:
    assert is_passing(sqlstate)


@pytest.mark.parametrize("sqlstate", OURS)
def test_sqlstates_of_our_own_faults_are_not_retried(sqlstate: str) -> None:
    assert not is_passing(sqlstate)
    assert not loses_session(sqlstate)


def test_every_error_that_asyncpg_names_is_one_or_the_other_by_its_class() -> None:
    """Each class is wholly temporary or wholly permanent, so that codes of later PostgreSQL versions are covered."""
    named = {error.sqlstate for error in vars(asyncpg).values() if getattr(error, "sqlstate", None)}
    assert len(named) > 200
    for sqlstate in named:
        assert is_passing(sqlstate) == is_passing(sqlstate[:2])


SEEN_PASSING = ["25006", "53100", "53200", "53400", "58030", "XX000", "ZZ999"]
SOUND, BROKEN = ["53100", "53400", "55P03", "40001"], ["25006", "57P01", "58030", "XX000", "26000"]
PID = "SELECT pg_backend_pid() AS pid"


@pytest.mark.parametrize("sqlstate", SEEN_PASSING)
async def test_a_batch_that_meets_a_passing_error_is_booked_later_and_as_a_whole(dsn: str, sqlstate: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        receipts = list[Receipt]()
        async with raising(ledgers.postgres, "journal", sqlstate, "NEW.tokens = 13"):
            assert ledgers.actor.submit([tip(fan, creator, 1), tip(fan, creator, 13)], receipts.extend)
            await eventually(lambda: ledgers.actor.commit_retries >= 3)
            assert receipts == []
            assert (await ledgers.wallets_in_database())[creator].balance == 0
            ledgers.observer.batches.clear()
        await eventually(lambda: ledgers.actor.idle)
        assert [receipt.outcome for receipt in receipts] == [Outcome.COMMITTED] * 2
        assert (ledgers.observer.batches, ledgers.observer.poisoned) == ([2], [])
        assert [finding.sentence async for finding in audit(ledgers.postgres) if finding.rows] == []


@pytest.mark.parametrize("sqlstate", ["22003", "23514", "42P01", "54000", "HM010", "P0001"])
async def test_an_error_of_one_posting_costs_that_posting_alone(dsn: str, sqlstate: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        async with raising(ledgers.postgres, "journal", sqlstate, "NEW.tokens = 13"):
            sent = [tip(fan, creator, 1), tip(fan, creator, 13), tip(fan, creator, 2)]
            outcomes = [receipt.outcome for receipt in await ledgers.actor.post(sent)]
        assert outcomes == [Outcome.COMMITTED, Outcome.INVALID, Outcome.COMMITTED]
        assert ledgers.actor.commit_retries == 0


@pytest.mark.parametrize("sqlstate", SEEN_PASSING)
async def test_a_refund_that_meets_a_passing_error_is_made_later(dsn: str, sqlstate: str) -> None:
    async with open_ledger_pair(dsn) as ledgers, trio.open_nursery() as nursery:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        paid = (await ledgers.actor.post([tip(fan, creator, 13)]))[0].posting
        async with raising(ledgers.postgres, "journal", sqlstate):
            nursery.start_soon(ledgers.actor.refund, [paid.key], "a test")
            await eventually(lambda: ledgers.actor.commit_retries >= 2)
        await eventually(lambda: ledgers.actor.idle)
        assert (await ledgers.wallets_in_database())[fan].balance == 100


@pytest.mark.parametrize("sqlstate", [*SOUND, *BROKEN])
async def test_a_lone_connection_is_kept_only_while_its_session_is_sound(dsn: str, sqlstate: str) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres:
        await _make_raising_function(postgres, sqlstate)
        lone = await postgres.connect()
        try:
            with pytest.raises(StorageUnavailable) as unavailable:
                await lone.fetchrow("SELECT fail()")
            assert unavailable.value.sqlstate == sqlstate
            assert lone.closed == (sqlstate in BROKEN)
        finally:
            lone.terminate()


@pytest.mark.parametrize("sqlstate", [*SOUND, *BROKEN])
@pytest.mark.parametrize("atomic", [False, True])
async def test_a_pool_keeps_a_connection_only_while_its_session_is_sound(dsn: str, sqlstate: str, atomic: bool) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres:
        await _make_raising_function(postgres, sqlstate)
        before = (await postgres.fetch(PID))[0]["pid"]
        with pytest.raises(StorageUnavailable):
            await postgres.transaction(lambda connection: connection.execute("SELECT fail()"), atomic=atomic)
        assert ((await postgres.fetch(PID))[0]["pid"] == before) == (sqlstate in SOUND)


async def test_after_a_failover_no_older_connection_of_the_pool_is_used_again(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=3) as postgres:
        await _make_raising_function(postgres, "25006")
        before = await _all_pids(postgres, 3)
        with pytest.raises(StorageUnavailable):
            await postgres.fetch("SELECT fail()")
        assert before & await _all_pids(postgres, 3) == set()


async def test_a_database_that_lets_nobody_in_is_waited_for(dsn: str) -> None:
    """A refused connection does not refuse the posting that was to be sent."""
    name = urlsplit(dsn).path[1:]
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        receipts = list[Receipt]()
        await ledgers.postgres.execute(f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC, current_user')
        try:
            ledgers.actor.abandon()  # the connection that it has
            assert ledgers.actor.submit([tip(fan, creator, 40)], receipts.extend)
            await eventually(lambda: bool(receipts) or ledgers.actor.commit_retries >= 2)
        finally:
            await ledgers.postgres.execute(f'GRANT CONNECT ON DATABASE "{name}" TO PUBLIC')
        await eventually(lambda: ledgers.actor.idle)
        assert [receipt.outcome for receipt in receipts] == [Outcome.COMMITTED]


async def test_a_refused_statement_names_its_sqlstate_and_keeps_its_connection(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres:
        before = (await postgres.fetch(PID))[0]["pid"]
        with pytest.raises(StatementRefused) as refused:
            await postgres.fetch("SELECT 1 / 0")
        assert refused.value.sqlstate == "22012"
        assert (await postgres.fetch(PID))[0]["pid"] == before


async def _make_raising_function(postgres: Postgres, sqlstate: str) -> None:
    await postgres.execute(
        "CREATE FUNCTION fail() RETURNS void LANGUAGE plpgsql AS $$ BEGIN"
        f" RAISE EXCEPTION 'made to fail' USING ERRCODE = '{sqlstate}'; END $$"
    )


async def _all_pids(postgres: Postgres, connections: int) -> set[int]:
    """Return the backends of so many connections that are in use at once."""
    pids = set[int]()

    async def ask() -> None:
        pids.add((await postgres.fetch("SELECT pg_backend_pid() AS pid, pg_sleep(0.2)"))[0]["pid"])

    async with trio.open_nursery() as nursery:
        for _ in range(connections):
            nursery.start_soon(ask)
    assert len(pids) == connections
    return pids
