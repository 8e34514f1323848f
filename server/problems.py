"""The one shape of every error: RFC 9457, with the fields of older clients at the top level (contract.md, Errors)."""

from typing import Any

from domain.refusals import Refusal


def problem(refusal: Refusal) -> dict[str, Any]:
    """The fields of a refusal that HTTP problem bodies and websocket `error` messages share.

    `title`, `status` and `detail` are those of RFC 9457; `error` is the stable code, and `message` repeats `detail`.
    The refusal's details follow as members of their own, such as `required` and `shortfall` (contract.md, Errors).
    """
    return {
        "title": refusal.code.title,
        "status": refusal.code.status,
        "detail": refusal.message,
        "error": refusal.code.name,
        "message": refusal.message,
        **refusal.details,
    }
