"""One payer's blocks: what is due, what was sent to the ledger, and what was booked."""

from uuid import UUID

import pytest

from domain.billing.block import BlockPrice, Rounding
from domain.billing.meter import Funds, Meter
from domain.billing.posting import Kind, Outcome, Posting, Receipt
from domain.ids import RoomId, UserId, block_key
from domain.instant import duration

ROOM, PAYER, PAYEE = RoomId(UUID(int=1)), UserId(UUID(int=2)), UserId(UUID(int=3))
SECOND = 1_000_000


def a_meter(
    *,
    rate: int = 60,
    rounding: Rounding = "up",
    balance: int = 100,
    committed: int = 0,
    tokens: int = 0,
    active: float = 0,
) -> Meter:
    return Meter(
        room_id=ROOM,
        payer=PAYER,
        payee=PAYEE,
        price=BlockPrice(rate, 30, rounding),
        epoch=4,
        funds=Funds(balance, 1),
        committed=committed,
        tokens=tokens,
        active=duration(active),
    )


def paid(posting: Posting, balance: int, n: int, outcome: Outcome = Outcome.COMMITTED) -> Receipt:
    return Receipt(posting, outcome, debit_after=balance, credit_after=0, debit_n=n, credit_n=1)


def test_nothing_is_due_before_the_clock_runs() -> None:
    assert a_meter().due_at() is None


def test_block_one_is_due_at_the_start_and_each_next_thirty_seconds_on() -> None:
    meter = a_meter()
    meter.clock.start(100 * SECOND)
    assert meter.due_at() == 100 * SECOND
    meter.post_next(100 * SECOND)
    assert meter.due_at() == 130 * SECOND
    meter.post_next(131 * SECOND)  # late: the one after it is not
    assert meter.due_at() == 160 * SECOND


def test_a_block_is_posted_under_its_own_key_with_the_epoch_of_the_room() -> None:
    assert a_meter().post_next(0) == Posting(
        key=block_key(ROOM, PAYER, 1),
        kind=Kind.BLOCK,
        debit=PAYER,
        credit=PAYEE,
        tokens=30,
        room_id=ROOM,
        epoch=4,
        block_no=1,
    )


def test_a_block_counts_when_its_receipt_is_in_and_not_before() -> None:
    meter = a_meter()
    posting = meter.post_next(0)
    assert (meter.posted, meter.committed, meter.tokens) == (1, 0, 0)
    meter.settle(paid(posting, 70, 2))
    assert (meter.posted, meter.committed, meter.tokens) == (1, 1, 30)
    assert meter.funds == Funds(70, 2)


def test_a_block_that_was_booked_before_has_the_balance_too() -> None:
    meter = a_meter()
    meter.settle(paid(meter.post_next(0), 70, 2, Outcome.ALREADY))
    assert meter.funds == Funds(70, 2)


def test_an_old_receipt_of_a_booked_block_does_not_undo_a_newer_balance() -> None:
    meter = a_meter()
    posting = meter.post_next(0)
    meter.update_funds(Funds(500, 9))
    meter.settle(paid(posting, 70, 2, Outcome.ALREADY))
    assert meter.funds == Funds(500, 9)


def test_a_refused_block_does_not_count() -> None:
    meter = a_meter()
    meter.settle(Receipt(meter.post_next(0), Outcome.INSUFFICIENT, debit_after=3, debit_n=1))
    assert (meter.committed, meter.tokens) == (0, 0)


def test_tokens_of_an_unbooked_posting_count_as_spent() -> None:
    meter = a_meter(balance=50)
    meter.post_next(0)
    assert meter.spendable == 20
    assert meter.cannot_pay_next
    assert meter.promised_tokens == 60


def test_the_oldest_block_that_waits_says_since_when() -> None:
    meter = a_meter()
    assert meter.waiting_since is None
    first = meter.post_next(5)
    meter.post_next(35)
    assert meter.waiting_since == 5
    meter.settle(paid(first, 70, 2))
    assert meter.waiting_since == 35


def test_the_newer_balance_wins_in_any_order_of_arrival() -> None:
    meter = a_meter()
    meter.update_funds(Funds(500, 7))
    meter.update_funds(Funds(100, 6))
    assert meter.funds == Funds(500, 7)


def test_a_receipt_for_another_block_is_a_bug() -> None:
    meter = a_meter()
    meter.post_next(0)
    second = meter.post_next(30 * SECOND)
    with pytest.raises(AssertionError, match="in the order"):
        meter.settle(paid(second, 0, 1))


def test_a_receipt_for_nothing_is_a_bug() -> None:
    meter = a_meter()
    posting = meter.post_next(0)
    meter.settle(paid(posting, 70, 2))
    with pytest.raises((AssertionError, IndexError)):
        meter.settle(paid(posting, 70, 2))


def test_a_restored_meter_continues_within_its_last_paid_block() -> None:
    meter = a_meter(committed=2, tokens=60, active=42)
    meter.clock.start(100 * SECOND)
    assert meter.due_at() == 118 * SECOND


def test_a_stored_time_older_than_the_last_block_counts_as_the_start_of_that_block() -> None:
    meter = a_meter(committed=3, tokens=90, active=42)
    meter.clock.start(100 * SECOND)
    assert meter.due_at() == 130 * SECOND


def test_time_beyond_the_last_paid_block_is_dropped_when_a_meter_is_taken_up() -> None:
    meter = a_meter(committed=1, tokens=30, active=75)
    meter.clock.start(100 * SECOND)
    assert meter.due_at() == 100 * SECOND
    assert meter.billed_active(100 * SECOND) == 30 * SECOND


def test_active_time_is_billed_only_as_far_as_blocks_are_committed() -> None:
    meter = a_meter()
    meter.clock.start(0)
    posting = meter.post_next(0)
    assert meter.billed_active(10 * SECOND) == 0
    meter.settle(paid(posting, 70, 2))
    assert meter.billed_active(10 * SECOND) == 10 * SECOND
    assert meter.billed_active(45 * SECOND) == 30 * SECOND
    assert meter.paid_through() == 30 * SECOND


def test_the_time_left_is_the_rest_of_the_block_and_the_blocks_the_balance_buys() -> None:
    meter = a_meter(balance=100)
    meter.clock.start(0)
    meter.settle(paid(meter.post_next(0), 70, 2))
    assert meter.left(10 * SECOND) == 20 * SECOND + 2 * 30 * SECOND
    meter.clock.stop(10 * SECOND)
    assert meter.left(500 * SECOND) == 80 * SECOND


def test_a_budget_shortens_what_is_left() -> None:
    meter = a_meter(balance=1000)
    meter.clock.start(0)
    meter.settle(paid(meter.post_next(0), 970, 2))
    assert meter.left(0, budget=89) == 60 * SECOND
    assert meter.left(0, budget=30) == 30 * SECOND


def test_exact_prices_follow_the_number_of_the_block() -> None:
    meter = a_meter(rate=61, rounding="exact")
    assert [meter.post_next(0).tokens for _ in range(4)] == [31, 30, 31, 30]
