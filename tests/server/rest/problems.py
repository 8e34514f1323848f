"""The one shape of every error response (contract.md, Errors)."""

from typing import Any
from uuid import UUID

import httpx

SOMEBODY = UUID("01890000-0000-7000-8000-000000000000")
AT_HOME = {"title", "status", "detail", "error", "message", "type", "requestId"}


def check(answer: httpx.Response, status: int, error: str) -> dict[str, Any]:
    """Check that a response is this problem, in the shape of every other, and return its fields."""
    fields: dict[str, Any] = answer.json()
    assert (answer.status_code, fields["error"]) == (status, error), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert fields["type"] == "about:blank"
    assert fields["status"] == status
    assert fields["detail"] == fields["message"] != ""
    assert fields["title"] != ""
    assert fields["requestId"] == answer.headers["X-Request-Id"]
    assert fields.keys() >= AT_HOME
    return fields
