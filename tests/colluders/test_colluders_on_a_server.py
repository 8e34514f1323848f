"""Colluding users on a running server: balances equal the events of their owners, and the audit finds no error."""

from functools import partial

import pytest
import trio
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.colluders.colluder import Cash, Step
from tests.colluders.on_a_server import STEPS, colluding_shop, play

CHEATS = ["refund_what_is_gone", "cash_a_gift", "ask_payout", "settle"]
CALLS = ["ring", "wait_for_a_block", "wait_for_a_block", "leave_and_return"]
OFTEN = [*CHEATS, *CALLS, "tip", "stream", "watch"]
steps = st.builds(Step, st.sampled_from([*STEPS, *OFTEN]), st.integers(0, 3), st.integers(0, 3), st.integers(1, 120))
# Tokens that were refunded and passed on, refunded and asked for as a payout, and given to be cashed.
KNOWN_CHEATS = [
    Step("refund_what_is_gone", 0, 1, 60),
    Step("refund_what_is_gone", 0, 1, 61),
    Step("cash_a_gift", 0, 1, 60),
]
LONG = 200  # histories, new ones each time; fewer are the same each time
histories = st.lists(steps, min_size=8, max_size=20)


@pytest.mark.parametrize("count", [10, pytest.param(LONG, marks=pytest.mark.long, id="200")])
async def test_every_wallet_of_colluders_on_a_server_has_the_balance_its_owner_was_sent(dsn: str, count: int) -> None:
    cash = Cash()
    async with colluding_shop(dsn) as shop:

        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            derandomize=count < LONG,
            phases=[Phase.explicit, Phase.generate],  # failures that depend on a real server's time cannot be shrunk
            suppress_health_check=list(HealthCheck),
        )
        @example(users=3, history=KNOWN_CHEATS)
        @given(users=st.integers(2, 4), history=histories)
        def play_all(users: int, history: list[Step]) -> None:
            trio.from_thread.run(partial(play, shop, cash, users, history))

        await trio.to_thread.run_sync(play_all)
        await shop.check_ledger()
