"""Block prices and the clock that counts active time."""

from hypothesis import given
from hypothesis import strategies as st

from domain.billing.block import ActiveClock, BlockPrice, Rounding

SECOND = 1_000_000

prices = st.builds(
    BlockPrice,
    rate_tokens_per_min=st.integers(1, 500),
    block_seconds=st.integers(1, 90),
    rounding=st.sampled_from(["up", "exact"]),
)


def block_prices(rate: int, rounding: Rounding, blocks: int, block_seconds: int = 30) -> list[int]:
    price = BlockPrice(rate, block_seconds, rounding)
    return [price.tokens(block_no) for block_no in range(1, blocks + 1)]


def test_a_block_rounded_up_costs_half_the_rate_or_the_half_token_above_it() -> None:
    assert block_prices(60, "up", 3) == [30, 30, 30]
    assert block_prices(61, "up", 3) == [31, 31, 31]
    assert block_prices(1, "up", 3) == [1, 1, 1]


def test_exact_blocks_of_an_odd_rate_alternate_and_make_the_rate_every_minute() -> None:
    assert block_prices(61, "exact", 4) == [31, 30, 31, 30]


def test_an_exact_block_may_be_free_when_the_minute_is_paid_already() -> None:
    assert block_prices(1, "exact", 4) == [1, 0, 1, 0]


def test_blocks_of_other_lengths_cost_their_share_of_a_minute() -> None:
    assert block_prices(60, "up", 2, block_seconds=10) == [10, 10]
    assert block_prices(10, "exact", 6, block_seconds=10) == [2, 2, 1, 2, 2, 1]


@given(prices, st.integers(1, 200))
def test_exact_blocks_never_cost_more_than_the_rate_for_their_time_rounded_up_once(price: BlockPrice, n: int) -> None:
    exact = BlockPrice(price.rate_tokens_per_min, price.block_seconds, "exact")
    total = sum(exact.tokens(block_no) for block_no in range(1, n + 1))
    fraction = price.rate_tokens_per_min * price.block_seconds * n / 60
    assert fraction <= total < fraction + 1


@given(prices, st.integers(1, 10_000))
def test_no_block_costs_more_than_rounded_up_and_none_costs_less_than_nothing(price: BlockPrice, n: int) -> None:
    up = BlockPrice(price.rate_tokens_per_min, price.block_seconds, "up")
    assert 0 <= price.tokens(n) <= up.tokens(n)


@given(prices, st.integers(-10, 3000), st.integers(0, 40))
def test_affordable_blocks_are_those_that_buying_one_after_the_other_would_buy(
    price: BlockPrice, balance: int, after_block: int
) -> None:
    left, bought = balance, 0
    while left >= price.tokens(after_block + bought + 1) and left >= 0:
        left -= price.tokens(after_block + bought + 1)
        bought += 1
    assert price.affordable(balance, after_block) == bought


def test_a_clock_that_was_never_started_stands_at_nothing() -> None:
    clock = ActiveClock()
    assert not clock.running
    assert clock.active(5 * SECOND) == 0
    assert clock.reaches(0) is None


def test_a_running_clock_counts_from_its_start() -> None:
    clock = ActiveClock()
    clock.start(100)
    assert clock.running
    assert clock.active(130) == 30


def test_a_stopped_clock_keeps_its_count_and_goes_on_from_it() -> None:
    clock = ActiveClock()
    clock.start(100)
    clock.stop(130)
    assert clock.active(999) == 30
    clock.start(1000)
    assert clock.active(1005) == 35


def test_starting_twice_or_stopping_twice_changes_nothing() -> None:
    clock = ActiveClock()
    clock.start(100)
    clock.start(120)
    clock.stop(130)
    clock.stop(150)
    assert clock.active(200) == 30


def test_a_clock_says_when_it_will_reach_a_count_and_nothing_while_it_stands() -> None:
    clock = ActiveClock(counted=10)
    assert clock.reaches(40) is None
    clock.start(100)
    assert clock.reaches(40) == 130
    clock.stop(110)
    assert clock.reaches(40) is None


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), max_size=20))
def test_a_clock_counts_exactly_the_spans_in_which_it_ran(spans: list[tuple[int, int]]) -> None:
    clock, now = ActiveClock(), 0
    for names_of_holds, running in spans:
        now += names_of_holds
        clock.start(now)
        now += running
        clock.stop(now)
    assert clock.active(now + 5) == sum(running for _, running in spans)


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=20),
    st.integers(0, 40_000),
    st.booleans(),
)
def test_a_clock_that_is_set_back_has_counted_nothing_since_then(
    spans: list[tuple[int, int]], since: int, still_runs: bool
) -> None:
    clock, now, ran = ActiveClock(), 0, list[range]()
    for names_of_holds, running in spans:
        now += names_of_holds
        clock.start(now)
        ran.append(range(now, now + running))
        now += running
        if not still_runs or len(ran) < len(spans):
            clock.stop(now)
    since = min(since, now)
    kept = sum(max(0, min(run.stop, since) - run.start) for run in ran)
    assert clock.stop_as_of(since, now) == sum(map(len, ran)) - kept
    assert not clock.running
    assert clock.active(now + 5) == kept
    clock.start(now + 10)
    clock.stop(now + 13)
    assert clock.stop_as_of(since, now + 20) == 3, "what was taken back is not taken twice"
    assert clock.active(now + 20) == kept
