"""Builds the largest value that a JSON Schema of our documents allows, as far as one message can hold it."""

from typing import Any
from uuid import UUID

from tests.support.json_schema import Json, resolve

SOMEBODY = UUID(int=7)
WIDE, NARROW = "\U0001f600", "x"  # four bytes in UTF-8, twelve in JSON of ASCII characters only
UNBOUNDED = 1_000  # characters or numbers where the schema names no bound: the size of the whole message is one
LIST_ITEMS = 32


def largest(document: Json, schema: Json, name: str = "") -> Any:
    """Return a value with every field, whose texts are as long as possible."""
    if "$ref" in schema:
        return largest(document, resolve(document, schema["$ref"]), name)
    if "anyOf" in schema:
        (first, *_) = [choice for choice in schema["anyOf"] if choice.get("type") != "null"]
        return largest(document, first, name)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return max(schema["enum"], key=str)
    match schema.get("type"):
        case "object":
            return {key: largest(document, field, key) for key, field in schema.get("properties", {}).items()}
        case "array":
            return [largest(document, schema.get("items", {}), name)] * LIST_ITEMS
        case "string":
            return _text(schema)
        case "integer" | "number":
            return schema.get("maximum", 2**53 - 1)
        case "boolean":
            return True
    return {"sdp": NARROW * (16 * 1024 - 100)}  # `data` of a signal: anything


def _text(schema: Json) -> str:
    if schema.get("format") == "uuid":
        return str(SOMEBODY)
    if schema.get("format") == "date-time":
        return "2026-01-01T00:00:00.000Z"
    characters: int = schema.get("maxLength", UNBOUNDED)
    return (NARROW if "pattern" in schema else WIDE) * characters
