"""The largest and most hostile inputs, for every route and every command that the served documents name."""

import json
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from tests.budget.largest import SOMEBODY, largest
from tests.support.json_schema import Json, resolve

BODY_BYTES = 65_536
EVENT_BYTES = 1_048_576  # of a payment provider's event, which alone may be so large
LARGEST = "largest"  # that is allowed: every field as large as possible
DIGITS = b"12345678901234567890"
HUGE = b"\xcf" + b"\xff" * 8  # with so many bits, in MessagePack


class Request(NamedTuple):
    """One request as bytes, without its user's token."""

    route: str
    kind: str
    head: bytes
    body: bytes


class Frame(NamedTuple):
    """One message of a websocket."""

    command: str
    kind: str
    payload: bytes
    is_packed: bool = False  # MessagePack


def requests(document: Json, long: bool) -> Iterator[Request]:
    """Yield requests for every route of the OpenAPI document; `short` yields one input of each kind per route."""
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
        yield request(LARGEST, msgspec.json.encode(largest(document, _schema(document, operation))))
        fitting = [(kind, body) for kind, body in bodies(_schema(document, operation), document, BODY_BYTES)]
        yield from (request(kind, body) for kind, body in (fitting if long else fitting[:4]))
    elif method != "GET":
        yield request("unwanted body", b"[" * BODY_BYTES)
        yield request("body of an event", b"[" * EVENT_BYTES)


def _schema(document: Json, operation: Json) -> Json:
    (content,) = list(operation["requestBody"]["content"].values())[:1]
    schema: Json = content.get("schema", {})
    return resolve(document, schema["$ref"]) if "$ref" in schema else schema


def bodies(schema: Json, document: Json, most: int, tag: str = "") -> Iterator[tuple[str, bytes]]:
    """Yield JSON of at most `most` bytes; `tag` begins each object."""
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
    """Yield frames for every command of the AsyncAPI document, as text and as MessagePack."""
    for message in document["components"]["messages"].values():
        if {"$ref": "#/components/tags/command"} not in message["tags"]:
            continue
        name = message["name"]
        schema = resolve(document, message["payload"]["$ref"])
        tag = f'"type":"{name}","ref":"r",'
        if "channel" in schema.get("properties", {}):
            tag += f'"channel":"{channel}",'
        made = list(bodies(schema, document, BODY_BYTES - 1_000, tag))
        fields = {"type": name, **largest(document, schema)}
        fields |= {"type": name, **({"channel": channel} if "channel" in fields else {})}
        made.append((LARGEST, msgspec.json.encode(fields)))
        yield from (Frame(name, kind, payload) for kind, payload in (made if long else [*made[:2], made[3], made[-1]]))
        packed = [
            *packs(msgspec.msgpack.encode({"type": name, "ref": "r"})[1:]),
            (LARGEST, msgspec.msgpack.encode(fields)),
        ]
        yield from (Frame(name, kind, payload, True) for kind, payload in (packed if long else packed[-1:]))


def packs(fields: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield hostile MessagePack; `fields` are two fields of a map, with which each begins."""
    most = BODY_BYTES - 1_000
    twos = b"".join(b"\xa5" + b"%05d" % number + b"\x01" for number in range((most - 100) // 7))
    count = (most - 100) // 7 + 3
    yield "doubled key", b"\xdf" + count.to_bytes(4, "big") + fields + twos + b"\xa500000\x01"
    yield "declared length", b"\xdf\xff\xff\xff\xff" + fields
    yield "declared list", b"\x83" + fields + b"\xa1a\xdd\xff\xff\xff\xff"
    yield "deep", b"\x83" + fields + b"\xa1a" + b"\x91" * (most - 100)
    yield "extensions", b"\x83" + fields + b"\xa1a\xdc" + (20_000).to_bytes(2, "big") + b"\xd4\x01\x00" * 20_000
    yield "large integers", b"\x83" + fields + b"\xa1a\xdc" + (7_000).to_bytes(2, "big") + HUGE * 7_000
    yield "many objects", b"\x83" + fields + b"\xa1a\xdc" + (60_000).to_bytes(2, "big") + b"\x80" * 60_000
    yield "no text", b"\x83" + fields + b"\xa1a\xda\xea\x60" + b"\xff" * 60_000
