"""The websocket's contract as served: an AsyncAPI 3.0 document, generated from the structs that are sent and read."""

import tomllib
from collections.abc import Iterator
from functools import lru_cache
from importlib import metadata
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, UnsetType

from domain import messages as m
from domain.call_record import CallView
from domain.presence import Role
from domain.refusals import Code
from domain.room import Member
from server.config import Settings, WebsocketSettings
from server.wire import Encoding

Json = dict[str, Any]

CONTENT_TYPES = {Encoding.JSON: "application/json", Encoding.MSGPACK: "application/msgpack"}
FOR_GOOD = 4400  # from here on a close code says not to come back


@lru_cache(maxsize=4)  # a server has one; tests open several in a process
def asyncapi_json(settings: Settings, websocket_port: int) -> bytes:
    """The document, ready to be served; built at the first call."""
    return msgspec.json.encode(asyncapi(settings, websocket_port))


def asyncapi(settings: Settings, websocket_port: int) -> Json:
    """The document of a server with these settings."""
    scheme, host, path = _place(settings.websocket, websocket_port)
    messages = [*commands(), *answers(), *concrete(m.Event), *concrete(m.SequencedEvent)]
    names = sorted({kind.__name__ for kind in messages})
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "halfminute",
            "version": version(),
            "description": cleandoc(_INTRODUCTION),
            "license": {"name": "MIT"},
        },
        "defaultContentType": CONTENT_TYPES[Encoding.JSON],
        "servers": {"ws": _server(scheme, host)},
        "channels": {"ws": _channel(path, names, settings.websocket)},
        "operations": dict(_operations()),
        "components": {
            "messages": {kind.__name__: _message(kind) for kind in sorted(messages, key=lambda kind: kind.__name__)},
            "schemas": _schemas(messages),
            "correlationIds": {"ref": {"location": "$message.payload#/ref", "description": _REF}},
            "securitySchemes": {"bearer": _BEARER},
        },
    }


# Which messages there are


class Error(msgspec.Struct, rename="camel", tag_field="type", tag="error"):
    """A command was refused; the fields are those of a problem over HTTP, with more figures for some codes."""

    ref: str | UnsetType = UNSET
    title: str
    status: int
    detail: str
    error: Literal[tuple(code.name for code in Code)]  # type: ignore[valid-type]  # reason: the codes are a table
    message: str
    required: int | UnsetType = UNSET
    current: int | UnsetType = UNSET
    shortfall: int | UnsetType = UNSET
    retry_after_seconds: float | UnsetType = UNSET
