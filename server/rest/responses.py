"""Builds HTTP responses: JSON, plain text, no content, or the problem document of an error.

Exceptions become refusals here, in one place, so that a handler raises or returns them without regard to HTTP.
"""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any, NamedTuple, overload

import msgspec
from werkzeug.exceptions import HTTPException

from domain.instant import rfc3339_of
from domain.refusals import Code, Refusal, unfit
from server.access.rate_limits import RateLimitsUnavailable
from server.access.tokens import TokenRefused
from server.problems import problem
from server.rest.http.quart_app import BufferedResponse, StaticResponse, StreamedResponse
from server.rest.strict_json import FieldError, InvalidRequest
from storage.database_errors import StorageUnavailable
from storage.paging import BadCursor

# The wait that clients are asked for where the refusal itself has none.
RETRY_AFTER_SECONDS = {
    Code.STORAGE_UNAVAILABLE: 2,
    Code.PAYMENTS_UNAVAILABLE: 30,
    Code.OVERLOADED: 1,
    Code.ROOM_STARTING: 1,
    Code.DRAINING: 5,
}


@overload
def time_text(moment: datetime) -> str: ...
@overload
def time_text(moment: datetime | None) -> str | None: ...
def time_text(moment: datetime | None) -> str | None:
    """Return a time of the database as RFC 3339 text in UTC with milliseconds, or None for None."""
    return None if moment is None else rfc3339_of(moment)


class Plain(NamedTuple):
    """An answer that is sent as it is: a page, the metrics, or a document that is JSON already."""

    body: bytes
    content_type: str


class Static(NamedTuple):
    """An answer that is a file: its content as it is, and compressed with gzip."""

    body: bytes
    gzipped: bytes
    content_type: str


class NotModified:
    """The answer 304: the client has the content already (RFC 9110 §15.4.5)."""


class Streamed(NamedTuple):
    """An answer that is made while it is sent: `first`, and then all that `rest` yields."""

    first: bytes
    rest: AsyncGenerator[bytes, None]
    content_type: str


def no_content(status: int = 204) -> BufferedResponse:
    """Return a 204 or 304, without Content-Length and Content-Type (RFC 9110 §8.6 and §8.3)."""
    answer = BufferedResponse(b"", status, "")
    del answer.headers["Content-Length"], answer.headers["Content-Type"]
    return answer


def answered(result: Any, status: int) -> BufferedResponse:
    """Return the response of a handler's result: bytes as they are, anything else as JSON."""
    if isinstance(result, Streamed):
        return StreamedResponse(result.first, result.rest, status, result.content_type)
    if isinstance(result, Static):
        return StaticResponse(result.body, result.gzipped, status, result.content_type)
    if isinstance(result, NotModified):
        return no_content(304)
    if isinstance(result, Plain):
        return BufferedResponse(result.body, status, result.content_type)
    return BufferedResponse(_encode(result), status, "application/json")


def refused(refusal: Refusal, request_id: str) -> BufferedResponse:
    """Return the problem document (RFC 9457) of a refusal, with the fields of older clients on its top level.

    Adds `Retry-After` where the refusal or its code has a wait. `request_id` finds the request in the log.
    """
    fields = {"type": "about:blank", **problem(refusal), "requestId": request_id}
    response = BufferedResponse(_encode(fields), refusal.code.status, "application/problem+json")
    wait = refusal.details.get("retryAfterSeconds", RETRY_AFTER_SECONDS.get(refusal.code))
    if wait is not None:
        response.headers["Retry-After"] = str(wait)
    return response


def challenge(error: TokenRefused) -> str:
    """Return the `WWW-Authenticate` header (RFC 6750 §3): a missing, invalid or expired token."""
    return f'Bearer error="invalid_token", error_description="{error.description}"'


def refusal_of(error: Exception) -> Refusal | None:
    """Return the refusal that an exception means to the client, or None for an unexpected exception."""
    match error:
        case TokenRefused():
            return Refusal(Code.UNAUTHENTICATED, error.description.capitalize())
        case InvalidRequest():
            return invalid(*error.errors)
        case BadCursor():
            return invalid(FieldError("before", "is not a cursor of this server"))
        case RateLimitsUnavailable():
            return Refusal(Code.OVERLOADED, "The server cannot count requests right now; try again")
        case StorageUnavailable():
            return Refusal(Code.STORAGE_UNAVAILABLE, "The database is out of reach; try again")
        case HTTPException():
            return _HTTP_REFUSALS.get(error.code or 500)
    return None


def invalid(*errors: FieldError) -> Refusal:
    """Return VALIDATION_FAILED with the name of each field and the reason."""
    return unfit(*errors)


_HTTP_REFUSALS = {
    400: invalid(FieldError("request", "is malformed")),
    404: Refusal(Code.NOT_FOUND, "No such path"),
    405: Refusal(Code.METHOD_NOT_ALLOWED, "This path does not serve this method"),
    408: invalid(FieldError("body", "did not arrive in time")),
    413: Refusal(Code.PAYLOAD_TOO_LARGE, "The body has too many bytes"),
}

_encode = msgspec.json.Encoder().encode
