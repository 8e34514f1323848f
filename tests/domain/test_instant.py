"""Conversions of moments and spans between the rules, clients and the database."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from domain.instant import as_datetime, duration, from_datetime, next_day, rfc3339, seconds

instants = st.integers(0, 4_102_444_800_000_000)  # until 2100


def test_a_moment_is_written_in_utc_with_milliseconds() -> None:
    assert rfc3339(1_800_000_000_000_000) == "2027-01-15T08:00:00.000Z"
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"


def test_a_day_is_over_at_midnight_in_utc() -> None:
    assert rfc3339(next_day(1_800_000_000_000_000)) == "2027-01-16T00:00:00.000Z"
    assert rfc3339(next_day(next_day(1_800_000_000_000_000))) == "2027-01-17T00:00:00.000Z"


def test_milliseconds_are_cut_and_never_rounded_into_the_future() -> None:
    assert rfc3339(1_800_000_000_999_999) == "2027-01-15T08:00:00.999Z"
    assert rfc3339(1_800_000_000_001_000) == "2027-01-15T08:00:00.001Z"


@given(instants)
def test_a_written_moment_reads_back_to_its_millisecond(at: int) -> None:
    assert from_datetime(datetime.fromisoformat(rfc3339(at))) == at // 1000 * 1000


@given(instants)
def test_a_stored_moment_comes_back_to_the_microsecond(at: int) -> None:
    assert from_datetime(as_datetime(at)) == at


def test_a_moment_from_another_time_zone_is_the_same_moment() -> None:
    there = datetime(2027, 1, 15, 10, 0, tzinfo=timezone(timedelta(hours=2)))
    assert from_datetime(there) == from_datetime(datetime(2027, 1, 15, 8, 0, tzinfo=UTC)) == 1_800_000_000_000_000


def test_spans_are_sent_in_seconds_and_are_never_negative() -> None:
    assert duration(0.25) == 250_000
    assert seconds(12_345_678) == 12.345
    assert seconds(-5) == 0
