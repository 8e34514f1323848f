"""Which web pages' scripts may ask: those of the configured origins, and only with a token that they hold."""

from collections.abc import Sequence

from quart import Request
from werkzeug.exceptions import MethodNotAllowed

from server.rest.responses import Answer, no_content

KEPT_SECONDS = 600  # by a browser, before it asks again whether it may
ASKED_WITH = "Authorization, Content-Type, Idempotency-Key, Traceparent"
READABLE = (
    "Deprecation, Link, RateLimit, RateLimit-Policy, Retry-After, Sunset, WWW-Authenticate, X-Request-Id"  # by scripts
)


def preflight(request: Request, origins: Sequence[str]) -> Answer | None:
    """The answer to a browser that asks whether a script may ask; None if this is something else, or it may not."""
    refused = request.routing_exception
    asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    if not asks or request.headers.get("Origin") not in origins or not isinstance(refused, MethodNotAllowed):
        return None
    response = no_content()
    response.headers["Access-Control-Allow-Methods"] = ", ".join(sorted(refused.valid_methods or ()))
    response.headers["Access-Control-Allow-Headers"] = ASKED_WITH
    response.headers["Access-Control-Max-Age"] = str(KEPT_SECONDS)
    return response


def cross_origin(request: Request, origins: Sequence[str]) -> dict[str, str]:
    """The headers of an answer by which a browser lets a page's script read it; never with cookies."""
    if not origins:
        return {}
    origin = request.headers.get("Origin", "")
    if origin not in origins:
        return {"Vary": "Origin"}
    return {"Vary": "Origin", "Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": READABLE}
