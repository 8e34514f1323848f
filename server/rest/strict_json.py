"""Decodes JSON bodies strictly into frozen structs, and names every field that does not fit.

msgspec would stop at the first invalid field; a client that fills in a form needs all of them at once. So each field is
converted by itself.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple, TypeVar

import msgspec

from server.broadcast.read_json import read_json
from server.broadcast.value_faults import MAX_FAULTS, Undecodable, cut

S = TypeVar("S", bound=msgspec.Struct)

ROOT = "body"


class FieldError(NamedTuple):
    """A field that does not fit, and the reason; a nested field is named by its path."""

    field: str
    reason: str


class InvalidRequest(Exception):
    """A body, query or header does not fit its declaration; `errors` names each field."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{error.field}: {error.reason}" for error in errors))
        self.errors = errors


def decode_body(raw: bytes, kind: type[S]) -> S:
    """Decode a JSON object into a struct, and ignore unknown fields. Raises InvalidRequest.

    "5" and 5.0 are not integers. Input on which parsers disagree is refused by the name of its field: duplicate keys,
    integers beyond 64 bits, deep nesting. So is text with U+0000, which Postgres cannot store.
    """
    try:
        fields, faults = read_json(raw.decode(), ROOT, nul_is_fault=True)
    except (Undecodable, UnicodeDecodeError):
        raise InvalidRequest(FieldError(ROOT, "is not JSON in UTF-8")) from None
    if faults:
        raise InvalidRequest(*(FieldError(*fault) for fault in faults))
    if not isinstance(fields, dict):
        raise InvalidRequest(FieldError(ROOT, "must be a JSON object"))
    return fit(fields, kind)


def require_json(content_type: str | None) -> None:
    """Check a Content-Type. Raises InvalidRequest for one other than JSON; a missing one counts as JSON.

    Types such as `application/cloudevents+json` count as JSON (RFC 6839); parameters are ignored.
    """
    media = (content_type or "application/json").partition(";")[0].strip().lower()
    if media != "application/json" and not re.fullmatch(r"application/[a-z0-9.-]+\+json", media):
        raise InvalidRequest(FieldError("Content-Type", "must be application/json"))


def fit(given: Mapping[str, Any], kind: type[S]) -> S:
    """Convert fields, by their wire names, to a struct, and ignore unknown ones.

    Raises InvalidRequest with every field that is missing or invalid, at most MAX_FAULTS.
    """
    values: dict[str, Any] = {}
    errors: list[FieldError] = []
    for field in fields_of(kind):
        if field.encode_name in given:
            try:
                values[field.name] = msgspec.convert(given[field.encode_name], field.type)
            except msgspec.ValidationError as error:
                errors.append(_readable(field.encode_name, str(error)))
        elif field.required:
            errors.append(FieldError(field.encode_name, "is required"))
    if errors:
        raise InvalidRequest(*errors[:MAX_FAULTS])
    return kind(**values)


@cache
def fields_of(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Return the fields of a struct; the library evaluates their annotations anew each time."""
    return msgspec.structs.fields(kind)


def _readable(field: str, text: str) -> FieldError:
    """Convert msgspec's "Expected `int` - at `$.streamId`" to a field error with the full path."""
    reason, _, path = text.partition(" - at `$")
    return FieldError(cut(field + path.rstrip("`")), cut(_CLEARER.get(reason, reason)))


_NO_TIME = "is no RFC 3339 time with a zone, such as 2026-11-29T18:00:00Z"
_CLEARER = {"Invalid RFC3339 encoded datetime": _NO_TIME, "Expected `datetime` with a timezone component": _NO_TIME}
