"""The commands of the websocket as the served AsyncAPI document describes them: their fields, and usual values."""

from typing import Any, NamedTuple

from tests.support.json_schema import Json, resolve


class Field(NamedTuple):
    """One field of a command; `kind` is the JSON Schema type, or `any`, or `uuid`."""

    name: str
    kind: str
    required: bool
    allowed: tuple[Any, ...] = ()


class Command(NamedTuple):
    """A command and all its fields but `type`."""

    name: str
    fields: tuple[Field, ...]


def read_commands(document: Json) -> list[Command]:
    """Return every command that the document describes, by name."""
    found = []
    for operation in document["operations"].values():
        if operation["action"] == "receive":
            for message in operation["messages"]:
                described = resolve(document, resolve(document, message["$ref"])["$ref"])
                found.append(_command(document, described))
    assert found, "the document describes no command"
    return sorted(found)


def close_codes(document: Json) -> set[int]:
    """Return every code with which a connection may end according to the document."""
    return {each["code"] for each in document["channels"]["ws"]["x-close-codes"]}


def _command(document: Json, message: Json) -> Command:
    schema = resolve(document, message["payload"]["$ref"])
    required = schema.get("required", [])
    fields = [
        _field(document, name, each, name in required) for name, each in schema["properties"].items() if name != "type"
    ]
    return Command(message["name"], tuple(fields))


def _field(document: Json, name: str, schema: Json, required: bool) -> Field:
    for each in schema.get("anyOf", [schema]):
        shape = resolve(document, each["$ref"]) if "$ref" in each else each
        if shape.get("type") != "null":
            kind = "uuid" if shape.get("format") == "uuid" else shape.get("type", "any")
            return Field(name, kind, required, tuple(shape.get("enum", ())))
    raise AssertionError(f"{name} can only be null")
