"""The database answers "not now" during a live call: nothing ends, nothing is lost, and a retry returns the outcome."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import httpx
import pytest
import trio

from server.ids import new_uuid
from storage.postgres import Postgres, open_postgres
from tests.storage.own_postgres import OwnPostgres, own_postgres
from tests.storage.raising import make_raise, mend, times_raised
from tests.support.client_pool import ClientPool, Pair, party
from tests.support.clients import SECRET
from tests.support.database_reader import DatabaseReader
from tests.support.processes import ServerProcess, eventually, run_command

T = TypeVar("T")
PASSING = ("25006", "53100", "53200", "53400", "58030", "XX000")
TABLES = ("journal", "servers", "calls", "meters", "rooms", "wallets")
# Each of both lists at least once; the long run tries the other pairs.
IN_TURN = list(zip(TABLES, PASSING, strict=True))
OTHERS = [pair for pair in product(TABLES, PASSING) if pair not in IN_TURN]
LONG = pytest.mark.long
SETTINGS = {
    "HALFMINUTE_JWT_SECRET": SECRET,
    "HALFMINUTE_CALLS_BLOCK_SECONDS": "1",
    "HALFMINUTE_HTTP_ANSWER_SECONDS": "1",
    "HALFMINUTE_SERVER_CHECKPOINT_SECONDS": "1",
}


Live: TypeAlias = tuple[ServerProcess, ClientPool, ClientPool]  # a pair in a call, and a pair that is only connected


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPostgres]:
    with own_postgres(tmp_path_factory.mktemp("faulty") / "postgres") as running:
        yield running


@pytest.fixture(scope="module")
def live(postgres: OwnPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server with one call that goes on from test to test."""
    settings = {**SETTINGS, "DATABASE_URL": postgres.dsn}
    with ServerProcess(tmp_path_factory.mktemp("served") / "data", settings=settings) as server:
        users = DatabaseReader(postgres.dsn).add_pairs(2, tokens=100_000)
        parties = [(party(fan, SECRET), party(creator, SECRET)) for fan, creator in users]
        with ClientPool(server, parties[:1]) as pool, ClientPool(server, parties[1:]) as waiting:
            pool.ring()
            pool.wait_more_blocks()  # a block is posted after the record of the start is stored
            yield server, pool, waiting
            server.terminate()
            assert server.wait_exit() == 0
    proved = run_command("audit", cwd=Path("/"), settings={**SETTINGS, "DATABASE_URL": postgres.dsn})
    assert proved.exit_code == 0, proved


@pytest.mark.parametrize("in_call", [True, False])
def test_a_primary_that_becomes_read_only_costs_a_tip_its_time_and_nobody_anything_else(
    postgres: OwnPostgres, live: Live, in_call: bool
) -> None:
    server, pool, _ = live
    key, tokens = str(new_uuid()), 7 + in_call
    with _unharmed(server, pool):
        before = len(server.logged("storage.away"))
        with _read_only(postgres):
            eventually(lambda: len(server.logged("storage.away")) > before, "a block that cannot be booked")
            for _ in range(2):
                _see_refused(_tip(server, pool.pairs[0], key, tokens, in_call))
            assert server.get("/healthz").status_code == 200
        eventually(lambda: server.get("/readyz").status_code == 200, "a server that is ready again")
        given = [_tip(server, pool.pairs[0], key, tokens, in_call) for _ in range(2)]
        assert [answer.status_code for answer in given] == [200, 200], given[0].text
        assert given[0].json()["tipId"] == given[1].json()["tipId"]
    assert (
        DatabaseReader(postgres.dsn).fetch("SELECT count(*) FROM journal WHERE kind = 2 AND tokens = $1", tokens)[0][0]
        == 1
    )


@pytest.mark.parametrize(("table", "sqlstate"), [*IN_TURN, *(pytest.param(*pair, marks=LONG) for pair in OTHERS)])
def test_a_table_that_cannot_be_written_for_a_while_ends_neither_the_call_nor_the_process(
    postgres: OwnPostgres, live: Live, table: str, sqlstate: str
) -> None:
    server, pool, waiting = live
    with _unharmed(server, pool):
        with _raising(postgres, table, sqlstate):
            if table in ("calls", "rooms"):  # the tables that are not written while a call goes on
                _see_refused(waiting.init(waiting.pairs[0]))
                _see_refused(waiting.init(waiting.pairs[0]))
            eventually(lambda: _run(postgres.dsn, times_raised) >= 2, "two statements that fail")


@pytest.mark.parametrize(
    ("table", "when"), [("servers", "true"), ("meters", "NEW.last_block = OLD.last_block")], ids=["lease", "checkpoint"]
)
def test_an_internal_error_in_the_periodic_work_ends_neither_the_call_nor_the_process(
    postgres: OwnPostgres, live: Live, table: str, when: str
) -> None:
    server, pool, _ = live
    with _raising(postgres, table, "22003", when):
        eventually(lambda: _run(postgres.dsn, times_raised) >= 2, "two rounds that fail")
        pool.wait_more_blocks()
        assert server.running
    assert _errors(server) != [], "a fault of ours is logged"
    pool.wait_more_blocks()


@pytest.mark.parametrize("sqlstate", ["53100", "XX000", "25006", "22003"])
def test_a_start_that_cannot_write_its_lease_ends_in_one_line(
    postgres: OwnPostgres, tmp_path: Path, sqlstate: str
) -> None:
    ports = ["--http", "127.0.0.1:0", "--ws", "127.0.0.1:0"]
    with _raising(postgres, "servers", sqlstate):
        ended = run_command("serve", *ports, cwd=tmp_path, settings={**SETTINGS, "DATABASE_URL": postgres.dsn})
    lines = [line for line in ended.errors if line.startswith("halfminute: ")]
    assert (ended.exit_code, len(lines)) == (1, 1)
    assert "made to fail" in lines[0]
    assert "Traceback" not in "".join(ended.errors)


def test_a_start_that_cannot_claim_its_rooms_fails_at_once_and_reports_why(
    postgres: OwnPostgres, tmp_path: Path
) -> None:
    ports = ["--http", "127.0.0.1:0", "--ws", "127.0.0.1:0"]
    with _read_only(postgres):
        ended = run_command("serve", *ports, cwd=tmp_path, settings={**SETTINGS, "DATABASE_URL": postgres.dsn})
    lines = [line for line in ended.errors if line.startswith("halfminute: ")]
    assert (ended.exit_code, len(lines)) == (1, 1)
    assert "read-only transaction" in lines[0]


@contextmanager
def _unharmed(server: ServerProcess, pool: ClientPool) -> Iterator[None]:
    """Check that whatever happens in the block leaves the call unpaused, its parties connected and nothing failed."""
    kinds = ("call:paused", "call:ended", "session:ready")
    before = [[len(caller.events_of(kind)) for kind in kinds] for caller in pool.callers]
    errors = len(_errors(server))
    yield
    pool.wait_more_blocks()
    assert server.running
    assert [[len(caller.events_of(kind)) for kind in kinds] for caller in pool.callers] == before
    assert _errors(server)[errors:] == []


def _errors(server: ServerProcess) -> list[str]:
    return [line for line in server.errors.all() if '"level": "error"' in line or '"level": "critical"' in line]


def _see_refused(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["error"]) == (503, "STORAGE_UNAVAILABLE"), answer.text
    assert "Retry-After" in answer.headers


def _tip(server: ServerProcess, pair: Pair, key: str, tokens: int, in_call: bool) -> httpx.Response:
    body: dict[str, Any] = {"toCreatorId": str(pair.creator.party.user_id), "amountTokens": tokens}
    return httpx.post(
        f"http://127.0.0.1:{server.http_port}/api/tips/send",
        json={**body, "context": {"channel": pair.fan.channel}} if in_call else body,
        headers={"Authorization": f"Bearer {pair.fan.party.token}", "Idempotency-Key": key},
        timeout=20,
        verify=False,
    )


@contextmanager
def _raising(postgres: OwnPostgres, table: str, sqlstate: str, when: str = "true") -> Iterator[None]:
    _run(postgres.dsn, lambda database: make_raise(database, table, sqlstate, when))
    try:
        yield
    finally:
        _run(postgres.dsn, lambda database: mend(database, table))


@contextmanager
def _read_only(postgres: OwnPostgres) -> Iterator[None]:
    """Make the database read-only, as a primary is after a failover, for all sessions, old and new."""

    async def set_to(database: Postgres, value: str) -> None:
        await database.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        await database.execute("SELECT pg_reload_conf()")

    _run(postgres.admin_dsn, lambda database: set_to(database, "on"))
    try:
        eventually(lambda: _is_read_only(postgres) == "on", "a database that is read-only")
        yield
    finally:
        _run(postgres.admin_dsn, lambda database: set_to(database, "off"))
        eventually(lambda: _is_read_only(postgres) == "off", "a database that is not")


def _is_read_only(postgres: OwnPostgres) -> str:
    rows = _run(postgres.dsn, lambda database: database.fetch("SHOW default_transaction_read_only"))
    return str(rows[0][0])


def _run(dsn: str, work: Callable[[Postgres], Awaitable[T]]) -> T:
    async def visit() -> T:
        async with open_postgres(dsn, pool_size=1) as postgres:
            return await work(postgres)

    return trio.run(visit)
