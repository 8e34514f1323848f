"""The websocket's contract as served: valid by the rules of AsyncAPI 3.0, and complete."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from domain.protocol import commands as c
from domain.protocol import events as m
from server.close_codes import CloseCode
from server.config.settings import WebsocketSettings
from server.context import Context
from server.gateway.asyncapi.document import asyncapi
from tests.server.rest.conftest import client_of
from tests.support.asyncapi import named, names_by_tag, read_document
from tests.support.json_schema import Json, resolve
from tests.support.servers import running_server, with_section

# The fields that each object of AsyncAPI 3.0 must have, and those that it may have.
OBJECTS = {
    "document": ("asyncapi info", "id defaultContentType servers channels operations components"),
    "info": ("title version", "description termsOfService contact license tags externalDocs"),
    "server": (
        "host protocol",
        "protocolVersion pathname description title summary variables security tags externalDocs bindings",
    ),
    "channel": ("", "address messages title summary description servers parameters tags externalDocs bindings"),
    "operation": (
        "action channel",
        "title summary description security tags externalDocs bindings traits messages reply",
    ),
    "reply": ("", "address channel messages"),
    "message": (
        "",
        "headers payload correlationId contentType name title summary description tags externalDocs bindings examples"
        " traits",
    ),
    "components": (
        "",
        "schemas servers channels operations messages securitySchemes serverVariables parameters correlationIds"
        " replies replyAddresses externalDocs tags operationTraits messageTraits serverBindings channelBindings"
        " operationBindings messageBindings",
    ),
    "correlation id": ("location", "description"),
    "security scheme": ("type scheme", "description bearerFormat"),
    "tag": ("name", "description externalDocs"),
    "server variable": ("", "enum default description examples"),
    "websocket binding": ("", "method query headers bindingVersion"),
}
COMPONENT_KEY = re.compile(r"[A-Za-z0-9._-]+")


@pytest.fixture
def document() -> Json:
    return read_document()


def objects_of(document: Json) -> Iterator[tuple[str, Json]]:
    """Return every object that has a name of its own in AsyncAPI."""
    yield "document", document
    yield "info", document["info"]
    components = document["components"]
    yield "components", components
    for kind, found in (
        ("server", document["servers"]),
        ("channel", document["channels"]),
        ("operation", document["operations"]),
        ("message", components["messages"]),
        ("correlation id", components["correlationIds"]),
        ("security scheme", components["securitySchemes"]),
        ("tag", components["tags"]),
        ("server variable", document["servers"]["ws"]["variables"]),
        ("websocket binding", document["channels"]["ws"]["bindings"]),
    ):
        yield from ((kind, each) for each in found.values())
    yield from (("reply", each["reply"]) for each in document["operations"].values() if "reply" in each)


def values_of(place: Any, key: str) -> Iterator[Any]:
    """Return every value under this key, at any depth."""
    if isinstance(place, dict):
        if key in place:
            yield place[key]
        place = list(place.values())
    if isinstance(place, list):
        for each in place:
            yield from values_of(each, key)


def used_by(operation: Json) -> list[str]:
    """Return the messages of an operation and of its reply."""
    return [each["$ref"] for each in operation["messages"] + operation.get("reply", {}).get("messages", [])]


# Sound


def test_each_object_has_the_fields_that_it_needs_and_no_others(document: Json) -> None:
    seen = set()
    for kind, fields in objects_of(document):
        needed, further = (set(names.split()) for names in OBJECTS[kind])
        names = {name for name in fields if not name.startswith("x-")}
        assert needed <= names <= needed | further, f"{kind}: {needed - names} missing, {names - needed - further} odd"
        seen.add(kind)
    assert seen == OBJECTS.keys()
    assert document["asyncapi"] == "3.0.0"
    assert {each["action"] for each in document["operations"].values()} == {"send", "receive"}


def test_every_reference_resolves(document: Json) -> None:
    refs = list(values_of(document, "$ref"))
    assert len(refs) > 100
    for ref in refs:
        assert resolve(document, ref), ref


def test_discriminators_are_names_of_fields(document: Json) -> None:
    """As AsyncAPI 3.0 has them; its own parser refuses the objects of OpenAPI."""
    assert set(values_of(document, "discriminator")) == {"kind", "type"}


def test_each_operation_has_one_message_whose_name_generators_take(document: Json) -> None:
    """Of several operations with several messages, generators keep the last one."""
    assert {len(operation["messages"]) for operation in document["operations"].values()} == {1}


def test_component_names_may_be_used_in_references(document: Json) -> None:
    for group, components in document["components"].items():
        for name in components:
            assert COMPONENT_KEY.fullmatch(name), f"{group}: {name}"


def test_the_channel_has_the_messages_of_the_operations_and_no_others(document: Json) -> None:
    offered = {f"#/channels/ws/messages/{name}" for name in document["channels"]["ws"]["messages"]}
    used = {ref for operation in document["operations"].values() for ref in used_by(operation)}
    assert used == offered
    assert {each["channel"]["$ref"] for each in document["operations"].values()} == {"#/channels/ws"}


def test_it_has_the_version_of_the_project(document: Json) -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert document["info"]["version"] == project["version"]


# Complete


def defined(family: type[msgspec.Struct]) -> set[str]:
    """Return the tags of all messages of a family."""
    written = [*vars(c).values(), *vars(m).values()]
    kinds = [kind for kind in written if isinstance(kind, type) and issubclass(kind, family)]
    return {str(kind.__struct_config__.tag) for kind in kinds if kind.__struct_config__.tag != kind.__name__}


def test_every_command_is_received_and_answered(document: Json) -> None:
    received = [each for each in document["operations"].values() if each["action"] == "receive"]
    payloads = [resolve(document, resolve(document, ref)["$ref"]) for each in received for ref in used_by(each)[:1]]
    assert {each["name"] for each in payloads} == defined(c.Command) == names_by_tag(document, "command")
    assert len(received) == len(payloads) == len(c.AnyCommand.__args__)
    for each in received:
        assert each["reply"]["messages"][-1]["$ref"].endswith("/Error")


def test_every_event_is_sent_with_its_audience(document: Json) -> None:
    sent = {
        resolve(document, resolve(document, ref)["$ref"])["name"]
        for operation in document["operations"].values()
        if operation["action"] == "send"
        for ref in used_by(operation)
    }
    assert sent == defined(m.Event) | defined(m.SequencedEvent) | {"error"}
    assert names_by_tag(document, "sequenced") == defined(m.SequencedEvent)
    answers = names_by_tag(document, "answer")
    assert answers == {"ok", "error", "pong", "session:ready", "room:joined"}
    assert names_by_tag(document, "private") == defined(m.Event) - (answers - {"room:joined"})


def test_every_message_has_a_summary_of_one_line(document: Json) -> None:
    summaries = [each["summary"] for each in document["components"]["messages"].values()]
    assert all(summary and "\n" not in summary for summary in summaries)
    assert len(set(summaries)) == len(summaries)


@pytest.mark.parametrize(
    ("name", "words"), [("call:paused", "clients stop sending media"), ("viewer:paused", "send them no media")]
)
def test_the_document_forbids_media_while_a_clock_is_stopped(document: Json, name: str, words: str) -> None:
    (message,) = named(document, name)
    assert words in message["summary"]


def test_both_subprotocols_are_described(document: Json) -> None:
    types = {"halfminute.v1.json": "application/json", "halfminute.v1.msgpack": "application/msgpack"}
    for message in document["components"]["messages"].values():
        assert message["x-content-types"] == types
    offered = document["channels"]["ws"]["bindings"]["ws"]["headers"]["properties"]["Sec-WebSocket-Protocol"]
    assert offered["enum"] == list(types)
    subprotocols = document["channels"]["ws"]["x-subprotocols"]
    assert {each["name"]: each["frames"] for each in subprotocols} == dict(zip(types, ("text", "binary"), strict=True))


def test_every_close_code_says_whether_to_reconnect(document: Json) -> None:
    codes = {each["code"]: each["reconnect"] for each in document["channels"]["ws"]["x-close-codes"]}
    assert set(CloseCode) == codes.keys()
    assert {code for code, reconnect in codes.items() if reconnect} == {4000, 4001, 4002, 4003}
    assert {1000, 1002, 1007, 1009, 4400, 4401, 4403, 4408, 4409, 4429} <= codes.keys()


def test_limits_are_those_of_the_settings() -> None:
    limits = asyncapi(WebsocketSettings(open_seconds=7, max_frame_bytes=2048), 1)["channels"]["ws"]["x-limits"]
    assert (limits["openSeconds"]["value"], limits["maxFrameBytes"]["value"]) == (7, 2048)
    assert limits["maxRefCharacters"]["value"] == c.MAX_REF


@pytest.mark.parametrize(
    ("public_url", "protocol", "host", "address"),
    [
        ("", "ws", "{host}:8001", "/ws"),
        ("wss://live.example.org/ws", "wss", "live.example.org", "/ws"),
        ("wss://example.org:444/live/ws", "wss", "example.org:444", "/live/ws"),
    ],
)
def test_the_address_is_the_public_one(public_url: str, protocol: str, host: str, address: str) -> None:
    document = asyncapi(WebsocketSettings(public_url=public_url), 8001)
    server = document["servers"]["ws"]
    assert (server["protocol"], server["host"], document["channels"]["ws"]["address"]) == (protocol, host, address)
    assert ("variables" in server) == ("{" in host)


# As served


async def test_anybody_may_read_it_and_keep_it(context: Context) -> None:
    async with client_of(context) as web:
        answer = await web.get("/api/asyncapi.json")
        websocket_url = (await web.get("/api/config")).json()["websocketUrl"]
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    server = answer.json()["servers"]["ws"]
    host = server["host"].replace("{host}", server["variables"]["host"]["default"])
    assert f"{server['protocol']}://{host}{answer.json()['channels']['ws']['address']}" == websocket_url


async def test_a_public_address_is_served_as_clients_are_sent_it(dsn: str) -> None:
    wanted = with_section("websocket", public_url="wss://live.example.org/ws", listen="127.0.0.1:0")
    async with running_server(dsn, wanted) as context, client_of(context) as web:
        document = (await web.get("/api/asyncapi.json")).json()
        assert document["servers"]["ws"]["host"] == "live.example.org"
