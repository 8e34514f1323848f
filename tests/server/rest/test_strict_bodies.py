"""Invalid bodies on every route that takes one: refused by name, before the handler is called."""

import re

import pytest

from server.rest.app import ROUTES
from server.rest.route import Needs, Route
from tests.server.rest.conftest import Users
from tests.server.rest.problems import SOMEBODY, check

TAKERS = [route for route in ROUTES if route.body is not None and route.needs is not Needs.ANYONE]
JSON = "application/json"
BAD = {
    "another kind": (b"a=1", "application/x-www-form-urlencoded", 400, "Content-Type"),
    "text": (b"{}", "text/plain", 400, "Content-Type"),
    "nothing": (b"", JSON, 400, "body"),
    "no JSON": (b"{'a': 1}", JSON, 400, "body"),
    "no object": (b"[{}]", JSON, 400, "body"),
    "a key twice": (b'{"x": 1, "x": 1}', JSON, 400, "x"),
    "no character": (b'{"x": "a\\u0000"}', JSON, 400, "x"),
    "half a character": (b'{"x": "\\ud800"}', JSON, 400, "x"),
    "past 64 bits": (b'{"x": 9223372036854775808}', JSON, 400, "x"),
    "no number": (b'{"x": NaN}', JSON, 400, "body"),
    "a deep nest": (b'{"x": ' + b"[" * 800 + b"]" * 800 + b"}", JSON, 400, "body"),
    "a deeper nest": (b'{"x": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", JSON, 400, "body"),
    "another encoding": ('{"x": "é"}'.encode("latin-1"), JSON, 400, "body"),
    "too much": (b" " * 65_537, JSON, 413, None),
}


@pytest.mark.parametrize("route", TAKERS, ids=lambda route: f"{route.method} {route.path}")
async def test_an_invalid_body_is_refused_by_name(users: Users, route: Route) -> None:
    operator = await users.operator()
    path = re.sub(r"\{\w+\}", str(SOMEBODY), route.path).removeprefix("/api")
    for name, (body, content_type, status, field) in BAD.items():
        answer = await operator.ask(route.method, path, content=body, headers={"Content-Type": content_type})
        fields = check(answer, status, "VALIDATION_FAILED" if status == 400 else "PAYLOAD_TOO_LARGE")
        if field is not None:
            assert [error["field"] for error in fields["errors"]] == [field], name
