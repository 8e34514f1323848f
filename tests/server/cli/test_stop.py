"""An orderly stop stores the position of every clock and answers every request that is under way."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from server.access.tokens import issue_token
from server.ids import new_uuid
from tests.support.client_pool import ClientPool, moment, party
from tests.support.database_reader import DatabaseReader
from tests.support.processes import ServerProcess, eventually

# Only the stop itself stores the position of a clock.
SETTINGS = {
    "HALFMINUTE_CALLS_BLOCK_SECONDS": "30",
    "HALFMINUTE_SERVER_CHECKPOINT_SECONDS": "600",
    "HALFMINUTE_SERVER_LEASE_SECONDS": "600",
}
CALL_SECONDS = 2.0
EVENT_SECONDS_MAX = 0.3  # from the beginning of the drain to the stop of the clocks, and from a start to its event


def test_a_stop_costs_nobody_a_second_of_the_block_it_falls_into(data_dir: Path) -> None:
    with ServerProcess(data_dir, settings=SETTINGS) as server:
        users, secret = DatabaseReader.beside(data_dir).add_pairs(3, tokens=100), server.jwt_secret()
        with ClientPool(server, [(party(fan, secret), party(creator, secret)) for fan, creator in users]) as pool:
            pool.ring()
            time.sleep(CALL_SECONDS)  # the part of the block that is used
            server.terminate()
            assert server.wait_exit() == 0
            stopped_at = moment(server.logged("server.draining")[-1]["timestamp"])  # a busy machine delays the signal
            used = [pair.running_seconds([stopped_at]) for pair in pool.pairs]
            server.start()
            pool.wait_all(lambda pair: bool(pair.fan.events_of("call:resumed")), "every call's going on")
            for pair, running in zip(pool.pairs, used, strict=True):
                _, again = pair.fan.events_of("room:joined")
                assert abs(again["room"]["activeSeconds"] - running) < EVENT_SECONDS_MAX


def test_a_credit_under_way_is_booked_and_answered_before_the_server_ends(data_dir: Path) -> None:
    with ServerProcess(data_dir) as server:
        ((fan, _),) = DatabaseReader.beside(data_dir).add_pairs(1, tokens=1)
        token = issue_token(server.jwt_secret(), new_uuid(), role="operator", ttl_seconds=3600, now=time.time())
        credit = {"userId": str(fan), "tokens": 5, "reason": "just in time"}
        with ThreadPoolExecutor(1) as asking:
            with DatabaseReader.beside(data_dir).held() as database:
                answer = asking.submit(server.post, "/api/admin/credits", token, credit)
                eventually(database.has_waiting_postings, "a credit that waits for the ledger")
                server.terminate()
                eventually(lambda: server.logged("server.draining"), "a server that drains")
                assert not answer.done()
            assert answer.result().status_code == 201
        assert server.wait_exit() == 0
        balances = DatabaseReader.at_rest(data_dir).fetch("SELECT balance FROM wallets WHERE id = $1", fan)
        assert balances[0]["balance"] == 6
