"""Invalid JSON bodies, each refused by name."""

from functools import partial
from typing import Annotated

import msgspec
import pytest

from server.broadcast.value_faults import MAX_DEPTH
from server.problems import problem
from server.rest.responses import invalid
from server.rest.strict_json import FieldError, InvalidRequest, decode_body, require_json
from tests.support.processor import least_seconds


class Inner(msgspec.Struct, frozen=True, rename="camel"):
    stream_id: int


class Order(msgspec.Struct, frozen=True, rename="camel"):
    token_count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
    message: str | None = None
    context: Inner | None = None


FACE = "\U0001f600"


def errors_of(raw: bytes) -> list[FieldError]:
    with pytest.raises(InvalidRequest) as misfit:
        decode_body(raw, Order)
    return list(misfit.value.errors)


def test_a_valid_body_becomes_its_struct() -> None:
    raw = b'{"tokenCount": 5, "message": "hi \\u00e9", "context": {"streamId": 7}, "unknown": [1.5, null]}'
    assert decode_body(raw, Order) == Order(5, "hi é", Inner(7))


@pytest.mark.parametrize(
    "value", ['"5"', "5.0", "5e0", "5e3", "true", "null", "[5]", "0", "-1", "1000000001"], ids=lambda value: value
)
def test_only_a_whole_number_in_range_is_an_integer(value: str) -> None:
    assert [error.field for error in errors_of(f'{{"tokenCount": {value}}}'.encode())] == ["tokenCount"]


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b'{"tokenCount": 5, "tokenCount": 6}', FieldError("tokenCount", "is given twice")),
        (b'{"tokenCount": 5, "x": {"y": 1, "y": 1}}', FieldError("y", "is given twice")),
        (b'{"tokenCount": 5, "message": "a\\u0000b"}', FieldError("message", "must not contain the character U+0000")),
        (b'{"tokenCount": 5, "a\\u0000": 1}', FieldError("body", "must not contain the character U+0000")),
        (b'{"tokenCount": 5, "message": "\\ud800"}', FieldError("message", "contains half a surrogate pair")),
        (b'{"tokenCount": 9223372036854775808}', FieldError("tokenCount", "is an integer past 64 bits")),
        (b'{"tokenCount": -9223372036854775809}', FieldError("tokenCount", "is an integer past 64 bits")),
        (b'{"tokenCount": 1, "x": [{"y": 18446744073709551616}]}', FieldError("x[0].y", "is an integer past 64 bits")),
        (b'{"tokenCount": NaN}', FieldError("body", "NaN is no JSON number")),
        (b'{"tokenCount": -Infinity}', FieldError("body", "-Infinity is no JSON number")),
        (b"{}", FieldError("tokenCount", "is required")),
        (b"[]", FieldError("body", "must be a JSON object")),
        (b"5", FieldError("body", "must be a JSON object")),
        (b"", FieldError("body", "is not JSON in UTF-8")),
        (b'{"tokenCount": 5', FieldError("body", "is not JSON in UTF-8")),
        (b'{"tokenCount": 5} {}', FieldError("body", "is not JSON in UTF-8")),
        (b'{"tokenCount": 05}', FieldError("body", "is not JSON in UTF-8")),
        (b'{"message": "\xff"}', FieldError("body", "is not JSON in UTF-8")),
        ('{"tokenCount": 5}'.encode("utf-16"), FieldError("body", "is not JSON in UTF-8")),
        (b"\xef\xbb\xbf{}", FieldError("body", "is not JSON in UTF-8")),
        (
            b'{"tokenCount": 5, "context": {"streamId": "7"}}',
            FieldError("context.streamId", "Expected `int`, got `str`"),
        ),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_invalid_value_is_named(raw: bytes, error: FieldError) -> None:
    assert errors_of(raw) == [error]


def test_every_invalid_field_is_listed() -> None:
    fields = [error.field for error in errors_of(b'{"tokenCount": "5", "message": 5, "context": []}')]
    assert fields == ["tokenCount", "message", "context"]


@pytest.mark.parametrize("depth", [MAX_DEPTH, 500, 900, 5000, 30_000])
@pytest.mark.parametrize(("opens", "closes"), [(b"[", b"]"), (b'{"x":', b"}")], ids=["lists", "objects"])
def test_deep_nesting_is_refused_at_any_depth(depth: int, opens: bytes, closes: bytes) -> None:
    (error,) = errors_of(b'{"tokenCount": 5, "x": ' + opens * depth + b"1" + closes * depth + b"}")
    assert error.field == "body"
    assert error.reason in (f"is nested more than {MAX_DEPTH} deep", "is not JSON in UTF-8")


def test_less_deep_nesting_is_read() -> None:
    nest = b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1)
    assert decode_body(b'{"tokenCount": 5, "x": ' + nest + b"}", Order).token_count == 5


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json", " ", ";"],
)
def test_a_body_with_another_content_type_is_refused(content_type: str) -> None:
    with pytest.raises(InvalidRequest) as misfit:
        require_json(content_type)
    assert misfit.value.errors == (FieldError("Content-Type", "must be application/json"),)


@pytest.mark.parametrize(
    "content_type",
    [None, "application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"],
)
def test_json_may_be_declared_by_its_content_types_or_not_at_all(content_type: str | None) -> None:
    require_json(content_type)


def test_a_deep_nest_and_a_long_number_are_refused_without_harm() -> None:
    assert errors_of(b"[" * 60_000) == [FieldError("body", "is not JSON in UTF-8")]
    assert errors_of(b'{"tokenCount": ' + b"9" * 60_000 + b"}") == [
        FieldError("tokenCount", "is an integer past 64 bits")
    ]


def test_a_duplicate_key_among_thousands_is_found_in_linear_time() -> None:
    keys = ",".join(f'"key{i:05}":1' for i in range(4_600))
    raw = f'{{"tokenCount":5,{keys},"key04599":1}}'.encode()
    assert errors_of(raw) == [FieldError("key04599", "is given twice")]
    assert least_seconds(partial(errors_of, raw)) < 0.02


@pytest.mark.parametrize(
    "raw",
    [
        b'{"' + b"x" * 30_000 + b'": [' + b"12345678901234567890," * 1_600 + b"1]}",
        b"{" + b",".join(b'"' + bytes([0x61 + i]) * 500 + b'":' + b"9" * 30 for i in range(26)) + b"}",
        b"{" + b",".join(b'"%d\\u0001\\u0002\\u0003%b":"\\ud800"' % (i, b"\\u0001" * 300) for i in range(30)) + b"}",
        ("{" + ",".join(f'"{i}{FACE * 250}":1e999' for i in range(40)) + "}").encode(),
        b'{"a":[' + b",".join([b'{"b":1,"b":2}'] * 4_000) + b"]}",
        b'{"tokenCount": "' + b"x" * 60_000 + b'"}',
    ],
    ids=lambda raw: repr(raw[:12]),
)
def test_a_body_with_thousands_of_faults_is_answered_with_twenty_at_most_in_8_kib(raw: bytes) -> None:
    errors = errors_of(raw)
    assert 1 <= len(errors) <= 20
    assert all(len(error.field) <= 200 and len(error.reason) <= 200 for error in errors)
    answer = msgspec.json.encode({"type": "about:blank", **problem(invalid(*errors)), "requestId": "0" * 32})
    assert len(answer) <= 8 * 1024
    assert msgspec.json.decode(answer)["errors"][0]["field"] == errors[0].field
