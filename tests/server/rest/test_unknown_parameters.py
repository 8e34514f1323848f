"""Every route of `/api` with a query parameter that it does not have: refused by name, and nothing is done."""

import re
from uuid import uuid4

import httpx
import msgspec

from server.rest.app import ROUTES
from tests.server.rest.conftest import Users
from tests.server.rest.problems import check


async def test_each_route_names_the_parameter_that_it_does_not_have(users: Users) -> None:
    caller = await users.operator()
    for route in ROUTES:
        path = re.sub(r"\{\w+\}", str(uuid4()), route.path).removeprefix("/api")
        if not route.names_parameters:
            continue
        fields = check(await caller.ask(route.method, path, params={"form": "2026"}), 400, "UNKNOWN_PARAMETER")
        assert fields["parameter"] == "form"
        known = set() if route.query is None else {field.encode_name for field in msgspec.structs.fields(route.query)}
        assert set(fields["parameters"]) == known


async def test_a_misspelt_filter_is_not_answered_with_other_rows(users: Users) -> None:
    fan = await users.fan()
    fields = check(await fan.get("/tips", form="2026-01-01T00:00:00Z"), 400, "UNKNOWN_PARAMETER")
    assert "form" in fields["message"] and "streamId" in fields["parameters"]
    assert (await fan.get("/tips", role="sent")).status_code == 200


async def test_pages_probes_and_webhooks_ignore_it(web: httpx.AsyncClient) -> None:
    for route in ROUTES:
        if not route.names_parameters:
            answer = await web.request(route.method, f"{route.path}?form=1", json={})
            assert answer.status_code == 200 or answer.json()["error"] != "UNKNOWN_PARAMETER"
