"""The contained faults as tests read them: the metric, and the lines in the log."""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog
import trio

from server.context import Context
from tests.support.clients import PATIENCE_SECONDS


class PlantedFault(Exception):
    """Raised by a test in place of a real bug."""


def faults_at(context: Context, where: str) -> int:
    """Return the number of faults that the metric counts for this origin."""
    for line in context.metrics.exposition().decode().splitlines():
        if line.startswith(f'halfminute_faults_total{{where="{where}"}}'):
            return int(float(line.split()[-1]))
    raise AssertionError(f"no such label: {where}")


class Errors(list[Any]):
    """The log lines at level error, in order."""

    def __init__(self) -> None:
        super().__init__()
        self._more = trio.Event()

    def append(self, line: Any) -> None:
        super().append(line)
        self._more.set()
        self._more = trio.Event()

    async def wait(self, lines: int) -> None:
        """Wait until there are `count` lines."""
        with trio.fail_after(PATIENCE_SECONDS):
            while len(self) < lines:
                await self._more.wait()

    @property
    def events(self) -> list[str]:
        return [line["event"] for line in self]


@contextmanager
def errors_logged() -> Iterator[Errors]:
    """Collect the log lines at level error that are written inside the context."""
    errors = Errors()

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
