"""The blocks that are refunded when the payee ends: those of which less than `payee_end_seconds` were used."""

import pytest

from domain.billing.block import BlockPrice
from domain.billing.meter import Funds, Meter, SetBack
from domain.billing.payee_end import blocks_given_back
from domain.ids import RoomId, UserId
from domain.instant import duration
from tests.domain.test_meter import PAYEE, PAYER, ROOM, SECOND, a_meter

LONG = BlockPrice(60, 30)


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


@pytest.mark.parametrize(
    ("posted", "active", "given_back"), [(2, 30, []), (2, 29.9, [2]), (3, 29.9, [2, 3]), (1, 0, [])]
)
def test_a_block_that_fell_due_in_the_payees_absence_is_refunded_at_any_end(
    posted: int, active: float, given_back: list[int]
) -> None:
    assert list(blocks_given_back(LONG, posted, duration(active), 0)) == given_back


def test_time_in_which_the_payee_was_away_is_taken_back_and_the_paid_block_is_kept() -> None:
    meter = a_meter()
    meter.clock.start(100 * SECOND)
    meter.post_next(100 * SECOND)
    meter.post_next(130 * SECOND)
    meter.payee_was_away(128 * SECOND, 138 * SECOND)
    assert meter.clock.active(138 * SECOND) == 28 * SECOND
    assert meter.set_back == SetBack(1, 2)
    meter.clock.start(200 * SECOND)
    assert meter.due_at() == 232 * SECOND


def test_a_payee_who_was_away_while_the_clock_stood_costs_nobody_anything() -> None:
    meter = a_meter()
    meter.clock.start(100 * SECOND)
    meter.clock.stop(105 * SECOND)
    meter.payee_was_away(106 * SECOND, 116 * SECOND)
    assert meter.clock.active(116 * SECOND) == 5 * SECOND
    assert meter.set_back == SetBack()


def test_time_that_was_set_back_survives_a_restart() -> None:
    def restarted(committed: int, set_back: SetBack) -> int:
        meter = Meter(
            room_id=RoomId(ROOM),
            payer=UserId(PAYER),
            payee=UserId(PAYEE),
            price=LONG,
            epoch=5,
            funds=Funds(0, 1),
            committed=committed,
            active=28 * SECOND,
            set_back=set_back,
        )
        return meter.clock.active(0)

    assert restarted(2, SetBack(1, 2)) == 28 * SECOND
    assert restarted(2, SetBack()) == 30 * SECOND, "a time before the start of a paid block is out of date"
    assert restarted(3, SetBack(1, 2)) == 60 * SECOND, "a block that was charged later proves more"
