"""The bench still works: one small run of it, and the failures that it must report."""

import msgspec
import pytest

from tests.bench.rest.mixed.clients import KINDS
from tests.bench.rest.mixed.result import Result
from tests.bench.rest.mixed.run import run


@pytest.fixture(scope="module")
def result() -> Result:
    return run(seconds=1, connections=8)


def test_a_small_run_is_answered_and_booked_without_an_error(result: Result) -> None:
    assert result.sound
    assert result.tips_answered == result.tips_booked == result.ms["tip"].count > 0
    assert {*result.ms} == {"all", *KINDS}
    assert result.ms["all"].count == sum(result.ms[kind].count for kind in KINDS)
    assert result.server_us > 0 and result.client_cpu_percent > 0


def test_an_error_or_a_tip_that_is_not_in_the_ledger_is_not_passed_over(result: Result) -> None:
    assert not msgspec.structs.replace(result, errors={"tip 503": 1}).sound
    assert not msgspec.structs.replace(result, tips_booked=result.tips_booked + 1).sound
    assert not msgspec.structs.replace(result, audit_holds=False).sound
