"""Many calls at once, and sweeps all the while: every block is in the ledger once."""

from pathlib import Path

import pytest

from tests.support.client_pool import ClientPool, party
from tests.support.clients import SECRET
from tests.support.cron import Cron
from tests.support.database_reader import DatabaseReader
from tests.support.live_server import LiveServer, live_server_on

RATE = 60  # a token a block
SWEEPS_AT_ONCE = 4


def test_fifteen_calls_are_charged_once_under_a_storm_of_sweeps(live_server: LiveServer, dsn: str) -> None:
    _sweep_over_calls(live_server, DatabaseReader(dsn), calls=15, blocks=3, block_seconds=1)


@pytest.mark.long
def test_three_hundred_calls_are_charged_once_under_a_storm_of_sweeps(dsn: str, tmp_path: Path) -> None:
    with live_server_on(dsn, tmp_path, HALFMINUTE_CALLS_BLOCK_SECONDS="5") as live_server:
        _sweep_over_calls(live_server, DatabaseReader(dsn), calls=300, blocks=8, block_seconds=5)


def _sweep_over_calls(
    live_server: LiveServer, database: DatabaseReader, *, calls: int, blocks: int, block_seconds: float
) -> None:
    users = database.add_pairs(calls, tokens=10_000, rate_tokens_per_min=RATE)
    with ClientPool(
        live_server.server, [(party(fan, SECRET), party(creator, SECRET)) for fan, creator in users]
    ) as pool:
        pool.ring()
        with Cron(live_server, SWEEPS_AT_ONCE) as cron:
            for _ in range(blocks):
                pool.wait_more_blocks()
        booked = {call_id: call.blocks for call_id, call in database.calls().items()}
    assert {pair.call_id for pair in pool.pairs} == booked.keys()
    for numbers in booked.values():
        assert numbers == list(range(1, len(numbers) + 1)), "each once, and none left out"
        assert len(numbers) > blocks
    print(f"{len(cron.answers)} sweeps over {calls} calls, {cron.metered()} blocks booked because of one")
    assert max(len(answer["results"]) for answer in cron.answers) == calls
    assert all(answer["failed"] == answer["ended"] == 0 for answer in cron.answers)
    assert cron.metered() <= sum(map(len, booked.values()))
    live_server.check_ledger()
    _check_that_none_is_early(database, block_seconds)


def _check_that_none_is_early(database: DatabaseReader, block_seconds: float) -> None:
    """Block n is booked n-1 blocks after the first, which may itself have come a little late."""
    posted_at = database.posted_at()
    for (call_id, block_no), (at,) in posted_at.items():
        first = posted_at[call_id, 1][0]
        assert at - first > (block_no - 2) * block_seconds
