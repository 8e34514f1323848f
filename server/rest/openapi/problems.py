"""Every no that a route may answer, as the OpenAPI document has it: grouped by status, each in its shape."""

from collections.abc import Iterable
from typing import Annotated

import msgspec

from domain.refusals import Code
from server.gateway.asyncapi.document_parts import Json
from server.rest.responses import RETRY_AFTER_SECONDS
from server.rest.route import Needs, Route
from server.sessions.bans import ALLOWED_WHEN_BANNED

PROBLEM = "application/problem+json"
READING = ("GET", "HEAD")  # of other methods a body is read, also where none is wanted
SCHEMA = "#/components/schemas/{name}"


def codes_of(route: Route) -> set[Code]:
    """Every error that the route may answer: what its handler refuses, and what is refused before it is asked."""
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
    if route.takes_key:
        codes.add(Code.IDEMPOTENCY_CONFLICT)
    if route.parameters:
        codes.add(Code.NOT_FOUND)
    return codes


def responses_of(route: Route) -> Json:
    """By status, where each of these errors is described."""
    return {
        str(status): {"$ref": f"#/components/responses/{name_of(group)}"} for status, group in by_status(route).items()
    }


def groups_of(routes: Iterable[Route]) -> list[tuple[Code, ...]]:
    """Which errors come under one status, for all routes; each group is one response."""
    return sorted({group for route in routes for group in by_status(route).values()}, key=name_of)


def by_status(route: Route) -> dict[int, tuple[Code, ...]]:
    codes = codes_of(route)
    return {
        status: tuple(code for code in Code if code in codes and code.status == status)
        for status in sorted({code.status for code in codes})
    }


def name_of(codes: tuple[Code, ...]) -> str:
    """Of the response that these share."""
    return "-or-".join(code.name for code in codes)


def response_to(codes: tuple[Code, ...]) -> Json:
    """What is answered when it is one of these."""
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
        "content": {PROBLEM: {"schema": choices[0] if len(choices) == 1 else {"anyOf": choices}}},
    }


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Why not (RFC 9457): `error` is for programs, `message` for people, `requestId` for who runs the server."""

    type: str
    title: str
    status: int
    detail: str
    error: Annotated[str, msgspec.Meta(extra_json_schema={"enum": [code.name for code in Code]})]
    message: str
    request_id: str


class UnfitField(msgspec.Struct, frozen=True):
    """A field, parameter or header that does not fit, and why."""

    field: str
    reason: str


class UnfitProblem(Problem, frozen=True, kw_only=True):
    """The request does not fit; every field that does not is listed."""

    errors: list[UnfitField]


class ShortProblem(Problem, frozen=True, kw_only=True):
    """How many tokens are needed, and how many are there."""

    required: int
    current: int
    shortfall: int


class SpentProblem(Problem, frozen=True, kw_only=True):
    """The user's own daily limit, what is spent of it, and when it begins anew."""

    limit: int
    spent: int
    resets_at: str


class HurriedProblem(Problem, frozen=True, kw_only=True):
    """How long to wait, as in `Retry-After`, in seconds."""

    retry_after_seconds: int


class RateProblem(Problem, frozen=True, kw_only=True):
    """What the creator takes now."""

    rate_tokens_per_min: int


SHAPES: dict[Code, type[Problem]] = {
    Code.VALIDATION_FAILED: UnfitProblem,
    Code.INSUFFICIENT_TOKENS: ShortProblem,
    Code.SPEND_LIMIT: SpentProblem,
    Code.RATE_LIMITED: HurriedProblem,
    Code.RING_COOLDOWN: HurriedProblem,
    Code.RATE_CHANGED: RateProblem,
}


# References


def header_refs(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


ALWAYS = header_refs("X-Request-Id", "RateLimit", "RateLimit-Policy")
