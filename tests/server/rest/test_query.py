"""Query strings, idempotency keys and request ids, as plain values."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest

from domain.refusals import Code
from server.rest.query import Paging, PeriodPaging, decode_query, find_unknown_parameter, next_link
from server.rest.request import read_key, request_id
from server.rest.strict_json import InvalidRequest


def errors_of(given: Mapping[str, Sequence[str]]) -> list[str]:
    with pytest.raises(InvalidRequest) as misfit:
        decode_query(given, PeriodPaging)
    return [error.field for error in misfit.value.errors]


def test_a_query_without_parameters_has_the_defaults() -> None:
    assert decode_query({}, Paging) == Paging(limit=20, offset=0, before=None)


def test_the_first_unknown_parameter_is_named_with_those_that_there_are() -> None:
    assert find_unknown_parameter({"limit": ["7"]}, Paging) is None
    unknown = find_unknown_parameter({"limit": ["7"], "form": ["x"], "until": ["y"]}, Paging)
    assert unknown is not None and unknown.code is Code.UNKNOWN_PARAMETER
    assert unknown.details == {"parameter": "form", "parameters": ["limit", "offset", "before"]}
    assert unknown.message == "This route has no query parameter form; it takes limit, offset, before"
    long = find_unknown_parameter(["x" * 5000], None)
    assert long is not None and long.details == {"parameter": "x" * 200, "parameters": []}


def test_given_parameters_are_read() -> None:
    given = {"limit": ["7"], "offset": ["3"], "from": ["2026-01-02T03:04:05+02:00"]}
    query = decode_query(given, PeriodPaging)
    assert (query.limit, query.offset) == (7, 3)
    assert query.since == datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "-1"),
        ("limit", "5.0"),
        ("limit", "+5"),
        ("limit", " 5"),
        ("limit", "٥"),
        ("limit", ""),
        ("limit", "9" * 5000),
        ("offset", "10001"),
        ("before", "x" * 65),
        ("before", "a\0b"),
        ("from", "yesterday"),
        ("from", "2026-01-01"),
        ("from", "2026-01-01T00:00:00"),
        ("from", "1767225600"),
        ("from", "0001-01-01T00:00:00+14:00"),
        ("to", "2026-13-01T00:00:00Z"),
    ],
)
def test_a_bad_parameter_is_named(name: str, value: str) -> None:
    assert errors_of({name: [value]}) == [name]


@pytest.mark.parametrize("value", ["yesterday", "2026-01-01", "2026-01-01T00:00:00"])
def test_a_date_without_time_or_zone_is_answered_with_an_example(value: str) -> None:
    with pytest.raises(InvalidRequest) as misfit:
        decode_query({"from": [value]}, PeriodPaging)
    reason = "is no RFC 3339 time with a zone, such as 2026-11-29T18:00:00Z"
    assert misfit.value.errors == (("from", reason),)


def test_all_bad_parameters_are_named_at_once() -> None:
    assert errors_of({"limit": ["x"], "from": ["y"]}) == ["limit", "from"]


def test_a_parameter_that_is_given_twice_is_refused() -> None:
    assert errors_of({"limit": ["1", "2"]}) == ["limit"]


def test_the_next_link_keeps_the_filter_and_puts_the_cursor_in_place_of_the_offset() -> None:
    given = {"kind": ["tip"], "offset": ["20"], "before": ["old"], "limit": ["20"]}
    assert next_link("/api/wallet/ledger", given, "before", "a b&c") == (
        '</api/wallet/ledger?kind=tip&limit=20&before=a+b%26c>; rel="next"'
    )


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (None, None),
        ("abc", "abc"),
        ('"abc"', "abc"),
        (' "abc" ', "abc"),
        (r'"a\"b\\c"', r"a\"b\c".replace(r"\"", '"')),
        ("a b", "a b"),
        ("x" * 255, "x" * 255),
        (f'"{"x" * 255}"', "x" * 255),
    ],
)
def test_a_key_is_the_same_bare_and_quoted(header: str | None, key: str | None) -> None:
    assert read_key(header) == key


@pytest.mark.parametrize("header", ["", '""', "x" * 256, '"abc', '"a"b"', r'"a\b"', "é", "a\tb"])
def test_a_key_that_is_empty_long_or_not_printable_is_refused(header: str) -> None:
    with pytest.raises(InvalidRequest) as misfit:
        read_key(header)
    assert [error.field for error in misfit.value.errors] == ["Idempotency-Key"]


def test_the_request_id_is_the_callers_trace() -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    assert request_id(f"00-{trace}-00f067aa0ba902b7-01") == trace
    assert request_id(f"cc-{trace}-00f067aa0ba902b7-01-what-comes-later") == trace


@pytest.mark.parametrize(
    "traceparent",
    [
        None,
        "",
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "<script>",
    ],
)
def test_without_a_sound_trace_the_request_id_is_our_own(traceparent: str | None) -> None:
    made = request_id(traceparent)
    assert len(made) == 32
    assert made != request_id(traceparent)
