"""The database goes away during live calls and comes back: no crash, no block lost, none charged twice."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest

from tests.storage.own_postgres import OwnPostgres, own_postgres
from tests.support.client_pool import ClientPool, moment, party
from tests.support.clients import SECRET
from tests.support.database_reader import DatabaseReader, StoredCall
from tests.support.processes import ServerProcess, eventually, run_command

CALLS = 8
BLOCK_SECONDS = 1
SETTINGS = {"HALFMINUTE_JWT_SECRET": SECRET, "HALFMINUTE_CALLS_BLOCK_SECONDS": str(BLOCK_SECONDS)}
EVENT_SECONDS_MAX = 0.5  # from a clock's start or stop to its event


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[OwnPostgres]:
    with own_postgres(tmp_path / "postgres") as running:
        yield running


LASTING = pytest.mark.parametrize("seconds", [4.0, pytest.param(20.0, marks=pytest.mark.long)])


@LASTING
def test_blocks_that_fall_due_while_the_database_is_away_are_charged_once_it_is_back(
    postgres: OwnPostgres, tmp_path: Path, seconds: float
) -> None:
    with _live_calls(postgres, tmp_path, {}) as (server, pool):
        _take_away(postgres, server, pool, seconds)
        stopped_at = _continue_and_stop(server, pool)
    for pair in pool.pairs:
        assert pair.fan.events_of("call:paused") == []
    _check(postgres, server, pool, stopped_at)


@LASTING
def test_calls_that_outlast_the_grace_stand_until_the_database_is_back(
    postgres: OwnPostgres, tmp_path: Path, seconds: float
) -> None:
    grace = seconds / 3
    with _live_calls(postgres, tmp_path, {"HALFMINUTE_CALLS_STORAGE_GRACE_SECONDS": str(grace)}) as (server, pool):
        began = time.time()
        _take_away(postgres, server, pool, seconds)
        pool.wait_all(lambda pair: bool(pair.fan.events_of("call:resumed")), "every call's going on")
        stopped_at = _continue_and_stop(server, pool)
    for pair in pool.pairs:
        paused, resumed = pair.fan.events_of("call:paused"), pair.fan.events_of("call:resumed")
        assert [event["holds"] for event in paused] == [["storage"]]
        assert [event["holds"] for event in resumed] == [[]]
        assert began + grace - BLOCK_SECONDS < moment(paused[0]["at"]) < began + grace + 2 * BLOCK_SECONDS
        assert moment(resumed[0]["at"]) > began + seconds
    _check(postgres, server, pool, stopped_at)


@pytest.mark.long
def test_a_server_that_is_stopped_while_the_database_is_away_ends_in_time_and_its_calls_go_on(
    postgres: OwnPostgres, tmp_path: Path
) -> None:
    with _live_calls(postgres, tmp_path, {"HALFMINUTE_SERVER_DRAIN_SECONDS": "3"}) as (server, pool):
        postgres.stop()
        eventually(lambda: server.get("/readyz").status_code == 503, "a server that is not ready")
        began = time.monotonic()
        server.terminate()
        assert server.wait_exit() == 0
        assert time.monotonic() - began < 3 + 2
        assert {caller.close_codes[0] for caller in pool.callers} == {4000}
        postgres.start()
        _see_them_go_on(server, pool)
    _check_journal(postgres, pool)


@pytest.mark.long
def test_a_killed_server_adopts_its_calls_again_once_its_lease_has_run_out(
    postgres: OwnPostgres, tmp_path: Path
) -> None:
    hurried = {"HALFMINUTE_SERVER_LEASE_SECONDS": "4", "HALFMINUTE_SERVER_CHECKPOINT_SECONDS": "2"}
    with _live_calls(postgres, tmp_path, hurried) as (server, pool):
        server.kill()
        _see_them_go_on(server, pool)
    _check_journal(postgres, pool)
    errors = {event["error"] for caller in pool.callers for event in caller.events_of("error")}
    assert errors <= {"ROOM_STARTING", "OVERLOADED"}, "no live call is reported as unknown"


@pytest.mark.long
def test_a_server_that_stops_in_good_order_releases_its_calls_at_once(postgres: OwnPostgres, tmp_path: Path) -> None:
    with _live_calls(postgres, tmp_path, {"HALFMINUTE_SERVER_LEASE_SECONDS": "60"}) as (server, pool):
        server.terminate()
        assert server.wait_exit() == 0
        _see_them_go_on(server, pool)
    _check_journal(postgres, pool)


def _see_them_go_on(server: ServerProcess, pool: ClientPool) -> None:
    server.start()
    pool.wait_all(lambda pair: len(pair.fan.events_of("call:resumed")) == 1, "every call's going on")
    pool.wait_more_blocks()
    server.terminate()
    assert server.wait_exit() == 0


@contextmanager
def _live_calls(
    postgres: OwnPostgres, directory: Path, settings: dict[str, str]
) -> Iterator[tuple[ServerProcess, ClientPool]]:
    with ServerProcess(directory / "data", settings={**SETTINGS, "DATABASE_URL": postgres.dsn, **settings}) as server:
        users = DatabaseReader(postgres.dsn).add_pairs(CALLS, tokens=10_000)
        with ClientPool(server, [(party(fan, SECRET), party(creator, SECRET)) for fan, creator in users]) as pool:
            pool.ring()
            yield server, pool


def _take_away(postgres: OwnPostgres, server: ServerProcess, pool: ClientPool, seconds: float) -> None:
    """Stop the database for so long; return what the server reports of itself meanwhile and afterwards."""
    assert server.get("/readyz").status_code == 200
    postgres.stop()
    back_at = time.monotonic() + seconds
    eventually(lambda: server.get("/readyz").status_code == 503, "a server that is not ready")
    refused = pool.init(pool.pairs[0])
    assert (refused.status_code, refused.json()["error"]) == (503, "STORAGE_UNAVAILABLE")
    assert "Retry-After" in refused.headers
    eventually(lambda: time.monotonic() > back_at, "the end of the outage", 2 * seconds)
    assert server.get("/healthz").status_code == 200
    assert server.get("/readyz").status_code == 503
    postgres.start()
    eventually(lambda: server.get("/readyz").status_code == 200, "a server that is ready again")


def _continue_and_stop(server: ServerProcess, pool: ClientPool) -> float:
    pool.wait_more_blocks()
    stopped_at = time.time()
    server.terminate()
    assert server.wait_exit() == 0
    return stopped_at


def _check(postgres: OwnPostgres, server: ServerProcess, pool: ClientPool, stopped_at: float) -> None:
    """Check that every block of the running time was booked and announced once, and that nothing failed meanwhile."""
    calls = _check_journal(postgres, pool)
    for pair in pool.pairs:
        blocks = calls[pair.call_id].blocks
        for caller in pair.both:
            assert [event["blockNo"] for event in caller.events_of("block:charged")] == blocks
            assert caller.sessions == 1
        running = pair.running_seconds([stopped_at])
        assert running - EVENT_SECONDS_MAX < len(blocks) < running + 1 + EVENT_SECONDS_MAX
    assert len(server.logged("storage.away")) == len(server.logged("storage.back")) == 1
    assert server.logged("room.crashed") == server.logged("room.lost") == []
    assert [line for line in server.errors.all() if not line.startswith("{")] == [], "the log is JSON, line by line"


def _check_journal(postgres: OwnPostgres, pool: ClientPool) -> dict[UUID, StoredCall]:
    """Check that each call's blocks are in the journal once, from first to last, and so is each announced block."""
    calls = DatabaseReader(postgres.dsn).calls()
    for pair in pool.pairs:
        blocks = calls[pair.call_id].blocks
        assert blocks == list(range(1, len(blocks) + 1))
        assert all(caller.last_block() <= len(blocks) for caller in pair.both)
    proved = run_command("audit", cwd=Path("/"), settings={**SETTINGS, "DATABASE_URL": postgres.dsn})
    assert proved.exit_code == 0, proved
    return calls
