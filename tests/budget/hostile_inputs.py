"""The largest and most hostile inputs, for every route and every command that the served documents name."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from tests.json_schema import Json, resolve

BODY_BYTES = 65_536
SOMEBODY = UUID(int=7)
DIGITS = b"12345678901234567890"
WIDE = '{"a":"\\uD83D\\uDE00"}'


class Request(NamedTuple):
    """One request as bytes, without what names the user."""

    route: str
    kind: str
    head: bytes
    body: bytes


class Frame(NamedTuple):
    """One message of a websocket."""

    command: str
    kind: str
    payload: bytes


def requests(document: Json, long: bool) -> Iterator[Request]:
    """For every route of the OpenAPI document; the short version has one input of each kind that it reads."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            target = path
            for name in [part[1:-1] for part in path.split("/") if part.startswith("{")]:
                target = target.replace(f"{{{name}}}", str(SOMEBODY))
            route = f"{method.upper()} {path}"
            yield from _of_route(route, method.upper(), target, operation, document, long)


def _of_route(route: str, method: str, target: str, operation: Json, document: Json, long: bool) -> Iterator[Request]:
    def request(kind: str, body: bytes = b"", *, query: str = "", headers: bytes = b"") -> Request:
        line = f"{method} {target}{query} HTTP/1.1\r\nHost: a\r\n".encode()
        typed = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body) if method != "GET" else b""
        return Request(route, kind, line + typed + headers, body)

    yield request("plain")
    if method == "GET" or long:
        yield request("many parameters", query="?" + "&".join(f"a{number}=1" for number in range(1_500)))
        names = [parameter["name"] for parameter in operation.get("parameters", []) if parameter.get("in") == "query"]
        if names:
            yield request("long parameters", query="?" + "&".join(f"{name}={'9' * 900}" for name in names))
    if long:
        yield request("many headers", headers=b"".join(b"X-%d: y\r\n" % number for number in range(90)))
        yield request("long header", headers=b"X: " + b"y" * 14_000 + b"\r\n")
    if "requestBody" in operation:
        fitting = [(kind, body) for kind, body in bodies(_schema(document, operation), document, BODY_BYTES)]
        yield from (request(kind, body) for kind, body in (fitting if long else fitting[:4]))
    elif method != "GET":
        yield request("unwanted body", b"[" * BODY_BYTES)


def _schema(document: Json, operation: Json) -> Json:
    (content,) = list(operation["requestBody"]["content"].values())[:1]
    schema: Json = content.get("schema", {})
    return resolve(document, schema["$ref"]) if "$ref" in schema else schema


def bodies(schema: Json, document: Json, most: int, tag: str = "") -> Iterator[tuple[str, bytes]]:
    """JSON of at most `most` bytes; `tag` begins each object."""
    begin = b"{" + tag.encode()
    keys = b",".join(b'"key%05d":1' % number for number in range((most - 200) // 13))
    yield "doubled key", begin + keys + b',"key00000":1}'
    count = (most - 31_000) // (len(DIGITS) + 1)
    yield "large integers", begin + b'"' + b"k" * 30_000 + b'":[' + b",".join([DIGITS] * count) + b"]}"
    yield "deep", begin + b'"a":' + b"[" * ((most - 200) // 2) + b"]" * ((most - 200) // 2) + b"}"
    names = list(schema.get("properties", {"a": {}}))
    yield "long strings", begin + json.dumps({name: "x" * ((most - 400) // len(names)) for name in names})[1:].encode()
    share = (most - 400) // len(names) // 4
    yield "lists", begin + json.dumps({name: [1] * share for name in names}, separators=(",", ":"))[1:].encode()
    yield "escapes", begin + b'"a":"' + b"\\ud83d\\ude00" * ((most - 100) // 12) + b'"}'
    yield "bad utf-8", begin + b'"a":"' + b"\xff" * (most - 100) + b'"}'
    yield "many objects", begin + b'"a":[' + b",".join([b"{}"] * ((most - 100) // 3)) + b"]}"


def frames(document: Json, channel: str, long: bool) -> Iterator[Frame]:
    """For every command of the AsyncAPI document, as text; then a few as MessagePack."""
    for message in document["components"]["messages"].values():
        if {"$ref": "#/components/tags/command"} not in message["tags"]:
            continue
        name = message["name"]
        schema = resolve(document, message["payload"]["$ref"])
        tag = f'"type":"{name}","ref":"r",'
        if "channel" in schema.get("properties", {}):
            tag += f'"channel":"{channel}",'
        made = list(bodies(schema, document, BODY_BYTES - 1_000, tag))
        made.append(("largest", _largest(name, channel)))
        yield from (Frame(name, kind, payload) for kind, payload in (made if long else [*made[:2], made[3], made[-1]]))


def _largest(name: str, channel: str) -> bytes:
    """A command that fits, with as much in it as there may be."""
    fields: dict[str, Any] = {
        "channel": channel,
        "ref": "r" * 64,
        "callId": str(SOMEBODY),
        "to": str(SOMEBODY),
        "userId": str(SOMEBODY),
        "data": {"sdp": "x" * 16_000},
        "text": "\U0001f600" * 500,
        "message": "\U0001f600" * 500,
        "amountTokens": 1,
        "key": "k" * 255,
        "token": "t" * 8_000,
        "sinceTipId": str(SOMEBODY),
    }
    return msgspec.json.encode({"type": name, **fields})
