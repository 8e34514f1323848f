"""A validator of the part of JSON Schema that our documents use; an unknown keyword is an error in the schema."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

Json = dict[str, Any]

KNOWN = {
    "$ref", "discriminator", "additionalProperties", "anyOf", "default", "description", "enum", "examples", "format",
    "items",    "maxLength", "maximum", "minLength", "minimum", "pattern", "properties", "required", "title", "type",
}  # fmt: skip
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
FORMATS: dict[str, Callable[[str], object]] = {"uuid": UUID, "date-time": datetime.fromisoformat}


def resolve(document: Json, ref: str) -> Any:
    """Return the schema that a `$ref` within the document names. Raises KeyError."""
    place: Any = document
    for step in ref.removeprefix("#/").split("/"):
        place = place[step.replace("~1", "/").replace("~0", "~")]
    return place


def faults(document: Json, schema: Json, value: Any, at: str = "$", *, closed: bool = True) -> Iterator[str]:
    """Return the reasons why the value is not valid. `closed`: a field that the schema does not name is one, too."""
    assert schema.keys() <= KNOWN, f"not known here: {schema.keys() - KNOWN}"
    if "$ref" in schema:
        yield from faults(document, resolve(document, schema["$ref"]), value, at, closed=closed)
    if "anyOf" in schema and all(list(faults(document, one, value, closed=closed)) for one in schema["anyOf"]):
        yield f"{at}: {value!r} fits no choice"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is not one of {schema['enum']}"
    if "type" in schema and not _has_type(schema["type"], value):
        yield f"{at}: {value!r} is no {schema['type']}"
    elif isinstance(value, str):
        yield from _faults_of_text(schema, value, at)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from faults(document, schema.get("items", {}), item, f"{at}[{i}]", closed=closed)
    elif isinstance(value, dict):
        yield from _faults_of_object(document, schema, value, at, closed)


def _has_type(name: str, value: Any) -> bool:
    return isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _faults_of_text(schema: Json, value: str, at: str) -> Iterator[str]:
    if len(value) > schema.get("maxLength", len(value)):
        yield f"{at}: has {len(value)} characters"
    if len(value) < schema.get("minLength", 0) or not re.search(schema.get("pattern", ""), value):
        yield f"{at}: {value!r} is too short, or of another pattern"
    if "format" in schema:
        try:
            FORMATS[schema["format"]](value)
        except ValueError:
            yield f"{at}: {value!r} is no {schema['format']}"


def _faults_of_object(document: Json, schema: Json, value: Json, at: str, closed: bool) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{at}: {name} is missing"
    for name, field in value.items():
        if name in properties:
            yield from faults(document, properties[name], field, f"{at}.{name}", closed=closed)
        elif isinstance(schema.get("additionalProperties"), dict):
            yield from faults(document, schema["additionalProperties"], field, f"{at}.{name}", closed=closed)
        elif closed and properties:
            yield f"{at}: {name} is not described"
