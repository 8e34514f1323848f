"""Every error has one shape: RFC 9457, with the fields that older clients read at the top level (CONTRACT §2)."""

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
