"""Builds an example of a schema out of the examples of its fields."""

from typing import Any

from server.documents.describe import Json
from server.documents.field import example_id

TIME = "2026-03-02T18:00:00.000Z"
RINGING = {
    "status": "ringing",
    "acceptedAt": None,
    "startedAt": None,
    "expiresAt": "2026-03-02T18:00:30.000Z",
    "blocks": 0,
    "tokens": 0,
    "activeSeconds": 0.0,
    "paidThrough": None,
}
# By schema and field, what differs from the usual example of the field's object.
CHANGES: dict[str, dict[str, Json]] = {"CallRung": {"call": RINGING}}


def example_of(schema: Json, components: Json, name: str = "") -> Any:
    """Return an example that is valid by the schema; `name` is that of the field.

    Of the fields that may be missing, an object has those with an example of their own.
    """
    if "examples" in schema:
        return schema["examples"][0]
    if "$ref" in schema:
        component = schema["$ref"].rpartition("/")[2]
        changes = CHANGES.get(component, {})
        example = example_of(components[component], components, name)
        return example | {field: example[field] | each for field, each in changes.items()} if changes else example
    if "anyOf" in schema:
        return example_of(next(each for each in schema["anyOf"] if each != {"type": "null"}), components, name)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return _object(schema, components)
        case "array":
            return [example_of(schema.get("items", {}), components, name)]
        case "string":
            return {"uuid": example_id(name), "date-time": TIME}.get(schema.get("format", ""), "text")
        case "integer" | "number":
            return schema.get("minimum", 1)
    return True


def _object(schema: Json, components: Json) -> Json:
    return {
        field: example_of(inner, components, field)
        for field, inner in schema.get("properties", {}).items()
        if field in schema.get("required", ()) or "examples" in inner
    }
