"""The prose of the OpenAPI document: the rules that apply to every route."""

from typing import Any

INTRODUCTION = """\
Setup, purchases and lists of past events; frequent commands and events use the websocket, which \
`GET /api/asyncapi.json` describes.

Keys are camelCase; fields that are not known are ignored, on both sides. Times are RFC 3339 in UTC with milliseconds, \
token amounts are whole integers, ids are UUIDs. A body is one JSON object of at most 64 KiB, of a \
payment provider's event 1 MiB; `"5"` and `5.0` are no integers, and a key that occurs twice is refused.

**Every error** is `application/problem+json` (RFC 9457) in one shape; `error` names it. A path that does not exist is \
`NOT_FOUND`, a method that a path does not serve is `METHOD_NOT_ALLOWED`. HEAD is served where GET is.

**Idempotency.** A request with an `Idempotency-Key` is carried out once: the same key again, over HTTP or over the \
websocket, returns the first result and moves nothing, whatever the present state is. A refusal is not stored.

**Lists** are newest first. `Link: rel="next"` leads to the next page by a cursor, so that new rows don't shift it.

**Rate limits.** Every answer carries `RateLimit-Policy` and `RateLimit`; beyond them it is `RATE_LIMITED`, with \
`Retry-After`. Probes (`/healthz`, `/readyz`, `/metrics`) have a limit of their own. Webhooks are limited only where \
their secret or signature is wrong; where it is right, the answer carries no limit.

`X-Request-Id` names a request in our logs. With a `traceparent` header (W3C Trace Context), it is the trace id.\
"""

SERVER = "The server that sent this document."
DONE = "Done."
PLAIN = "The document itself."

BEARER: dict[str, Any] = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "`sub` is the user's id; `operator` marks routes for users whose token has the operator claim.",
}

KEY = "The request is carried out once under this key; bare, or a quoted string (RFC 8941) for the same key."

PARAMETERS = {
    "limit": "The maximum number of items.",
    "offset": "The number of items to skip; not with `before`.",
    "before": 'The cursor of a `Link: rel="next"`.',
    "from": "The start of the period, inclusive.",
    "to": "The end of the period, exclusive.",
    "tz": "The IANA time zone of the days, such as `Europe/Berlin`; abbreviations are refused.",
}

HEADERS = {
    "X-Request-Id": "The id of this request in the server's logs.",
    "RateLimit-Policy": 'The limits: `"name";q=requests;w=seconds`, for each limit that counts this request.',
    "RateLimit": 'The rest of each limit: `"name";r=requests;t=seconds`, with the seconds until there is more.',
    "Retry-After": "Seconds to wait before the next request.",
    "WWW-Authenticate": "Whether the token is missing, invalid or expired (RFC 6750).",
    "Link": "The next page, or the successor of a deprecated route (RFC 8288).",
    "Deprecation": "The time since which the route is deprecated (RFC 9745).",
    "Sunset": "The time at which the route will be removed (RFC 8594).",
}
