"""The error responses of the OpenAPI document, grouped by status, each with its schema.

A route declares the codes that its handler may answer; the codes of the checks that run before every handler are added
here. OpenAPI has one response for each status, so codes with the same status share one.
"""

from collections.abc import Iterable
from typing import Annotated

import msgspec

from domain.refusals import Code
from server.documents.describe import Json
from server.documents.examples import example_of
from server.rest.responses import RETRY_AFTER_SECONDS
from server.rest.route import Needs, Route
from server.sessions.bans import ALLOWED_WHEN_BANNED

PROBLEM = "application/problem+json"
READING = ("GET", "HEAD")  # other methods have a body read, even if the route takes none
SCHEMA = "#/components/schemas/{name}"


def codes_of(route: Route) -> set[Code]:
    """Return every error code of a route: those of its handler, and those of the checks before it.

    The checks are in `server/rest/dispatch.py`; whether they apply depends on what the route declares.
    """
    codes = {*route.refuses, Code.RATE_LIMITED, Code.OVERLOADED, Code.STORAGE_UNAVAILABLE, Code.INTERNAL}
    if route.needs is not Needs.ANYONE:
        codes.add(Code.UNAUTHENTICATED)
    if route.needs is Needs.OPERATOR or (
        route.needs is not Needs.ANYONE and (route.method, route.path) not in ALLOWED_WHEN_BANNED
    ):
        codes.add(Code.FORBIDDEN)
    if route.method not in READING:
        codes |= {Code.VALIDATION_FAILED, Code.PAYLOAD_TOO_LARGE}
    if route.query is not None:
        codes.add(Code.VALIDATION_FAILED)
    if route.names_parameters:
        codes.add(Code.UNKNOWN_PARAMETER)
    if route.takes_key:
        codes.add(Code.IDEMPOTENCY_CONFLICT)
    if route.parameters:
        codes.add(Code.NOT_FOUND)
    return codes


def responses_of(route: Route) -> Json:
    """Return the error responses of a route by status, as references."""
    return {
        str(status): {"$ref": f"#/components/responses/{name_of(group)}"} for status, group in by_status(route).items()
    }


def groups_of(routes: Iterable[Route]) -> list[tuple[Code, ...]]:
    """Return the distinct groups of codes that share a status in some route; each group is one response."""
    return sorted({group for route in routes for group in by_status(route).values()}, key=name_of)


def by_status(route: Route) -> dict[int, tuple[Code, ...]]:
    """Return the error codes of a route by HTTP status, in the order of `Code`."""
    codes = codes_of(route)
    return {
        status: tuple(code for code in Code if code in codes and code.status == status)
        for status in sorted({code.status for code in codes})
    }


def name_of(codes: tuple[Code, ...]) -> str:
    """Return the component name of the response for these codes."""
    return "-or-".join(code.name for code in codes)


def response_to(codes: tuple[Code, ...], schemas: Json) -> Json:
    """Build the response for these codes: one schema, or a choice if some codes carry further fields.

    The example is of the first code.
    """
    by_shape: dict[type[Problem], list[str]] = {}
    for code in codes:
        by_shape.setdefault(SHAPES.get(code, Problem), []).append(code.name)
    choices = [
        {"$ref": SCHEMA.format(name=shape.__name__), "properties": {"error": {"enum": names}}}
        for shape, names in by_shape.items()
    ]
    headers = dict(ALWAYS)
    if Code.UNAUTHENTICATED in codes:
        headers |= header_refs("WWW-Authenticate")
    if any(code in RETRY_AFTER_SECONDS or SHAPES.get(code) is HurriedProblem for code in codes):
        headers |= header_refs("Retry-After")
    return {
        "description": "; ".join(f"{code.title} (`{code.name}`)" for code in codes),
        "headers": headers,
        "content": {
            PROBLEM: {
                "schema": choices[0] if len(choices) == 1 else {"anyOf": choices},
                "example": _example(codes[0], schemas),
            }
        },
    }


def _example(code: Code, schemas: Json) -> Json:
    example: Json = example_of(schemas[SHAPES.get(code, Problem).__name__], schemas)
    return example | {"title": code.title, "status": code.status, "error": code.name}


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An error (RFC 9457). `error` is the stable code, `message` a text for people, `requestId` finds it in the log."""

    type: str
    title: str
    status: int
    detail: str
    error: Annotated[str, msgspec.Meta(extra_json_schema={"enum": [code.name for code in Code]})]
    message: str
    request_id: str


class UnfitField(msgspec.Struct, frozen=True):
    """An invalid field, parameter or header, and the reason."""

    field: str
    reason: str


class UnfitProblem(Problem, frozen=True, kw_only=True):
    """The request is invalid; `errors` names the invalid fields, at most 20."""

    errors: list[UnfitField]


class UnknownParameterProblem(Problem, frozen=True, kw_only=True):
    """The route has no such query parameter; its name, and the names of the parameters that the route has."""

    parameter: str
    parameters: list[str]


class ShortProblem(Problem, frozen=True, kw_only=True):
    """The tokens do not suffice: the required number, the present balance, and the difference."""

    required: int
    current: int
    shortfall: int


class SpentProblem(Problem, frozen=True, kw_only=True):
    """The payment exceeds the user's own daily limit: the limit, the spent part of it, and the time of its reset."""

    limit: int
    spent: int
    resets_at: str


class HurriedProblem(Problem, frozen=True, kw_only=True):
    """The request came too early; the wait in seconds, as in `Retry-After`."""

    retry_after_seconds: int


class RateProblem(Problem, frozen=True, kw_only=True):
    """The creator's rate is another one than expected; the present rate."""

    rate_tokens_per_min: int


SHAPES: dict[Code, type[Problem]] = {
    Code.VALIDATION_FAILED: UnfitProblem,
    Code.UNKNOWN_PARAMETER: UnknownParameterProblem,
    Code.INSUFFICIENT_TOKENS: ShortProblem,
    Code.SPEND_LIMIT: SpentProblem,
    Code.RATE_LIMITED: HurriedProblem,
    Code.RING_COOLDOWN: HurriedProblem,
    Code.RATE_CHANGED: RateProblem,
}


# References


def header_refs(*names: str) -> Json:
    """Return references to these headers of the document."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


ALWAYS = header_refs("X-Request-Id", "RateLimit", "RateLimit-Policy")
