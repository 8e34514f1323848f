"""Log lines that a test has captured."""

from collections.abc import Iterable, Mapping
from typing import Any

EXPECTED_LEVELS = ("debug", "info")
STALLED = "server.stalled"


def complaints(lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the lines above the level info, without those about stalls: a busy machine may stall any server."""
    return [line for line in lines if line["log_level"] not in EXPECTED_LEVELS and line["event"] != STALLED]
