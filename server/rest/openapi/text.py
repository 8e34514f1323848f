"""What the OpenAPI document says in words: the rules that hold for every route."""

from typing import Any

INTRODUCTION = """\
Setting up, paying in and looking back; what happens many times a minute goes over the websocket, which \
`GET /api/asyncapi.json` describes.

Keys are camelCase; fields that are not known are ignored, on both sides. Times are RFC 3339 in UTC with milliseconds, \
token amounts are whole integers, ids are UUIDs. A body is one JSON object of at most 64 KiB, of a \
payment provider's event 1 MiB; `"5"` and `5.0` are no integers, and a key that occurs twice is refused.

**Every no** is `application/problem+json` (RFC 9457) in one shape; `error` names it. A path that does not exist is \
`NOT_FOUND`, a method that a path does not serve is `METHOD_NOT_ALLOWED`. HEAD is served where GET is.

**Once.** A request with an `Idempotency-Key` is carried out once: the same key again, over HTTP or over the \
websocket, returns the first result and moves nothing, whatever state things are in by then. A refusal is not \
remembered.

**Lists** are newest first. `Link: rel="next"` leads to the next page by a cursor, so that new rows don't shift it.

**Not too fast.** Every answer carries `RateLimit-Policy` and `RateLimit`; past them it is `RATE_LIMITED`, with \
`Retry-After`. Probes (`/healthz`, `/readyz`, `/metrics`) have a limit of their own. Webhooks are limited only where \
their secret or signature is wrong; where it is right, the answer carries no limit.

`X-Request-Id` names a request in our logs. Who sends `traceparent` (W3C Trace Context) finds its trace id there.\
"""

SERVER = "Where this document came from."
DONE = "Done."
PLAIN = "As it is."

BEARER: dict[str, Any] = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "`sub` is the user's id; `operator` marks what is for users whose token says that they are one.",
}

KEY = "Under which this is carried out once; bare, or a quoted string (RFC 8941), which is the same key."

PARAMETERS = {
    "limit": "How many at most.",
    "offset": "How many to pass over; not with `before`.",
    "before": 'The cursor of a `Link: rel="next"`.',
    "from": "From this moment on.",
    "to": "Until before this moment.",
    "tz": "The IANA time zone whose days are meant, such as `Europe/Berlin`; abbreviations are refused.",
}

HEADERS = {
    "X-Request-Id": "Names this request in our logs.",
    "RateLimit-Policy": 'How much is allowed: `"name";q=requests;w=seconds`, for each limit that counts this request.',
    "RateLimit": 'How much of it is left: `"name";r=requests;t=seconds`, with the seconds until there is more.',
    "Retry-After": "Seconds to wait before asking again.",
    "WWW-Authenticate": "Whether it was no token, a bad one or an expired one (RFC 6750).",
    "Link": "The next page, or the route that comes after this one (RFC 8288).",
    "Deprecation": "Since when this route should not be used (RFC 9745).",
    "Sunset": "Until when it works (RFC 8594).",
}
