"""Answers: JSON, plain text, or a problem in the one shape that every no has."""

from typing import Any, NamedTuple

import msgspec
from quart import Response
from werkzeug.exceptions import HTTPException

from domain.refusals import Code, Refusal, unfit
from server.auth import TokenRefused
from server.limits import LimitsAway
from server.problems import problem
from server.rest.strict_json import FieldError, Misfit
from storage.paging import BadCursor
from storage.postgres import StorageUnavailable

RETRY_AFTER_SECONDS = {
    Code.STORAGE_UNAVAILABLE: 2,
    Code.PAYMENTS_UNAVAILABLE: 30,
    Code.OVERLOADED: 1,
    Code.DRAINING: 5,
}


class Plain(NamedTuple):
    """An answer that is not JSON."""

    body: bytes
    content_type: str


def answered(result: Any, status: int) -> Response:
    if isinstance(result, Plain):
        return Response(result.body, status, content_type=result.content_type)
    return Response(_encode(result), status, content_type="application/json")


def refused(refusal: Refusal, request_id: str) -> Response:
    """RFC 9457, with the older clients' fields kept on top level."""
    fields = {"type": "about:blank", **problem(refusal), "requestId": request_id}
    response = Response(_encode(fields), refusal.code.status, content_type="application/problem+json")
    wait = refusal.details.get("retryAfterSeconds", RETRY_AFTER_SECONDS.get(refusal.code))
    if wait is not None:
        response.headers["Retry-After"] = str(wait)
    return response


def challenge(error: TokenRefused) -> str:
    """RFC 6750 §3: whether it was no token, a bad one or an expired one."""
    return f'Bearer error="invalid_token", error_description="{error.description}"'


def refusal_of(error: Exception) -> Refusal | None:
    """The no that an error means to a client; None for a fault of ours."""
    match error:
        case TokenRefused():
            return Refusal(Code.UNAUTHENTICATED, error.description.capitalize())
        case Misfit():
            return invalid(*error.errors)
        case BadCursor():
            return invalid(FieldError("before", "is no cursor of ours"))
        case LimitsAway():
            return Refusal(Code.OVERLOADED, "The server cannot count requests right now; try again")
        case StorageUnavailable():
            return Refusal(Code.STORAGE_UNAVAILABLE, "The database is out of reach; try again")
        case HTTPException():
            return _HTTP_REFUSALS.get(error.code or 500)
    return None


def invalid(*errors: FieldError) -> Refusal:
    """VALIDATION_FAILED, with each field and why."""
    return unfit(*errors)


_HTTP_REFUSALS = {
    400: invalid(FieldError("request", "is malformed")),
    404: Refusal(Code.NOT_FOUND, "No such path"),
    405: Refusal(Code.METHOD_NOT_ALLOWED, "This path does not serve this method"),
    408: invalid(FieldError("body", "did not arrive in time")),
    413: Refusal(Code.PAYLOAD_TOO_LARGE, "The body has too many bytes"),
}

_encode = msgspec.json.Encoder().encode
