"""The OpenAPI document as a client reads it, and a check of responses against it."""

import re
from collections.abc import Iterator
from functools import cache

import httpx
import msgspec

from server.rest.app import ROUTES
from server.rest.openapi.document import openapi_json
from server.rest.openapi.problems import PROBLEM
from server.rest.query import STREAMED_AS
from tests.support.json_schema import Json, faults, resolve

# Status and code of the answers to requests for which the document has no operation.
NOWHERE = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 429: "RATE_LIMITED", 503: "OVERLOADED"}


@cache
def read_document() -> Json:
    decoded: Json = msgspec.json.decode(openapi_json(ROUTES))
    return decoded


async def check_described(answer: httpx.Response) -> None:
    """An httpx event hook that raises AssertionError for a response that the document does not describe."""
    await answer.aread()
    assert list(misfits(answer)) == [], f"{answer.request.method} {answer.request.url.path}: {answer.text[:500]}"


def misfits(answer: httpx.Response) -> Iterator[str]:
    """Return the differences between this response and the document."""
    document = read_document()
    operation = operation_at(document, answer.request.method, answer.request.url.path)
    if operation is None:
        if answer.request.method in ("GET", "POST") and answer.json()["error"] != NOWHERE.get(answer.status_code):
            yield f"no operation, and yet {answer.status_code}"
        return
    described = operation["responses"].get(str(answer.status_code))
    if described is None:
        yield f"{answer.status_code} is not described"
        return
    described = resolve(document, described["$ref"]) if "$ref" in described else described
    media = answer.headers["Content-Type"]
    if media not in described["content"]:
        yield f"{media} is none of {list(described['content'])}"
    elif media.endswith("json"):
        lines = answer.content.splitlines() if media == STREAMED_AS["ndjson"] else [answer.content]
        for line in lines:
            schema = described["content"][media]["schema"]
            yield from faults(document, schema, msgspec.json.decode(line), closed=media != PROBLEM)


def operation_at(document: Json, method: str, asked: str) -> Json | None:
    """Return the operation of a request; a path without parameters takes precedence over one with them."""
    for path in sorted(document["paths"], key=lambda path: path.count("{")):
        pattern = re.sub(r"\\{\w+\\}", r"[0-9A-Fa-f-]{36}", re.escape(path))
        if re.fullmatch(pattern, asked):
            operation: Json | None = document["paths"][path].get(method.lower())
            if operation is not None:
                return operation
    return None
