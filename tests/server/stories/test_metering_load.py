"""Many calls at once, and sweeps all the while: every block is in the ledger once."""

from pathlib import Path

import pytest

from tests.support.books import Books
from tests.support.client_pool import Crowd, party
from tests.support.clients import SECRET
from tests.support.cron import Cron
from tests.support.server_fixture import Town, town_on

RATE = 60  # a token a block
SWEEPS_AT_ONCE = 4


def test_fifteen_calls_are_charged_once_under_a_storm_of_sweeps(town: Town, dsn: str) -> None:
    _sweep_over_calls(town, Books(dsn), calls=15, blocks=3, block_seconds=1)


@pytest.mark.long
def test_three_hundred_calls_are_charged_once_under_a_storm_of_sweeps(dsn: str, tmp_path: Path) -> None:
    with town_on(dsn, tmp_path, HALFMINUTE_CALLS_BLOCK_SECONDS="5") as town:
        _sweep_over_calls(town, Books(dsn), calls=300, blocks=8, block_seconds=5)


def _sweep_over_calls(town: Town, books: Books, *, calls: int, blocks: int, block_seconds: float) -> None:
    people = books.add_pairs(calls, tokens=10_000, rate_tokens_per_min=RATE)
    with Crowd(town.server, [(party(fan, SECRET), party(creator, SECRET)) for fan, creator in people]) as crowd:
        crowd.ring()
        with Cron(town, SWEEPS_AT_ONCE) as cron:
            for _ in range(blocks):
                crowd.wait_more_blocks()
        booked = {call_id: call.blocks for call_id, call in books.calls().items()}
    assert {pair.call_id for pair in crowd.pairs} == booked.keys()
    for numbers in booked.values():
        assert numbers == list(range(1, len(numbers) + 1)), "each once, and none left out"
        assert len(numbers) > blocks
    print(f"{len(cron.answers)} sweeps over {calls} calls, {cron.metered()} blocks booked because of one")
    assert max(len(answer["results"]) for answer in cron.answers) == calls
    assert all(answer["failed"] == answer["ended"] == 0 for answer in cron.answers)
    assert cron.metered() <= sum(map(len, booked.values()))
    town.check_books()
    _check_that_none_is_early(books, block_seconds)


def _check_that_none_is_early(books: Books, block_seconds: float) -> None:
    """Block n is booked n-1 blocks after the first, which may itself have come a little late."""
    booked_at = books.booked_at()
    for (call_id, block_no), (at,) in booked_at.items():
        first = booked_at[call_id, 1][0]
        assert at - first > (block_no - 2) * block_seconds
