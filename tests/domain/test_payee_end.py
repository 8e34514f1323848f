"""Which blocks are given back when the payee ends: those of which less than `payee_end_seconds` were used."""

import pytest

from domain.block import BlockPrice
from domain.instant import duration
from domain.payee_end import blocks_given_back


@pytest.mark.parametrize(
    ("block_seconds", "posted", "active", "given_back"),
    [
        (30, 0, 0, []),
        (30, 1, 0, [1]),
        (30, 1, 9.999999, [1]),
        (30, 1, 10, []),
        (30, 3, 60.005, [3]),
        (30, 3, 70, []),
        (30, 3, 90, []),
        (30, 3, 58, [3]),  # the clock was set back behind the due time: nothing of it was used
        (30, 3, 30.5, [2, 3]),
        (30, 2, 0, [1, 2]),
        (7, 2, 13.9, [2]),  # a block shorter than the limit is kept once it is used up
        (7, 2, 14, []),
        (7, 3, 8, [2, 3]),
    ],
)
def test_a_block_is_given_back_if_little_of_it_was_used(
    block_seconds: int, posted: int, active: float, given_back: list[int]
) -> None:
    price = BlockPrice(60, block_seconds)
    assert list(blocks_given_back(price, posted, duration(active), duration(10))) == given_back


def test_a_limit_of_nothing_gives_nothing_back() -> None:
    assert list(blocks_given_back(BlockPrice(60, 30), 2, duration(30), 0)) == []
