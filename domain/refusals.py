"""Every refusal of a request: its code, HTTP status and title (contract.md, Errors).

A refusal is a value, not an exception.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Any

import msgspec


class Code(Enum):
    """The values of the field `error`, each with its HTTP status and its title."""

    VALIDATION_FAILED = (400, "The request does not fit")
    INSUFFICIENT_TOKENS = (400, "Not enough tokens")
    UNKNOWN_PARAMETER = (400, "There is no such parameter")
    SELF_PAYMENT = (400, "Nobody can pay themselves")
    UNAUTHENTICATED = (401, "A valid token is needed")
    FORBIDDEN = (403, "Not allowed")
    UNAUTHORIZED = (403, "Wrong billing secret")
    NOT_FOUND = (404, "Not found")
    METHOD_NOT_ALLOWED = (405, "This method is not served here")
    NOT_A_CREATOR = (409, "Not a creator")
    CREATOR_UNAVAILABLE = (409, "The creator is not available")
    CREATOR_BUSY = (409, "The creator is busy")
    ALREADY_IN_CALL = (409, "Already in a call")
    RING_COOLDOWN = (409, "Too soon to ring again")
    NOT_PRESENT = (409, "Not present")
    RATE_CHANGED = (409, "The creator's rate has changed")
    CALL_NOT_ACTIVE = (409, "The call is not active")
    CALL_ENDED = (409, "The call has ended")
    STREAM_NOT_LIVE = (409, "The stream is not live")
    STREAM_ENDED = (409, "The stream has ended")
    ALREADY_PURCHASED = (409, "Bought already")
    ALREADY_LIVE = (409, "Already live")
    PAYOUT_SETTLED = (409, "The payout is settled already")
    PAYOUT_CHANGED = (409, "The payout was reduced")
    PAYMENT_SETTLED = (409, "The payment is settled already")
    SPEND_LIMIT = (409, "The daily spending limit is reached")
    LOSSES_LIMIT = (409, "The daily limit of advances is reached")
    PAYLOAD_TOO_LARGE = (413, "The body is too large")
    IDEMPOTENCY_CONFLICT = (422, "The key was used for something else")
    RATE_LIMITED = (429, "Too many requests")
    INTERNAL = (500, "Something went wrong here")
    STORAGE_UNAVAILABLE = (503, "The database cannot be reached")
    PAYMENTS_UNAVAILABLE = (503, "Nothing can be bought now")
    OVERLOADED = (503, "Too much to do")
    ROOM_STARTING = (503, "The room is starting")
    DRAINING = (503, "Shutting down")

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.value[0]

    @property
    def title(self) -> str:
        """The title of the `application/problem+json` body."""
        return self.value[1]


class Refusal(msgspec.Struct, frozen=True):
    """A refused request: the code, a message for a person, and details that let the client do better."""

    code: Code
    message: str
    details: dict[str, Any] = {}


MAX_NAME = 200  # characters of a name that a client made up, as of every value in a problem


def unknown_parameter(name: str, known: Sequence[str]) -> Refusal:
    """Return UNKNOWN_PARAMETER; the route has the query parameters `known`, but not `name`."""
    name = name[:MAX_NAME]
    others = f"it takes {', '.join(known)}" if known else "it takes none"
    message = f"This route has no query parameter {name}; {others}"
    return Refusal(Code.UNKNOWN_PARAMETER, message, {"parameter": name, "parameters": list(known)})


def room_starting(retry_after_seconds: int = 1) -> Refusal:
    """Return ROOM_STARTING: a server is adopting the room from its database rows, or restarts it after a fault."""
    return Refusal(
        Code.ROOM_STARTING,
        "The room is starting again; try again in a moment",
        {"retryAfterSeconds": retry_after_seconds},
    )


def spend_limit(limit: int, spent: int, resets_at: str) -> Refusal:
    """Return SPEND_LIMIT; `spent` of `limit` tokens are spent on the day that ends at `resets_at`."""
    message = f"Of the {limit} tokens that you allow yourself a day, {spent} are spent"
    return Refusal(Code.SPEND_LIMIT, message, {"limit": limit, "spent": spent, "resetsAt": resets_at})


def ring_cooldown(wait_seconds: int) -> Refusal:
    """Return RING_COOLDOWN; this fan may ring this creator again after `wait_seconds`."""
    message = f"The creator did not take your last calls; wait {wait_seconds} s"
    return Refusal(Code.RING_COOLDOWN, message, {"retryAfterSeconds": wait_seconds})


def rate_changed(rate_tokens_per_min: int) -> Refusal:
    """Return RATE_CHANGED; the creator's rate is now `rate_tokens_per_min`."""
    message = f"The creator takes {rate_tokens_per_min} tokens a minute now"
    return Refusal(Code.RATE_CHANGED, message, {"rateTokensPerMin": rate_tokens_per_min})


FROZEN = Refusal(Code.FORBIDDEN, "This wallet is frozen until a refund or chargeback is cleared up")
DRAINING = Refusal(Code.DRAINING, "The server is shutting down")
KEY_IN_USE = Refusal(Code.IDEMPOTENCY_CONFLICT, "This key was used for something else")


def losses_limit(missing: int, limit: int) -> Refusal:
    """Return LOSSES_LIMIT.

    `missing` tokens would have to be advanced by the wallet `losses`, which may advance `limit` tokens in a UTC day.
    """
    message = f"{missing} tokens would have to be advanced, beyond the {limit} of a day; ask again with confirm"
    return Refusal(Code.LOSSES_LIMIT, message, {"missing": missing, "limit": limit})


def insufficient_tokens(required: int, current: int, purpose: str) -> Refusal:
    """Return INSUFFICIENT_TOKENS; `purpose` completes the sentence "Need at least N tokens …"."""
    return Refusal(
        Code.INSUFFICIENT_TOKENS,
        f"Need at least {required} tokens {purpose}",
        {"required": required, "current": current, "shortfall": max(0, required - current)},
    )


def too_early(message: str, wait: int) -> Refusal:
    """Return RATE_LIMITED; `wait` is the time until a retry can succeed, in microseconds."""
    return Refusal(Code.RATE_LIMITED, message, {"retryAfterSeconds": max(0.001, round(wait / 1_000_000, 3))})


QUOTA_SECONDS = 60  # the retry time of a reached quota; only the user can free some of it


def quota_reached(message: str) -> Refusal:
    """Return RATE_LIMITED for a user who has as many of something as one may have; a 503 would blame the server."""
    return Refusal(Code.RATE_LIMITED, message, {"retryAfterSeconds": QUOTA_SECONDS})


MAX_ERRORS_BYTES = 4_000  # of a problem's `errors` as JSON
MAX_MESSAGE_BYTES = 1_500  # of the message made of them, which is sent twice, so that a problem stays below 8 KiB


def unfit(*errors: tuple[str, str]) -> Refusal:
    """Return VALIDATION_FAILED with each field and its fault.

    Faults beyond the size limit (contract.md, Errors) are left out.
    """
    listed: list[dict[str, str]] = []
    left = MAX_ERRORS_BYTES
    for field, reason in errors:
        error = {"field": field, "reason": reason}
        left -= len(msgspec.json.encode(error)) + 1
        if left < 0 and listed:
            break
        listed.append(error)
    message = "; ".join(f"{error['field']} {error['reason']}" for error in listed)
    return Refusal(Code.VALIDATION_FAILED, _cut(message, MAX_MESSAGE_BYTES), {"errors": listed})


def _cut(text: str, limit: int) -> str:
    """Shorten a text until its JSON has at most `limit` bytes."""
    while len(msgspec.json.encode(text)) > limit:
        text = text[: len(text) * 3 // 4] + "…"
    return text
