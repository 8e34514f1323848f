"""Validates values against the JSON Schemas of our documents with the package jsonschema, a little more strictly."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.validators import extend

Json = dict[str, Any]


def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or bool(UUID(value))


def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or bool(datetime.fromisoformat(value))


def _closed_properties(validator: Any, properties: Json, value: Any, schema: Json) -> Iterator[ValidationError]:
    """Validate the keyword `properties`; a field that the schema does not name is an error, too."""
    yield from Draft202012Validator.VALIDATORS["properties"](validator, properties, value, schema)
    if properties and isinstance(value, dict) and "additionalProperties" not in schema:
        yield from (ValidationError(f"{name} is not described") for name in value.keys() - properties.keys())


def _is_integer(_checker: object, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)  # JSON Schema accepts 1.0, our clients may not


FORMATS = FormatChecker(formats=())
FORMATS.checks("uuid", raises=ValueError)(_is_uuid)
FORMATS.checks("date-time", raises=ValueError)(_is_date_time)
OPEN = extend(Draft202012Validator, type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer))
CLOSED = extend(OPEN, {"properties": _closed_properties})


def resolve(document: Json, ref: str) -> Any:
    """Return the schema that a `$ref` within the document names. Raises KeyError."""
    place: Any = document
    for step in ref.removeprefix("#/").split("/"):
        place = place[step.replace("~1", "/").replace("~0", "~")]
    return place


def faults(document: Json, schema: Json, value: Any, *, closed: bool = True) -> Iterator[str]:
    """Return the reasons why the value is not valid, each with its place.

    With `closed`, a field that the schema does not name is invalid. References are resolved in `document`.
    """
    kind = CLOSED if closed else OPEN
    validator = kind({**schema, "components": document["components"]}, format_checker=FORMATS)
    yield from (f"{error.json_path}: {error.message}" for error in validator.iter_errors(value))
