"""What tests read of contained faults: the counter, and the lines in the log."""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

from server.house import House


class PlantedFault(Exception):
    """Raised because a test wants it."""


def faults_at(house: House, where: str) -> int:
    """How many faults were counted there since the start."""
    for line in house.telemetry.exposition().decode().splitlines():
        if line.startswith(f'halfminute_faults_total{{where="{where}"}}'):
            return int(float(line.split()[-1]))
    raise AssertionError(f"no such label: {where}")


@contextmanager
def errors_logged() -> Iterator[list[Any]]:
    """The lines at level error that are written meanwhile."""
    errors: list[Any] = []

    def keep_errors(_: object, method: str, line: MutableMapping[str, Any]) -> Any:
        if method in ("error", "exception", "critical"):
            errors.append(dict(line))
        raise structlog.DropEvent

    before = structlog.get_config()["processors"]
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, keep_errors])
    try:
        yield errors
    finally:
        structlog.configure(processors=before)
