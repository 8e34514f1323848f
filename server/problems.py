"""The one shape of every error: RFC 9457, with the fields of older clients at the top level (contract.md, Errors)."""

from typing import Any

from domain.refusals import Refusal


def problem(refusal: Refusal) -> dict[str, Any]:
    """The fields of a refusal that HTTP problem bodies and websocket `error` messages share."""
    return {
        "title": refusal.code.title,
        "status": refusal.code.status,
        "detail": refusal.message,
        "error": refusal.code.name,
        "message": refusal.message,
        **refusal.details,
    }
