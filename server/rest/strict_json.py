"""Bodies and queries into frozen structs, strictly: what is not exactly what was asked for is refused by name."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, TypeVar

import msgspec

S = TypeVar("S", bound=msgspec.Struct)

INTEGERS = range(-(2**63), 2**63)  # what Postgres and most clients hold
DIGITS = 20  # more of them are outside INTEGERS whatever they say
MAX_DEPTH = 32  # no body of ours has three levels, and what walks through a value must not run out of stack


class FieldError(NamedTuple):
    """One field that does not fit, and why; a field inside another is named by its path."""

    field: str
    reason: str


class Misfit(Exception):
    """What a client sent does not fit."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{error.field}: {error.reason}" for error in errors))
        self.errors = errors


def decode_body(raw: bytes, kind: type[S]) -> S:
    """A JSON object as a struct; fields that the struct does not know are ignored. Raises Misfit.

    "5" and 5.0 are no integers. Refused by name, since decoders differ on them and one of them may be a bank:
    keys that occur twice, integers past 64 bits, deep nests, and text that Postgres cannot store.
    """
    fields = _parse(raw)
    if not isinstance(fields, dict):
        raise Misfit(FieldError("body", "must be a JSON object"))
    if faults := list(_faults(fields, "", 1)):
        raise Misfit(*faults)
    return fit(fields, kind)


def require_json(content_type: str | None) -> None:
    """Raises Misfit for a body that says to be something else; one that says nothing is read as JSON."""
    media = (content_type or "application/json").partition(";")[0].strip().lower()
    if media != "application/json" and not re.fullmatch(r"application/[a-z0-9.-]+\+json", media):
        raise Misfit(FieldError("Content-Type", "must be application/json"))


def fit(given: Mapping[str, Any], kind: type[S]) -> S:
    """Fields as a struct. Raises Misfit with every field that does not fit."""
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
        raise Misfit(*errors)
    return kind(**values)


def _parse(raw: bytes) -> Any:
    try:
        return _JSON.decode(raw.decode())
    except _NotJson as error:
        raise Misfit(FieldError("body", str(error))) from None
    except _Twice as error:
        raise Misfit(FieldError(str(error), "is given twice")) from None
    except (ValueError, RecursionError):
        raise Misfit(FieldError("body", "is not JSON in UTF-8")) from None


def _faults(value: Any, path: str, depth: int) -> Iterator[FieldError]:
    """What is JSON, and yet nothing to store."""
    match value:
        case dict() | list() if depth > MAX_DEPTH:
            yield FieldError("body", f"is nested more than {MAX_DEPTH} deep")
        case str() if "\0" in value:
            yield FieldError(path, "must not contain the character U+0000")
        case str() if not _is_unicode(value):
            yield FieldError(path, "contains half a surrogate pair")
        case int() if value not in INTEGERS:
            yield FieldError(path, "is an integer past 64 bits")
        case dict():
            for name, inner in value.items():
                yield from _faults(name, "body", depth)
                yield from _faults(inner, f"{path}.{name}" if path else name, depth + 1)
        case list():
            for i, inner in enumerate(value):
                yield from _faults(inner, f"{path}[{i}]", depth + 1)


def _readable(field: str, text: str) -> FieldError:
    """msgspec's "Expected `int` - at `$.streamId`" with the field's own name in front of the path."""
    reason, _, place = text.partition(" - at `$")
    return FieldError(field + place.rstrip("`"), reason)


class _NotJson(Exception):
    pass


class _Twice(Exception):
    pass


def _without_doubles(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for i, name in enumerate(names) if name in names[:i]))
    return fields


def _integer(text: str) -> int:
    return int(text) if len(text) <= DIGITS else 2**64


def _refuse_constant(name: str) -> NoReturn:
    raise _NotJson(f"{name} is no JSON number")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_JSON = json.JSONDecoder(object_pairs_hook=_without_doubles, parse_int=_integer, parse_constant=_refuse_constant)
