"""Generates the OpenAPI 3.1 document from the table of routes and their structs.

Nothing is written twice: paths, parameters and error codes come from the decorators of the handlers, summaries and
descriptions from docstrings, schemas from the message structs, and descriptions of fields from `server/documents`. So a
route that is not in the document does not exist.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import get_args, get_origin

import msgspec

from server.documents.describe import component_name, describe, enumerations_in, lineage, schemas_of
from server.documents.examples import example_of
from server.gateway.asyncapi.document_parts import Json, version
from server.rest.openapi import text as text
from server.rest.openapi.problems import (
    ALWAYS,
    SCHEMA,
    SHAPES,
    Problem,
    codes_of,
    groups_of,
    header_refs,
    name_of,
    response_to,
    responses_of,
)
from server.rest.query import STREAMED_AS, Exported, Listed
from server.rest.request import KEY_CHARACTERS
from server.rest.responses import Plain
from server.rest.route import JSON, Needs, Route

CREATED = 201


@lru_cache(maxsize=1)
def openapi_json(routes: tuple[Route, ...]) -> bytes:
    """Return the document as JSON; it is built at the first call and cached. Building it blocks for some 0.3 s."""
    return msgspec.json.encode(openapi(routes))


def openapi(routes: Sequence[Route]) -> Json:
    """Build the document of these routes. The order of routes is that of the paths in the document."""
    schemas = _schemas(routes)
    paths: Json = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, routes, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "halfminute",
            "version": version(),
            "description": text.INTRODUCTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": text.SERVER}],
        "tags": [{"name": name, "description": meaning} for name, meaning in _tags(routes).items()],
        "paths": paths,
        "components": {
            "schemas": dict(sorted((schemas | enumerations_in(paths)).items())),
            "responses": {name_of(codes): response_to(codes, schemas) for codes in groups_of(routes)},
            "parameters": {"Idempotency-Key": _KEY},
            "headers": {name: {"schema": schema, "description": what} for name, (schema, what) in _HEADERS.items()},
            "securitySchemes": {"bearer": text.BEARER, "operator": text.OPERATOR, **_proof_schemes(routes)},
        },
    }


# One operation


def _operation(route: Route, routes: Sequence[Route], schemas: Json) -> Json:
    """The operation of a route. The first line of the handler's docstring is its summary, the rest its description."""
    summary, _, description = (route.handler.__doc__ or "").strip().partition("\n")
    return {
        "operationId": _id(route),
        "summary": summary,
        "description": " ".join(description.split()) or summary,
        "tags": [_tag(route)],
        **({"deprecated": True} if route.retired is not None else {}),
        "security": _security(route),
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_key_parameters(route)],
        **({} if route.body is None else {"requestBody": _body(route.body, schemas)}),
        "responses": {str(route.status): _success(route, schemas) | _links(route, routes), **responses_of(route)},
    }


def _id(route: Route) -> str:
    """Return the operation id: `post /api/calls/{callId}/accept` becomes `postCallsCallIdAccept`."""
    steps = re.findall(r"\w+", route.path.removeprefix("/api").replace("-", "_"))
    words = [word for step in steps for word in step.split("_")]
    return route.method.lower() + "".join(word[:1].upper() + word[1:] for word in words)


def _tag(route: Route) -> str:
    """Return the tag of a route: the name of its handler's module."""
    return route.handler.__module__.rpartition(".")[2]


def _tags(routes: Iterable[Route]) -> dict[str, str]:
    """Return each tag with the first line of its module's docstring."""
    return {_tag(route): _first_line(route.handler.__globals__["__doc__"]) for route in routes}


def _security(route: Route) -> list[Json]:
    """The alternatives by which a caller is authenticated: groups of headers, or a token of a user or an operator."""
    if route.needs is Needs.ANYONE:
        return [{name: [] for name in group} for group in route.proofs]
    return [{"operator" if route.needs is Needs.OPERATOR else "bearer": []}]


def _proof_schemes(routes: Iterable[Route]) -> Json:
    names = {name for route in routes for group in route.proofs for name in group}
    return {
        name: {"type": "apiKey", "in": "header", "name": name, "description": text.PROOFS[name]}
        for name in sorted(names)
    }


def _path_parameters(route: Route) -> Iterator[Json]:
    for name in route.parameters:
        yield _parameter(name, "path", describe([], name, {"type": "string", "format": "uuid"}), required=True)


def _query_parameters(route: Route) -> Iterator[Json]:
    if route.query is None:
        return
    _, described = msgspec.json.schema_components([route.query], ref_template=SCHEMA)
    query = described[route.query.__name__]
    for name, schema in query["properties"].items():
        shape = describe(lineage(route.query), name, _given(schema), "Query")
        yield _parameter(name, "query", shape, required=name in query["required"])


def _parameter(name: str, place: str, shape: Json, *, required: bool) -> Json:
    """A parameter whose description is that of its schema. An example would limit the list to what is not there."""
    schema = {key: value for key, value in shape.items() if key not in ("description", "examples")}
    described = {"description": shape["description"]} if "description" in shape else {}
    return {"name": name, "in": place, **({"required": True} if required else {}), **described, "schema": schema}


def _given(schema: Json) -> Json:
    """Return the schema without null: an absent parameter is null."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    outer = {key: schema[key] for key in ("description", "examples") if key in schema}
    return choices[0] | outer if len(choices) == 1 else schema


def _key_parameters(route: Route) -> Iterator[Json]:
    if route.takes_key:
        yield {"$ref": "#/components/parameters/Idempotency-Key"}


def _body(kind: type[msgspec.Struct], schemas: Json) -> Json:
    schema = {"$ref": SCHEMA.format(name=kind.__name__)}
    return {"required": True, "content": {JSON: {"schema": schema, "example": example_of(schema, schemas)}}}


# Answers


def _success(route: Route, schemas: Json) -> Json:
    """The successful response of a route, described by the first line of its struct's docstring."""
    headers = dict(ALWAYS)
    if get_origin(route.answer) in (Listed, Exported):
        headers |= header_refs("Link")
    if get_origin(route.answer) is Exported:
        headers |= header_refs("Content-Disposition", "Export-Through")
    if route.retired is not None:
        headers |= header_refs("Deprecation", "Sunset", "Link")
    content: Json = {"schema": {"type": "object" if route.media == JSON else "string"}}
    if route.answer is not Plain:
        schema = {"$ref": SCHEMA.format(name=component_name(route.answer))}
        content = {"schema": schema, "example": example_of(schema, schemas)}
    summary = _first_line(getattr(get_origin(route.answer) or route.answer, "__doc__", None))
    return {
        "description": text.PLAIN if route.answer is Plain else summary or text.DONE,
        "headers": headers,
        "content": {route.media: content, **_streamed(route, schemas)},
    }


def _streamed(route: Route, schemas: Json) -> Json:
    """The other forms of an export: rows as lines of JSON, and as CSV."""
    if get_origin(route.answer) is not Exported:
        return {}
    (row,) = get_args(route.answer)
    schema = {"$ref": SCHEMA.format(name=component_name(row))}
    return {
        STREAMED_AS["ndjson"]: {"schema": schema, "example": example_of(schema, schemas)},
        STREAMED_AS["csv"]: {"schema": {"type": "string"}},
    }


def _links(route: Route, routes: Sequence[Route]) -> Json:
    """Return OpenAPI links from the ids in a 201 answer to the routes that take them.

    Programs that test APIs follow them: they create an object, and then request the routes of that object.
    """
    if route.status != CREATED or route.answer is Plain:
        return {}
    sent = set() if route.body is None else {field.encode_name for field in msgspec.structs.fields(route.body)}
    created = [field for field in msgspec.structs.fields(route.answer) if field.encode_name not in sent]
    objects = {each.encode_name for each in created if "id" in getattr(each.type, "__struct_fields__", ())}
    pointers = {f"{name}Id": f"{name}/id" for name in objects} | {
        each.encode_name: each.encode_name for each in created
    }
    links = {
        _id(other): {"operationId": _id(other), "parameters": {name: f"$response.body#/{pointers[name]}"}}
        for other in routes
        for name in other.parameters
        if name in pointers
    }
    return {"links": links} if links else {}


# Schemas


def _schemas(routes: Iterable[Route]) -> Json:
    """The schemas of all bodies, answers and problems, by the names of their structs."""
    kinds = [kind for route in routes for kind in (route.body, route.answer) if kind not in (None, Plain)]
    shapes = {SHAPES.get(code, Problem) for route in routes for code in codes_of(route)}
    _, components = schemas_of([*kinds, *shapes])
    return components | enumerations_in(components)


def _first_line(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n")[0]


_TEXT = {"type": "string"}
_HEADERS: dict[str, tuple[Json, str]] = {
    name: ({"type": "integer", "minimum": 0} if name == "Retry-After" else _TEXT, what)
    for name, what in text.HEADERS.items()
}
_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": text.KEY,
    "schema": {"type": "string", "minLength": 1, "maxLength": KEY_CHARACTERS, "pattern": "^[!#-~]([ -~]*[!-~])?$"},
}
