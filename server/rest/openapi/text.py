"""The prose of the OpenAPI document: the rules that apply to every route.

The texts are Markdown, of which `docs_page` renders `code` and **strong**.
"""

from typing import Any

INTRODUCTION = """\
These routes are for setup, purchases and lists of past events. Frequent commands and events use the websocket, which \
`GET /api/asyncapi.json` describes.

Keys are camelCase. Servers and clients ignore fields that they do not know. Times are RFC 3339 in UTC with \
milliseconds, token amounts are integers, ids are UUIDs. A body is one JSON object of at most 64 KiB; the event of a \
payment provider may have 1 MiB. `"5"` and `5.0` are no integers, and a body with a duplicate key is refused.

**Authentication.** Routes for users and operators take the header `Authorization: Bearer <token>`, where the token is \
a JWT of the identity provider.

**Every error** is `application/problem+json` (RFC 9457) in one shape, and `error` is its stable code. A path that \
does not exist is `NOT_FOUND`, a method that a path does not serve is `METHOD_NOT_ALLOWED`. HEAD is served where GET is.

**Idempotency.** A request with an `Idempotency-Key` is carried out once. The same request with the same key, over \
HTTP or over the websocket, returns the first result and moves nothing, whatever the present state is. A refusal is \
not stored.

**Lists** are newest first. `Link: rel="next"` leads to the next page by a cursor, so that new rows do not shift it.

**Rate limits.** Every answer carries `RateLimit-Policy` and `RateLimit`. A request beyond a limit is refused with \
`RATE_LIMITED` and `Retry-After`. Probes (`/healthz`, `/readyz`, `/metrics`) have a limit of their own. Webhooks are \
limited only if their secret or signature is wrong; if it is right, the answer carries no limit.

`X-Request-Id` identifies a request in the server's log. With a `traceparent` header (W3C Trace Context), it is the \
trace id.\
"""

SERVER = "The server that sent this document."
DONE = "Done."
PLAIN = "The document itself."

BEARER: dict[str, Any] = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "`Authorization: Bearer <token>`, where the token is a JWT whose `sub` is the user's id.",
}
OPERATOR = {**BEARER, "description": "The same, with a token that has the operator claim."}

# The headers by which services prove who they are, instead of a token.
PROOFS = {
    "X-Billing-Secret": "The secret that the server was started with, in `BILLING_WEBHOOK_SECRET`.",
    "Webhook-Id": "The id of the message, by Standard Webhooks.",
    "Webhook-Timestamp": "Unix seconds, at most five minutes old.",
    "Webhook-Signature": "`v1,` and base64 of the HMAC-SHA256 of id, timestamp and body, by Standard Webhooks.",
    "Stripe-Signature": "Stripe's signature of the event.",
}

KEY = "The request is carried out once under this key; bare, or a quoted string (RFC 8941) for the same key."

HEADERS = {
    "X-Request-Id": "The id of this request in the server's logs.",
    "RateLimit-Policy": 'The limits: `"name";q=requests;w=seconds`, for each limit that counts this request.',
    "RateLimit": 'Each limit: `"name";r=requests;t=seconds`, the requests left and the seconds until one more.',
    "Retry-After": "Seconds to wait before the next request.",
    "WWW-Authenticate": "Whether the token is missing, invalid or expired (RFC 6750).",
    "Content-Disposition": "The file name of an export in `ndjson` or `csv` (RFC 6266).",
    "Export-Through": "The end of the period of an export in `ndjson` or `csv`, as `through` in `json`.",
    "Link": "The next page, or the successor of a deprecated route (RFC 8288).",
    "Deprecation": "The time since which the route is deprecated (RFC 9745).",
    "Sunset": "The time at which the route will be removed (RFC 8594).",
}
