"""Bodies and queries into frozen structs, strictly: what is not exactly what was asked for is refused by name."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec

from server.broadcast.read_json import read_json
from server.broadcast.value_faults import MAX_FAULTS, Undecodable, cut

S = TypeVar("S", bound=msgspec.Struct)

ROOT = "body"


class FieldError(NamedTuple):
    """One field that does not fit, and why; a field inside another is named by its path."""

    field: str
    reason: str


class InvalidRequest(Exception):
    """What a client sent does not fit."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{error.field}: {error.reason}" for error in errors))
        self.errors = errors


def decode_body(raw: bytes, kind: type[S]) -> S:
    """A JSON object as a struct; fields that the struct does not know are ignored. Raises InvalidRequest.

    "5" and 5.0 are no integers. Refused by name, since decoders differ on them and one of them may be a bank:
    keys that occur twice, integers past 64 bits, deep nests, and text that Postgres cannot store.
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
    """Raises InvalidRequest for a body that says to be something else; one that says nothing is read as JSON."""
    media = (content_type or "application/json").partition(";")[0].strip().lower()
    if media != "application/json" and not re.fullmatch(r"application/[a-z0-9.-]+\+json", media):
        raise InvalidRequest(FieldError("Content-Type", "must be application/json"))


def fit(given: Mapping[str, Any], kind: type[S]) -> S:
    """Fields as a struct. Raises InvalidRequest with every field that does not fit."""
    values: dict[str, Any] = {}
    errors: list[FieldError] = []
    for field in msgspec.structs.fields(kind):
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


def _readable(field: str, text: str) -> FieldError:
    """msgspec's "Expected `int` - at `$.streamId`" with the field's own name in front of the path."""
    reason, _, place = text.partition(" - at `$")
    return FieldError(cut(field + place.rstrip("`")), cut(reason))
