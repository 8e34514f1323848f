"""Every requirement in the table of the contract has a test, and pytest collects it."""

import pytest

from tests.support.requirements import NAMED_TEST, ROOT, not_collected, rows, shown_by

TABLE = ROOT / "tests" / "contract.md"


@pytest.mark.parametrize("row", rows(TABLE), ids=lambda row: row[0])
def test_each_requirement_has_tests_that_are_collected(row: list[str]) -> None:
    assert len(row) == 2
    assert shown_by(row)
    assert [test for test in shown_by(row) if not NAMED_TEST.fullmatch(test)] == []
    assert not_collected(row) == []


def test_a_test_that_is_only_a_functions_name_is_not_taken_for_one() -> None:
    """One that is deselected, in no file that is collected, or nowhere at all."""
    deselected = "server/faults/test_kill.py::test_ten_kills_under_fifty_calls_lose_nothing_and_double_nothing"
    helper = "support/requirements.py::test_s"
    missing = "server/faults/test_kill.py::test_that_nobody_wrote"
    wanted = [deselected, helper, missing]
    assert not_collected(["something", "<br>".join(f"`{test}`" for test in wanted)]) == wanted
