"""CORS: scripts of the configured origins may call the API, with a token of their own and without cookies.

The rules are those of https://fetch.spec.whatwg.org/#http-cors-protocol. Without `http.allowed_origins` no header is
sent, and browsers refuse scripts of other origins.
"""

from collections.abc import Sequence

from quart import Request
from werkzeug.exceptions import MethodNotAllowed

from server.rest.http.quart_app import BufferedResponse
from server.rest.responses import no_content

KEPT_SECONDS = 600  # for which a browser caches a preflight answer
ASKED_WITH = "Authorization, Content-Type, Idempotency-Key, Traceparent"  # request headers that scripts may set
READABLE = (  # by scripts
    "Content-Disposition, Deprecation, Export-Through, Link, RateLimit, RateLimit-Policy, Retry-After, Sunset,"
    " WWW-Authenticate, X-Request-Id"
)


def preflight(request: Request, origins: Sequence[str]) -> BufferedResponse | None:
    """Answer a preflight request of an allowed origin; return None for any other request.

    A preflight is an OPTIONS request that Quart has refused, since no route serves OPTIONS. The refusal knows the
    methods of the path. One for an unknown path is answered as any unknown path is.
    """
    refused = request.routing_exception
    is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    if not is_preflight or request.headers.get("Origin") not in origins or not isinstance(refused, MethodNotAllowed):
        return None
    response = no_content()
    response.headers["Access-Control-Allow-Methods"] = ", ".join(sorted(refused.valid_methods or ()))
    response.headers["Access-Control-Allow-Headers"] = ASKED_WITH
    response.headers["Access-Control-Max-Age"] = str(KEPT_SECONDS)
    return response


def cross_origin(request: Request, origins: Sequence[str]) -> dict[str, str]:
    """Return the headers that let scripts of an allowed origin read the answer; credentials are never allowed."""
    if not origins:
        return {}
    origin = request.headers.get("Origin", "")
    if origin not in origins:
        return {"Vary": "Origin"}
    return {"Vary": "Origin", "Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": READABLE}
