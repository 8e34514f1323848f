"""The REST contract as served: valid OpenAPI 3.1, and exactly the routes."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from domain.refusals import Code
from server.rest.app import ROUTES
from server.rest.openapi.document import openapi, openapi_json
from server.rest.openapi.problems import codes_of
from server.rest.route import Needs, Route
from tests.server.rest.conftest import Users
from tests.support.clients import PATIENCE_SECONDS
from tests.support.json_schema import Json, resolve
from tests.support.openapi import misfits, read_document
from tests.support.servers import running_server


@pytest.fixture
def document() -> Json:
    return read_document()


def operation_of(document: Json, route: Route) -> Json:
    operation: Json = document["paths"][route.path][route.method.lower()]
    return operation


def refs_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from refs_in(inner)


def errors_in(schema: Json) -> set[str]:
    return {name for choice in schema.get("anyOf", [schema]) for name in choice["properties"]["error"]["enum"]}


# Sound


def test_it_is_valid_by_the_official_meta_schema(document: Json) -> None:
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_the_meta_schema_is_applied(document: Json) -> None:
    assert list(OpenAPIV31SpecValidator({**document, "paths": {"nowhere": {}}}).iter_errors())


def test_every_reference_resolves_and_every_component_is_used(document: Json) -> None:
    refs = set(refs_in(document))
    for ref in refs:
        assert resolve(document, ref), ref
    for group in ("schemas", "responses", "parameters", "headers"):
        for name in document["components"][group]:
            assert f"#/components/{group}/{name}" in refs, f"nobody refers to {group}/{name}"


def test_no_two_structs_have_one_name(document: Json) -> None:
    """Otherwise their names would show the modules that hold them, which are internal."""
    assert [name for name in document["components"]["schemas"] if "." in name] == []


def test_every_security_scheme_is_used(document: Json) -> None:
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    asked = {name for operation in operations for needed in operation["security"] for name in needed}
    assert asked == document["components"]["securitySchemes"].keys()


# Complete


def test_its_operations_are_the_routes(document: Json) -> None:
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in ROUTES}
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_an_operation_describes_the_parameters_and_responses_of_its_route(document: Json, route: Route) -> None:
    operation = operation_of(document, route)
    assert ("requestBody" in operation) is (route.body is not None)
    assert ("deprecated" in operation) is (route.retired is not None)
    parameters = [resolve(document, each["$ref"]) if "$ref" in each else each for each in operation["parameters"]]
    places = {(each["in"], each["name"]) for each in parameters}
    assert {name for place, name in places if place == "path"} == set(route.parameters)
    assert (("header", "Idempotency-Key") in places) is route.takes_key
    assert any(place == "query" for place, _ in places) is (route.query is not None)
    assert str(route.status) in operation["responses"]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_an_operation_has_every_error_of_its_route_under_its_status(document: Json, route: Route) -> None:
    codes = set()
    for status, response in operation_of(document, route)["responses"].items():
        if status != str(route.status):
            content = resolve(document, response["$ref"])["content"]["application/problem+json"]
            errors = errors_in(content["schema"])
            assert {str(Code[name].status) for name in errors} == {status}
            codes |= errors
    assert codes == {code.name for code in codes_of(route)}
    assert codes >= {code.name for code in route.refuses} | {"RATE_LIMITED", "INTERNAL"}
    assert ("UNAUTHENTICATED" in codes) is (route.needs is not Needs.ANYONE)


def test_every_code_that_a_handlers_module_names_is_declared_by_one_of_its_routes() -> None:
    for name in {route.handler.__module__ for route in ROUTES}:
        tree = ast.parse(Path(str(sys.modules[name].__file__)).read_text())
        declared = {code.name for route in ROUTES if route.handler.__module__ == name for code in codes_of(route)}
        named = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Code"
        }
        assert named <= declared, f"{name} names {named - declared}, and none of its routes declares it"


def test_a_created_object_links_to_the_operations_on_it(document: Json) -> None:
    made = document["paths"]["/api/calls/init"]["post"]["responses"]["201"]["links"]
    assert made.keys() >= {"postCallsCallIdAccept", "postBillingCallIdStop", "getCallsCallId"}
    assert made["getCallsCallId"]["parameters"] == {"callId": "$response.body#/callId"}
    announced = document["paths"]["/api/streams"]["post"]["responses"]["201"]["links"]
    assert announced["postStreamsStreamIdStart"]["parameters"] == {"streamId": "$response.body#/stream/id"}
    assert "links" not in document["paths"]["/api/admin/credits"]["post"]["responses"]["201"], "it made no user"


def test_ids_and_times_are_marked_as_such(document: Json) -> None:
    call = document["components"]["schemas"]["CallView"]["properties"]
    assert (call["id"]["format"], call["createdAt"]["format"]) == ("uuid", "date-time")
    assert {"type": "string", "format": "date-time"} in call["startedAt"]["anyOf"]


def test_the_webhook_documents_both_ways_to_authenticate(document: Json) -> None:
    ways = [set(way) for way in document["paths"]["/api/billing/meter"]["post"]["security"]]
    assert ways == [{"X-Billing-Secret"}, {"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"}]


def test_the_older_name_names_its_successor(document: Json) -> None:
    answered = document["paths"]["/api/calls/initiate"]["post"]["responses"]["201"]["headers"]
    assert answered.keys() >= {"Deprecation", "Sunset", "Link"}


# As served


async def test_anybody_may_read_it_and_keep_it(web: httpx.AsyncClient) -> None:
    answer = await web.get("/api/openapi.json")
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    assert answer.json() == openapi(ROUTES) == read_document()


async def test_an_answer_that_is_not_as_described_is_found(users: Users) -> None:
    answer = await (await users.fan(5)).get("/wallet")
    assert list(misfits(answer)) == []
    for fields, fault in (
        ({"balance": "5"}, "$.balance: '5' is not of type 'integer'"),
        ({"id": str(uuid4())}, "$: id is not described"),
    ):
        changed = httpx.Response(200, json={**answer.json(), **fields}, request=answer.request)
        assert list(misfits(changed)) == [fault]
    assert list(misfits(httpx.Response(418, json={}, request=answer.request))) == ["418 is not described"]


async def test_the_document_is_built_before_the_first_request(dsn: str) -> None:
    """The server does nothing else meanwhile."""
    openapi_json.cache_clear()
    async with (
        running_server(dsn) as context,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{context.http_port}", timeout=PATIENCE_SECONDS, verify=False
        ) as web,
    ):
        assert (await web.get("/healthz")).status_code == 200
        built = openapi_json.cache_info().misses
        assert (await web.get("/api/openapi.json")).status_code == 200
        assert openapi_json.cache_info().misses == built
