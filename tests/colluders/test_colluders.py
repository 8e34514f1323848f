"""However users collude, and in whatever order events occur, nobody is cheated, and no token or cent is created."""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.colluders.machine import Colluders


def test_colluders_create_no_token_and_every_bill_is_true() -> None:
    """The histories are the same each time; the long run finds new ones."""
    run_state_machine_as_test(Colluders, settings=settings(max_examples=250, stateful_step_count=30, derandomize=True))


@pytest.mark.long
def test_every_bill_is_true_in_3000_histories_of_colluders() -> None:
    run_state_machine_as_test(Colluders, settings=settings(max_examples=3_000, stateful_step_count=50))
