"""Completes the JSON Schemas of both documents with descriptions, named enumerations and examples.

The description of a field is that of its own `msgspec.Meta(description=…)`, or else comes from the tables beside this
module: by struct and field (`Entry.kind`), which applies to structs that inherit the field too, or by its name alone.
"""

import re
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, get_args, get_origin

import msgspec

from server.documents.common_fields import COMMON_FIELDS
from server.documents.enumerations import ENUMERATIONS
from server.documents.field import NONE, Field
from server.documents.money_fields import MONEY_FIELDS
from server.documents.room_fields import ROOM_FIELDS

Json = dict[str, Any]

REF = "#/components/schemas/{name}"
FIELDS = ChainMap(ROOM_FIELDS, MONEY_FIELDS, COMMON_FIELDS)
SENT_TIME = "RFC 3339 in UTC, with milliseconds."
RECEIVED_TIME = "RFC 3339 with an offset, such as `2026-03-29T00:00:00+01:00`."


def schemas_of(kinds: Sequence[Any]) -> tuple[list[Json], Json]:
    """Return the schemas of these types and the components that they refer to, completed and under good names."""
    generated = msgspec.json.encode(msgspec.json.schema_components(kinds, ref_template=REF))
    # A page of reports is `Listed[Report]`, which msgspec calls `Listed_Report_`.
    schemas, components = msgspec.json.decode(
        re.sub(rb'(?:Listed|Exported)[_\[](\w+?)[_\]](?=")', rb"\1Page", generated)
    )
    owners = dict(_owners(msgspec.inspect.multi_type_info(kinds)))
    for name, component in components.items():
        for field, schema in component.get("properties", {}).items():
            component["properties"][field] = describe(owners.get(name, [name]), field, schema)
    return schemas, components


def describe(owners: Sequence[str], name: str, schema: Json, group: str = "") -> Json:
    """Return the schema of a field with description and example, and with a reference if it is an enumeration.

    `owners` are the struct that has the field and the structs that it inherits from; `group` is looked up after them,
    before the name alone. A field that no table describes is returned without a description; a test refuses it.
    """
    entry = _entry(owners, name, schema, group)
    sentences = [sentence for sentence in (entry.description, _about_type(name, schema)) if sentence]
    typed = _with_known_values(_with_values(schema, entry.values) if entry.values else _with_time(name, schema))
    if entry.description:
        typed["description"] = " ".join(sentences)
    if typed.get("default", "") is None:
        del typed["default"]  # generators take a field with a default for one that is always there
    if len(schema.get("enum", ())) == 1:
        return {"type": "string", "const": schema["enum"][0], "description": typed.get("description", "")}
    return typed if entry.example is NONE else {**typed, "examples": [entry.example]}


def _entry(owners: Sequence[str], name: str, schema: Json, group: str) -> Field:
    """The entry of the field by its struct, or else its own description, or else an entry that several fields share."""
    declared = Field(schema.get("description", ""), schema.get("examples", [NONE])[0])
    own = next((FIELDS[key] for owner in owners if (key := f"{owner}.{name}") in FIELDS), None)
    if own is not None:
        return own if own.description else declared._replace(values=own.values)
    return declared if declared.description else FIELDS.get(f"{group}.{name}") or FIELDS.get(name, declared)


def enumerations_in(*parts: Any) -> Json:
    """Return a component for each enumeration that these parts of a document refer to."""
    named = set(re.findall(r'"#/components/schemas/(\w+)"', msgspec.json.encode(parts).decode()))
    return {name: _component(name) for name in sorted(named & ENUMERATIONS.keys())}


def component_name(kind: Any) -> str:
    """Return the name of a struct's schema; that of a page of reports is `ReportPage`."""
    item = "".join(argument.__name__ for argument in get_args(kind))
    return f"{item}Page" if item else str(kind.__name__)


def lineage(kind: type) -> list[str]:
    """Return the names of a struct and of those that it inherits from."""
    return [each.__name__ for each in (get_origin(kind) or kind).__mro__ if each not in (msgspec.Struct, object)]


def _owners(types: Iterable[msgspec.inspect.Type]) -> Iterator[tuple[str, list[str]]]:
    """The component name of each struct within these types, with its lineage."""
    for each in types:
        if isinstance(each, msgspec.inspect.StructType):
            yield component_name(each.cls), lineage(each.cls)
            yield from _owners(field.type for field in each.fields)
        for part in each.__struct_fields__:
            inner = getattr(each, part)
            parts = inner if isinstance(inner, tuple) else (inner,)
            yield from _owners(found for found in parts if isinstance(found, msgspec.inspect.Type))


# Enumerations


_NAMES = {frozenset(each.values): name for name, each in ENUMERATIONS.items()}


def _component(name: str) -> Json:
    """The schema of an enumeration, with the meanings of its values as a Markdown list and one by one."""
    description, values = ENUMERATIONS[name]
    listed = "\n".join(f"- `{value}`: {meaning}" for value, meaning in values.items())
    return {
        "title": name,
        "type": "string",
        "enum": list(values),
        "description": f"{description}\n\n{listed}",
        "x-enumDescriptions": dict(values),
    }


def _with_values(schema: Json, name: str) -> Json:
    """Replace the type text in a schema, also within a list or beside null, by a reference to an enumeration."""
    if schema.get("type") == "string":
        return _referring(schema, name)
    return _within(schema, lambda inner: _with_values(inner, name))


def _with_known_values(schema: Json) -> Json:
    """Replace the values in a schema by a reference to the enumeration that has the same ones."""
    name = _NAMES.get(frozenset(schema.get("enum", ())))
    return _within(schema, _with_known_values) if name is None else _referring(schema, name)


def _referring(schema: Json, name: str) -> Json:
    return {"$ref": REF.format(name=name), **({"default": schema["default"]} if "default" in schema else {})}


def _within(schema: Json, change: Callable[[Json], Json]) -> Json:
    """Change the choices of a schema and the items of a list."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [change(choice) for choice in schema["anyOf"]]}
    return {**schema, "items": change(schema["items"])} if "items" in schema else dict(schema)


# Times and constants


def _is_time(name: str) -> bool:
    """Whether a text field is a time; in structs that are sent, times are plain text."""
    return name.endswith("At") or name in ("at", "paidThrough", "until", "through")


def _with_time(name: str, schema: Json) -> Json:
    if "anyOf" in schema:
        return {**schema, "anyOf": [_with_time(name, choice) for choice in schema["anyOf"]]}
    is_text = schema.get("type") == "string" and "format" not in schema
    return {**schema, "format": "date-time"} if is_text and _is_time(name) else schema


def _about_type(name: str, schema: Json) -> str:
    """Return what the type of a field adds to its description: the format of a time, or the only value."""
    choices = schema.get("anyOf", [schema])
    if any(choice.get("format") == "date-time" for choice in choices):
        return RECEIVED_TIME
    if any(choice.get("type") == "string" for choice in choices) and _is_time(name):
        return SENT_TIME
    values = schema.get("enum", ())
    return f"Always `{values[0]}`." if len(values) == 1 else ""
