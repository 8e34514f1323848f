"""One shape for every no: RFC 9457, with the older clients' fields kept on top level (CONTRACT §2)."""

from typing import Any

from domain.refusals import Refusal


def problem(refusal: Refusal) -> dict[str, Any]:
    """The fields that HTTP answers and websocket errors share."""
    return {
        "title": refusal.code.title,
        "status": refusal.code.status,
        "detail": refusal.message,
        "error": refusal.code.name,
        "message": refusal.message,
        **refusal.details,
    }
