"""Renders both API documents as one page of plain HTML.

The page is made of the documents alone, so it cannot differ from them. Its one script, in `server/web/docs`, adds a
form to each route and command; without it the page is complete. The content security policy allows this server's own
scripts, requests to this server, and the style sheet by its hash.
"""

from collections.abc import Iterator
from functools import lru_cache
from html import escape
from urllib.parse import urlsplit

import msgspec

from server.documents.describe import Json
from server.rest.openapi.page_parts import POLICY, example, folded, opening, prose, table, words

SCRIPT = "/docs/try.js"
TOKENS = {"bearer": "users", "operator": "operators"}  # the callers, by the name of the security scheme
AUDIENCES = {"command": "Commands", "answer": "Answers", "sequenced": "Events of a room", "private": "Private events"}


def docs_policy(websocket_url: str) -> str:
    """Return the content security policy of the page, whose forms may use the server's websocket."""
    address = urlsplit(websocket_url)
    return (
        f"{POLICY}; script-src 'self'; connect-src 'self' {address.scheme}://{address.netloc};"
        " require-trusted-types-for 'script'"
    )


@lru_cache(maxsize=4)
def docs_page(openapi: bytes, asyncapi: bytes) -> bytes:
    """Return the page for these two documents, as UTF-8; it is built at the first call and cached.

    There are a few variants, since the AsyncAPI document names the host that the request was sent to.
    """
    return "".join(_page(msgspec.json.decode(openapi), msgspec.json.decode(asyncapi))).encode()


def _page(http: Json, ws: Json) -> Iterator[str]:
    info = http["info"]
    yield opening(f"{info['title']} {info['version']}", SCRIPT)
    yield '<p><a href="/api/docs/quickstart">Quick start</a>: a call, a tip, a ticket and a reconnect.</p>'
    yield '<p class="quiet">As documents for programs: <a href="/api/openapi.json">OpenAPI</a> for HTTP, '
    yield '<a href="/api/asyncapi.json">AsyncAPI</a> for the websocket.</p></header><nav>'
    tags = [tag["name"] for tag in http["tags"]]
    yield from (f'<a href="#{name}">{name}</a>' for name in [*tags, "shapes", "websocket"])
    yield f"</nav><main>{prose(info['description'])}"
    for tag in http["tags"]:
        yield from _tag_section(http, tag)
    yield '<h2 id="shapes">Shapes</h2>'
    yield from (_shape(name, schema, "http") for name, schema in http["components"]["schemas"].items())
    yield from _websocket(ws)
    yield "</main></body></html>"


# HTTP


def _tag_section(http: Json, tag: Json) -> Iterator[str]:
    """The section of one tag, which is one module of routes."""
    yield f'<h2 id="{tag["name"]}">{tag["name"]}</h2>{prose(tag["description"])}'
    for path, methods in http["paths"].items():
        for method, operation in methods.items():
            if tag["name"] in operation["tags"]:
                yield _operation(http, method, path, operation)


def _operation(http: Json, method: str, path: str, operation: Json) -> str:
    place = f"<s>{escape(path)}</s>" if operation.get("deprecated") else escape(path)
    return folded(
        operation["operationId"],
        f'<b class="method">{method.upper()}</b> <code>{place}</code> <span>{words(operation["summary"])}</span>',
        prose(operation["description"] if operation["description"] != operation["summary"] else ""),
        f'<p class="quiet">{_authentication(operation["security"])}</p>',
        table("Parameters", (_parameter(http, each) for each in operation["parameters"])),
        table("Body", _contents(operation.get("requestBody", {}))),
        table("Answers", (_answer(http, *each) for each in operation["responses"].items())),
    )


def _authentication(security: list[Json]) -> str:
    """A sentence about the callers of an operation, from its `security`: a list of alternatives."""
    proofs = [
        " with ".join(f"<code>{escape(name)}</code>" for name in headers)
        for headers in security
        if not headers.keys() & TOKENS.keys()
    ]
    if proofs:
        return f"The caller is authenticated by {', or by '.join(proofs)}."
    if not security:
        return "No authentication."
    (scheme,) = security[0]
    return f"For {TOKENS[scheme]}: <code>Authorization: Bearer &lt;token&gt;</code>"


def _parameter(http: Json, parameter: Json) -> tuple[str, str]:
    parameter = _resolved(http, parameter)
    kind = f"{parameter['in']}, required" if parameter.get("required") else parameter["in"]
    return (
        f'<code>{escape(parameter["name"])}</code> <span class="quiet">{kind}</span>',
        _described(parameter["schema"], parameter, "http"),
    )


def _contents(holder: Json) -> Iterator[tuple[str, str]]:
    for media, content in holder.get("content", {}).items():
        yield f"<code>{escape(media)}</code>", _content(content)


def _content(content: Json) -> str:
    return _type(content["schema"], "http") + (example(content["example"]) if "example" in content else "")


def _answer(http: Json, status: str, answer: Json) -> tuple[str, str]:
    answer = _resolved(http, answer)
    shapes = " ".join(map(_content, answer["content"].values()))
    return status, words(answer["description"]) + ("" if int(status) >= 400 else f" {shapes}")


def _resolved(document: Json, value: Json) -> Json:
    """The object that a `$ref` within the document names; a value without one is returned unchanged."""
    target: Json = document
    for step in value.get("$ref", "").removeprefix("#/").split("/"):
        target = target[step] if step else value
    return target


# The websocket


def _websocket(ws: Json) -> Iterator[str]:
    channel = ws["channels"]["ws"]
    yield f'<h2 id="websocket">Websocket</h2>{prose(ws["info"]["description"])}{prose(channel["description"])}'
    for tag, heading in AUDIENCES.items():
        yield f"<h3>{heading}</h3>{prose(ws['components']['tags'][tag]['description'])}"
        for message in ws["components"]["messages"].values():
            if {"$ref": f"#/components/tags/{tag}"} in message["tags"]:
                yield _message(ws, message, tag)
    shown = {message["payload"]["$ref"] for message in ws["components"]["messages"].values()}
    yield "<h3>Shapes</h3>"
    for name, schema in ws["components"]["schemas"].items():
        if f"#/components/schemas/{name}" not in shown:
            yield _shape(name, schema, "ws")
    yield table("Limits", (_limit(name, each) for name, each in channel["x-limits"].items()))
    yield table("Close codes", (_close_code(each) for each in channel["x-close-codes"]))


def _message(ws: Json, message: Json, tag: str) -> str:
    head = f"<code>{escape(message['name'])}</code> <span>{words(message['summary'])}</span>"
    fields, examples = _fields(_resolved(ws, message["payload"]), "ws"), message["examples"]
    details = [prose(message.get("description", "")), fields, *(example(each["payload"]) for each in examples)]
    return folded(f"{tag}-{message['title']}", head, *details)


def _limit(name: str, each: Json) -> tuple[str, str]:
    return f"<code>{name}</code> {each['value']}", words(each["description"])


def _close_code(each: Json) -> tuple[str, str]:
    advice = "Reconnect." if each["reconnect"] else "Do not reconnect."
    return f"{each['code']} <code>{escape(each['name'])}</code>", f"{words(each['description'])} {advice}"


# Shapes


def _shape(name: str, schema: Json, place: str) -> str:
    summary, _, details = schema.get("description", "").partition("\n")
    head = f"<code>{escape(name)}</code> <span>{words(summary)}</span>"
    return folded(f"{place}-{name}", head, _values(schema) or prose(details), _fields(schema, place))


def _values(schema: Json) -> str:
    """The meanings of the values of an enumeration; empty for another shape."""
    meanings = schema.get("x-enumDescriptions", {})
    return table("", ((f"<code>{escape(value)}</code>", words(meaning)) for value, meaning in meanings.items()))


def _fields(schema: Json, place: str) -> str:
    required = schema.get("required", ())
    rows = (
        (
            f"<code>{escape(name)}</code>" + ("" if name in required else ' <span class="quiet">may be missing</span>'),
            _described(field, field, place),
        )
        for name, field in schema.get("properties", {}).items()
    )
    return table("", rows)


def _described(schema: Json, holder: Json, place: str) -> str:
    """A type, and the description that `holder` (a parameter or a field) has for it."""
    return _type(schema, place) + (f"<br>{words(holder['description'])}" if "description" in holder else "")


def _type(schema: Json, place: str) -> str:
    """Describe a schema in a few words, with links to its component schemas; `place` is the prefix of their anchors."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{place}-{escape(name)}">{escape(name)}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(choice, place) for choice in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " or ".join(f"<code>{escape(msgspec.json.encode(value).decode())}</code>" for value in values)
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}), place)}"
    kind = str(schema.get("format", schema.get("type", "anything")))
    return escape(" ".join([kind, *_bounds(schema)]))


def _bounds(schema: Json) -> Iterator[str]:
    """The bounds of a number or of a text's length, in words."""
    for least, most, unit in (("minimum", "maximum", ""), ("minLength", "maxLength", " characters")):
        if least in schema and most in schema:
            yield f"{schema[least]} to {schema[most]}{unit}"
        elif least in schema or most in schema:
            yield f"at least {schema[least]}{unit}" if least in schema else f"at most {schema[most]}{unit}"
