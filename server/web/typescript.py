"""JSON Schemas as TypeScript types, a line each."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

Json = dict[str, Any]

REF = re.compile(r'"#/components/schemas/(\w+)"')
PLAIN = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def type_of(schema: Json) -> str:
    """The type of a value with this schema; `unknown` for a schema that allows everything."""
    match schema:
        case {"$ref": str(ref)}:
            return ref.rpartition("/")[2]
        case {"anyOf": choices} | {"oneOf": choices}:
            return " | ".join(dict.fromkeys(map(type_of, choices)))
        case {"const": value}:
            return json.dumps(value)
        case {"enum": values}:
            return " | ".join(map(json.dumps, values))
        case {"type": "array"}:
            return f"Array<{type_of(schema.get('items', {}))}>"
        case {"type": "object", "properties": fields}:
            return object_of(fields, schema.get("required", ()))
        case {"type": "object"}:
            return f"Record<string, {type_of(schema.get('additionalProperties') or {})}>"
        case {"type": str(name)}:
            return PLAIN[name]
    return "unknown"


def object_of(fields: Json, required: Sequence[str]) -> str:
    """The type of an object with these fields, each a schema."""
    parts = (f"{name}{'' if name in required else '?'}: {type_of(schema)}" for name, schema in fields.items())
    return f"{{ {'; '.join(parts)} }}"


def declaration(name: str, schema: Json) -> str:
    """An exported type with its description, in one line."""
    return f"{comment(schema.get('description', ''))}export type {name} = {type_of(schema)};\n"


def comment(text: str) -> str:
    """The first paragraph of a description as a comment in front of a declaration; empty without one."""
    words = " ".join(text.partition("\n\n")[0].split())
    return f"/** {words} */ " if words else ""


def reachable(schemas: Json, *parts: Any) -> set[str]:
    """The names of the schemas that these parts of a document refer to, directly or through others."""
    found, left = set[str](), set(_named(parts))
    while left:
        found |= left
        left = {name for each in left for name in _named(schemas[each])} - found
    return found


def _named(part: Any) -> Iterator[str]:
    yield from REF.findall(json.dumps(part))
