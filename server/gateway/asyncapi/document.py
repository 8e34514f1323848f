"""Builds the AsyncAPI 3.0 document of the websocket from the structs that are sent and received."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, get_args
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, UnsetType

from domain.call.record import CallView
from domain.protocol import commands as c
from domain.protocol import events as m
from domain.refusals import Code
from domain.room.members import Member, RoomRules
from domain.room.signalling import MAX_SIGNAL_BYTES
from server.broadcast.codec import Encoding
from server.close_codes import CloseCode
from server.config.settings import Settings, WebsocketSettings
from server.documents.describe import describe, enumerations_in, lineage, schemas_of
from server.documents.examples import example_of
from server.gateway.asyncapi import text as text
from server.gateway.asyncapi.document_parts import Json, version, with_plain_discriminators
from server.gateway.asyncapi.shapes import Balance, CallRoom, IceServer, Missed, SentTip, StreamRoom, You
from server.gateway.connection import first_message_bytes
from server.gateway.handshake import PATH

Kind = type[msgspec.Struct]

CONTENT_TYPES = {Encoding.JSON: "application/json", Encoding.MSGPACK: "application/msgpack"}


@lru_cache(maxsize=4)  # a server has one document; tests run several servers in a process
def asyncapi_json(settings: Settings, websocket_port: int, proxied: str | None = None) -> bytes:
    """The document as it is served, built at the first call.

    `proxied` is the websocket scheme that the trusted proxy forwards, or None for a request without a proxy.
    """
    return msgspec.json.encode(asyncapi(settings.websocket, websocket_port, settings.rooms, proxied))


def asyncapi(
    settings: WebsocketSettings, websocket_port: int, rooms: RoomRules | None = None, proxied: str | None = None
) -> Json:
    """The document of a server with these settings, before it is encoded."""
    scheme, host, path = _address(settings.public_url, websocket_port, proxied)
    kinds = messages()
    schemas = _schemas(kinds)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "halfminute",
            "version": version(),
            "description": text.INTRODUCTION,
            "license": {"name": "MIT"},
            "tags": [{"$ref": f"#/components/tags/{tag}"} for tag in text.TAGS],
        },
        "defaultContentType": CONTENT_TYPES[Encoding.JSON],
        "servers": {"ws": _server(scheme, host)},
        "channels": {"ws": _channel(path, kinds, settings, rooms or RoomRules())},
        "operations": dict(_operations()),
        "components": {
            "messages": {kind.__name__: _message(kind, schemas) for kind in kinds},
            "schemas": schemas,
            "correlationIds": {"ref": {"location": "$message.payload#/ref", "description": text.REF}},
            "securitySchemes": {"bearer": text.BEARER},
            "tags": {name: {"name": name, "description": meaning} for name, meaning in text.TAGS.items()},
        },
    }


# The messages


class Error(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type", tag="error"):
    """A command was refused; the fields are those of a problem over HTTP, with further figures for some codes.

    Without a `ref` it says that a restarted room has not taken the member in again; `channel` names that room.
    """

    ref: str | UnsetType = UNSET
    channel: str | UnsetType = UNSET
    title: str
    status: int
    detail: str
    error: Annotated[str, msgspec.Meta(extra_json_schema={"enum": [code.name for code in Code]})]
    message: str


ANSWERS: tuple[Kind, ...] = (m.Ok, Error, m.Pong, m.SessionReady, m.RoomJoined)
UNASKED: tuple[Kind, ...] = (m.RoomJoined,)  # answers that are also sent without a command
OWN_ANSWERS: dict[Kind, Kind] = {c.SessionOpen: m.SessionReady, c.RoomJoin: m.RoomJoined, c.Ping: m.Pong}


def commands() -> list[Kind]:
    """The messages that clients send."""
    return list(get_args(c.AnyCommand))


def private_events() -> list[Kind]:
    """The events that only the sessions of one user receive."""
    return [kind for kind in concrete(m.Event) if kind not in ANSWERS or kind in UNASKED]


def sequenced_events() -> list[Kind]:
    """The events that all members of a room receive, in one order."""
    return list(concrete(m.SequencedEvent))


def messages() -> list[Kind]:
    """All messages in both directions, ordered by class name."""
    kinds = {*commands(), *ANSWERS, *private_events(), *sequenced_events()}
    return sorted(kinds, key=lambda kind: kind.__name__)


def concrete(family: Kind) -> Iterator[Kind]:
    """The subclasses of a struct, in its module, that are messages themselves: those with a tag of their own."""
    for kind in family.__subclasses__():
        if kind.__module__ != family.__module__:
            continue
        if tag_of(kind) != kind.__name__:
            yield kind
        yield from concrete(kind)


def tag_of(kind: Kind) -> str:
    """The value of `type` in messages of this kind."""
    return str(kind.__struct_config__.tag)


# The fields of a command's `ok` beside `ref`.
OK_HAS: dict[Kind, tuple[str, ...]] = {
    c.TokenRefresh: ("tokenExpiresAt",),
    c.RoomLeave: ("channel",),
    c.TipSend: ("tip", "wallet"),
    **dict.fromkeys(concrete(c.CallCommand), ("call",)),
}


# Servers, channel and operations


def _address(public_url: str, websocket_port: int, proxied: str | None) -> tuple[str, str, str]:
    """Scheme, host and path, as in `websocketUrl` of `GET /api/config`. `{host}` stands for this document's host."""
    if not public_url and proxied is not None:
        return proxied, "{host}", PATH
    if not public_url:
        return "ws", f"{{host}}:{websocket_port}", PATH
    url = urlsplit(public_url)
    return url.scheme, url.netloc, url.path or "/"


def _server(scheme: str, host: str) -> Json:
    """The one server; a host of `{host}` becomes a variable that the reader fills in."""
    server: Json = {
        "host": host,
        "protocol": scheme,
        "description": text.SERVER,
        "security": [{"$ref": "#/components/securitySchemes/bearer"}],
    }
    if "{host}" in host:
        server["variables"] = {"host": {"default": "127.0.0.1", "description": text.HOST}}
    return server


def _channel(path: str, kinds: list[Kind], settings: WebsocketSettings, rooms: RoomRules) -> Json:
    """The one channel, with its limits and close codes as extensions, for which AsyncAPI has no fields."""
    return {
        "address": path,
        "title": "The websocket",
        "description": text.CHANNEL,
        "servers": [{"$ref": "#/servers/ws"}],
        "messages": {kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"} for kind in kinds},
        "bindings": {"ws": {"method": "GET", "headers": _handshake(), "bindingVersion": "0.1.0"}},
        "x-subprotocols": [
            {"name": encoding.value, "contentType": content_type, "frames": text.FRAMES[encoding]}
            for encoding, content_type in CONTENT_TYPES.items()
        ],
        "x-limits": {
            **_limits(text.LIMITS, settings),
            **_limits(text.ROOM_LIMITS, rooms),
            "maxFirstMessageBytes": {"value": first_message_bytes(settings), "description": text.FIRST_MESSAGE},
            "maxRefCharacters": {"value": c.MAX_REF, "description": text.REF},
            "maxTextCharacters": {"value": c.MAX_TEXT, "description": text.TEXT},
            "maxSignalBytes": {"value": MAX_SIGNAL_BYTES, "description": text.SIGNAL},
        },
        "x-close-codes": [
            {"code": code.value, "name": code.label, "reconnect": code.reconnect, "description": code.cause}
            for code in CloseCode
        ],
    }


def _limits(meanings: Mapping[str, str], settings: msgspec.Struct) -> Json:
    return {
        _camel(name): {"value": getattr(settings, name), "description": meaning} for name, meaning in meanings.items()
    }


def _handshake() -> Json:
    return {
        "type": "object",
        "properties": {
            "Sec-WebSocket-Protocol": {"type": "string", "enum": [encoding.value for encoding in Encoding]},
            "Authorization": {"type": "string", "description": text.AUTHORIZATION},
        },
    }


def _operations() -> Iterator[tuple[str, Json]]:
    """The operations from the server's side: it receives commands and sends everything else."""
    for kind in commands():
        answers: list[Kind] = [OWN_ANSWERS.get(kind, m.Ok), Error]
        operation = _operation("receive", kind)
        if kind in OK_HAS:
            named = " and ".join(f"`{field}`" for field in OK_HAS[kind])
            operation["description"] += f" Its `ok` has {named}."
        yield _id(kind), operation | {"reply": {"channel": _THE_CHANNEL, "messages": _in_channel(answers)}}
    for kind in messages():
        if kind not in commands():
            yield f"send{kind.__name__}", _operation("send", kind)


def _operation(action: str, kind: Kind) -> Json:
    """An operation has one message: generators take the name of a type from it."""
    return {
        "action": action,
        "title": tag_of(kind),
        "summary": _summary(kind),
        "description": _description(kind) or _summary(kind),
        "channel": _THE_CHANNEL,
        "tags": [{"$ref": f"#/components/tags/{tag}"} for tag in _tags(kind)],
        "messages": _in_channel([kind]),
    }


_THE_CHANNEL = {"$ref": "#/channels/ws"}


def _in_channel(kinds: list[Kind]) -> list[Json]:
    return [{"$ref": f"#/channels/ws/messages/{kind.__name__}"} for kind in kinds]


def _id(kind: Kind) -> str:
    return kind.__name__[0].lower() + kind.__name__[1:]


# Messages and schemas


def _message(kind: Kind, schemas: Json) -> Json:
    """One message; commands and answers are correlated by `ref`. Generators make the name of its type of `title`."""
    tags = list(_tags(kind))
    asks_or_answers = "command" in tags or "answer" in tags
    return {
        "name": tag_of(kind),
        "title": kind.__name__,
        "summary": _summary(kind),
        **({"description": described} if (described := _description(kind)) else {}),
        "contentType": CONTENT_TYPES[Encoding.JSON],
        "x-content-types": {encoding.value: content_type for encoding, content_type in CONTENT_TYPES.items()},
        "tags": [{"$ref": f"#/components/tags/{tag}"} for tag in tags],
        **({"correlationId": {"$ref": "#/components/correlationIds/ref"}} if asks_or_answers else {}),
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
        "examples": list(_examples(kind, schemas)),
    }


def _examples(kind: Kind, schemas: Json) -> Iterator[Json]:
    """An example of a message, and of `ok` one for each of the results that it may have."""
    schema, results = schemas[kind.__name__], dict.fromkeys(OK_HAS.values()) if kind is m.Ok else {}
    yield {"name": kind.__name__, "payload": example_of(schema, schemas)}
    for fields in results:
        result = {field: example_of(schema["properties"][field], schemas, field) for field in fields}
        yield {"name": f"{kind.__name__} with {' and '.join(fields)}", "payload": {"type": "ok", "ref": "42", **result}}


def _tags(kind: Kind) -> Iterator[str]:
    if issubclass(kind, c.Command):
        yield "command"
    if kind in ANSWERS:
        yield "answer"
    if issubclass(kind, m.SequencedEvent):
        yield "sequenced"
    if kind in private_events():
        yield "private"


def _summary(kind: Kind) -> str:
    """The first line of the struct's own docstring; an inherited one does not count."""
    return (kind.__doc__ or "").strip().partition("\n")[0]


def _description(kind: Kind) -> str:
    """The rest of the struct's own docstring, in one paragraph."""
    return " ".join((kind.__doc__ or "").strip().partition("\n")[2].split())


# The shapes of fields that the structs leave open, because other modules build their values.
SHAPES: dict[tuple[Kind, str], Any] = {
    (m.SessionReady, "missed"): list[Missed],
    (m.RoomJoined, "room"): CallRoom | StreamRoom,
    (m.RoomJoined, "history"): list[m.HistoryTip | m.HistoryChat],
    (m.RoomJoined, "iceServers"): list[IceServer],
    (m.RoomJoined, "members"): list[Member],
    (m.RoomJoined, "you"): You,
    (m.Ok, "call"): CallView,
    (m.Ok, "channel"): str,
    (m.Ok, "tip"): SentTip,
    (m.Ok, "wallet"): Balance,
    (m.Ok, "tokenExpiresAt"): str,
}


def _schemas(kinds: list[Kind]) -> Json:
    """The JSON schemas of all structs, with those of SHAPES in place of the fields that the structs leave open."""
    schemas, components = schemas_of([*kinds, *SHAPES.values()])
    for (kind, field), shape in zip(SHAPES, schemas[len(kinds) :], strict=True):
        components[kind.__name__]["properties"][field] = describe(lineage(kind), field, shape)
    plain: Json = with_plain_discriminators(components | enumerations_in(components))
    return plain


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)
