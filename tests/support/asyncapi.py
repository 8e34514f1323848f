"""The AsyncAPI document as a client reads it, and a check of messages against it."""

import msgspec

from server.config.settings import Settings
from server.gateway.asyncapi.document import asyncapi_json
from tests.support.json_schema import Json, faults, resolve


def read_document() -> Json:
    """Return the document of a server with the default settings."""
    decoded: Json = msgspec.json.decode(asyncapi_json(Settings(), 8001))
    return decoded


def named(document: Json, name: str) -> list[Json]:
    return [each for each in document["components"]["messages"].values() if each["name"] == name]


def names_by_tag(document: Json, tag: str) -> set[str]:
    ref = {"$ref": f"#/components/tags/{tag}"}
    return {each["name"] for each in document["components"]["messages"].values() if ref in each["tags"]}


def misfits(document: Json, event: Json) -> list[str]:
    """Return the reasons why this message matches no description under its name."""
    described = [resolve(document, each["payload"]["$ref"]) for each in named(document, event["type"])]
    if not described:
        return [f"{event['type']} is not described"]
    closed = event["type"] != "error"  # a refusal has the figures of its code
    return min((list(faults(document, schema, event, closed=closed)) for schema in described), key=len)
