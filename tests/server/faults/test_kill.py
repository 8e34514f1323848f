"""kill -9 and dying databases at random moments: nothing is lost or charged twice, and no process stays behind."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from storage.embedded.launcher import postmaster_pid
from tests.storage.postgres_processes import guardians_of, processes_on
from tests.support.client_pool import Caller, ClientPool, Pair, moment, party
from tests.support.credits import Operators
from tests.support.database_reader import DatabaseReader, StoredCall
from tests.support.processes import ServerProcess, eventually, run_command

SETTINGS = {"HALFMINUTE_CALLS_BLOCK_SECONDS": "1", "HALFMINUTE_SERVER_CHECKPOINT_SECONDS": "1"}
RESTART_SECONDS_MAX = 15.0  # on a busy machine; a restart that waited for a lease would take that long on a quiet one
LONGEST_MOMENT_SECONDS = 1.2  # so that a kill hits any part of a block, and of a restart
OPERATORS = 2
CALL_SECONDS = 2.5
STORED_EVERY_SECONDS = 0.5
CLOCKS_APART_SECONDS_MAX = 0.05  # the test's clock counts on from its start, PostgreSQL's is the machine's
EVENT_SECONDS_MAX = 0.3  # from a clock's start to its event, and from the test's `kill` to the last instruction


def test_three_kills_under_fifteen_calls_lose_nothing_and_double_nothing(data_dir: Path) -> None:
    _kill_again_and_again(data_dir, calls=15, kills=3)


@pytest.mark.long
def test_ten_kills_under_fifty_calls_lose_nothing_and_double_nothing(data_dir: Path) -> None:
    _kill_again_and_again(data_dir, calls=50, kills=10)


def test_five_kills_of_server_and_database_lose_and_duplicate_nothing_that_was_acknowledged(data_dir: Path) -> None:
    _kill_repeatedly(data_dir, calls=8, kills=5)


@pytest.mark.long
def test_thirty_kills_of_server_and_database_lose_and_duplicate_nothing_that_was_acknowledged(data_dir: Path) -> None:
    _kill_repeatedly(data_dir, calls=25, kills=30)


def test_a_call_goes_on_within_the_block_it_was_killed_in(data_dir: Path) -> None:
    settings = {
        "HALFMINUTE_CALLS_BLOCK_SECONDS": "30",
        "HALFMINUTE_SERVER_CHECKPOINT_SECONDS": str(STORED_EVERY_SECONDS),
    }
    with ServerProcess(data_dir, settings=settings) as server:
        with _client_pool_of(server, calls=3) as pool:
            pool.ring()
            time.sleep(CALL_SECONDS)  # the part of the block that is used
            killed_at = _kill_and_start(server)
            _see_every_call_go_on(pool, killed_at)
            used = [pair.running_seconds([killed_at]) for pair in pool.pairs]
            _stop(server)
        for pair, running in zip(pool.pairs, used, strict=True):
            _, again = pair.fan.events_of("room:joined")
            assert running - 3 * STORED_EVERY_SECONDS < again["room"]["activeSeconds"] < running + EVENT_SECONDS_MAX
            assert pair.last_block() == 1


def test_a_block_that_a_kill_keeps_out_of_the_ledger_was_announced_to_nobody(data_dir: Path) -> None:
    with ServerProcess(data_dir, settings=SETTINGS) as server:
        with _client_pool_of(server, calls=3) as pool:
            pool.ring()
            with DatabaseReader.beside(server.data_dir).held() as database:
                eventually(database.has_waiting_postings, "a block that waits for the ledger")
                killed_at = _kill_and_start(server)
            _see_every_call_go_on(pool, killed_at)
            stopped_at = _stop(server)
        _check_ledger(DatabaseReader.at_rest(server.data_dir), pool, [killed_at, stopped_at])


def _client_pool_of(server: ServerProcess, calls: int) -> ClientPool:
    users, secret = DatabaseReader.beside(server.data_dir).add_pairs(calls, tokens=10_000), server.jwt_secret()
    return ClientPool(server, [(party(fan, secret), party(creator, secret)) for fan, creator in users])


def _kill_again_and_again(data_dir: Path, *, calls: int, kills: int) -> None:
    moments = random.Random(seed := random.randrange(10**6))
    print(f"seed {seed}")
    with ServerProcess(data_dir, settings=SETTINGS) as server:
        with _client_pool_of(server, calls) as pool:
            pool.ring()
            stops = []
            for kill in range(kills):
                time.sleep(moments.uniform(0, LONGEST_MOMENT_SECONDS))  # the moment itself is what is tested
                stops.append(_kill_and_start(server))
                if kill % 3 != 1:  # otherwise the next kill hits the clients while they reconnect
                    _see_every_call_go_on(pool, stops[-1])
                    pool.wait_more_blocks()
                    _see_the_ledger_proved(data_dir)
            stops.append(_stop(server))
    _check_ledger(DatabaseReader.at_rest(data_dir), pool, stops)
    for caller in pool.callers:
        _check_events(caller)
    _see_the_ledger_proved(data_dir)
    assert _processes(data_dir) == set()


def _kill_repeatedly(data_dir: Path, *, calls: int, kills: int) -> None:
    """Kill repeatedly; a block whose event a client received, and a credit that was answered, must be booked."""
    chance = random.Random(seed := random.randrange(10**6))
    print(f"seed {seed}")
    with ServerProcess(data_dir, settings=SETTINGS) as server:
        with _client_pool_of(server, calls) as pool:
            pool.ring()
            users = [caller.party.user_id for caller in pool.callers]
            with Operators(server, users, OPERATORS) as operators:
                for kill in _random_kills(kills, chance):
                    time.sleep(chance.uniform(0, LONGEST_MOMENT_SECONDS))  # the moment itself is what is tested
                    kill(server)
                    if chance.random() < 2 / 3:  # otherwise the next kill hits the clients while they reconnect
                        pool.wait_more_blocks()
                pool.wait_more_blocks()
            operators.check_answers()
            _stop(server)
    database = DatabaseReader.at_rest(data_dir)
    _check_blocks(database, pool)
    operators.check_ledger(database, others=calls)
    for caller in pool.callers:
        assert max(_blocks_seen(caller).values()) == 1
        assert caller.events_of("call:ended") == []
    _see_the_ledger_proved(data_dir)
    assert _processes(data_dir) == set()


def _random_kills(count: int, chance: random.Random) -> list[Callable[[ServerProcess], object]]:
    """Draw every kind about equally often, and none three times in a row, or PostgreSQL would be abandoned."""
    kills: list[Callable[[ServerProcess], object]] = []
    while len(kills) < count:
        kills += chance.sample([_kill_and_start, _stop_postgres, _kill_both_and_start], 3)
    return kills[:count]


def _stop_postgres(server: ServerProcess) -> int:
    """Stop PostgreSQL as `pg_ctl stop -m immediate` does, and return its process id.

    The server lives, and its guardian starts another.
    """
    eventually(lambda: postmaster_pid(server.data_dir), "a PostgreSQL to stop")
    stopped = postmaster_pid(server.data_dir)
    assert stopped is not None
    os.kill(stopped, signal.SIGQUIT)
    return stopped


def _kill_both_and_start(server: ServerProcess) -> None:
    _stop_postgres(server)
    _kill_and_start(server)


def _kill_and_start(server: ServerProcess) -> float:
    """Kill the server and start it at once; return when it was killed."""
    of_before, killed_at = _processes(server.data_dir), time.time()
    server.kill()
    took = server.start()
    print(f"up again in {took:.2f} s")
    assert took < RESTART_SECONDS_MAX
    eventually(lambda: not of_before & _processes(server.data_dir), "the end of the killed server's PostgreSQL")
    assert len(guardians_of(server.data_dir)) == 1
    return killed_at


def _see_every_call_go_on(pool: ClientPool, killed_at: float) -> None:
    began = time.monotonic()
    pool.wait_all(lambda pair: _resumed_since(pair.fan, killed_at), "every call's going on")
    print(f"every call went on {time.monotonic() - began:.2f} s later")


def _see_the_ledger_proved(data_dir: Path) -> None:
    proved = run_command("audit", "--data", str(data_dir), cwd=data_dir.parent)
    assert (proved.exit_code, proved.out.splitlines()[-1:]) == (0, ["the ledger is sound"]), proved


def _stop(server: ServerProcess) -> float:
    """Stop the server in good order; return when that was."""
    stopped_at = time.time()
    server.terminate()
    assert server.wait_exit() == 0
    assert _processes(server.data_dir) == set()
    return stopped_at


def _check_ledger(database: DatabaseReader, pool: ClientPool, stops: list[float]) -> None:
    calls = _check_blocks(database, pool)
    for pair in pool.pairs:
        _check_that_only_running_time_is_charged(pair, len(calls[pair.call_id].blocks), stops)


def _check_blocks(database: DatabaseReader, pool: ClientPool) -> dict[UUID, StoredCall]:
    """Check that each announced block was booked once, and earlier; no series has a gap or a duplicate."""
    posted_at, calls = database.posted_at(), database.calls()
    for pair in pool.pairs:
        for charged in (event for caller in pair.both for event in caller.events_of("block:charged")):
            (booked,) = posted_at[pair.call_id, charged["blockNo"]]
            assert booked < moment(charged["at"]) + CLOCKS_APART_SECONDS_MAX
        blocks = calls[pair.call_id].blocks
        assert blocks == list(range(1, len(blocks) + 1))
    return calls


def _check_that_only_running_time_is_charged(pair: Pair, blocks: int, stops: list[float]) -> None:
    """A block is a second, charged at its start; each stop may cost the creator the time that was not stored."""
    running, slack = pair.running_seconds(stops), EVENT_SECONDS_MAX * len(stops)
    assert running - len(stops) - slack < blocks < running + 1 + slack


def _check_events(caller: Caller) -> None:
    """Check that no block came twice, that no error came, and that each resume says why the call stood."""
    assert max(_blocks_seen(caller).values()) == 1
    assert caller.events_of("error") == caller.events_of("call:ended") == []
    _, *later = caller.events_of("room:joined")
    assert later
    assert [(joined["room"]["status"], joined["room"]["holds"]) for joined in later] == [("paused", ["restart"])] * len(
        later
    )


def _blocks_seen(caller: Caller) -> Counter[int]:
    return Counter(event["blockNo"] for event in caller.events_of("block:charged"))


def _resumed_since(caller: Caller, at: float) -> bool:
    return any(moment(event["at"]) > at for event in caller.events_of("call:resumed"))


def _processes(data_dir: Path) -> set[int]:
    return {*processes_on(data_dir), *guardians_of(data_dir)}
