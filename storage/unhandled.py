"""Errors that asyncio has nobody to report to: a future that is never retrieved, a callback that raises.

trio-asyncio's own handler raises them into the nursery of its loop, and so ends everything that stands on it: the
actor, every room, every connection. None of them is worth that. Whoever needed the connection that an error belongs to
is told by that connection, since it closes.
"""

from collections.abc import Mapping
from typing import Any

import structlog

MAX_KINDS = 32  # that are logged, each once; a fault that comes again is counted, and does not fill the log

log = structlog.get_logger(__name__)


class UnhandledErrors:
    """The exception handler of an event loop: counts every error, logs the first of each kind, and never raises.

    It may be called in any thread, since a future reports its error when it is collected as garbage.
    """

    def __init__(self) -> None:
        self.count = 0
        self._seen: set[tuple[str, str]] = set()

    def __call__(self, loop: object, context: Mapping[str, Any]) -> None:
        """`context` is what asyncio knows of the error: a `message`, and often an `exception`."""
        self.count += 1
        try:
            self._log_first(context)
        except Exception:  # reason: raising here would do what this handler is there to prevent
            self.count += 1

    def _log_first(self, context: Mapping[str, Any]) -> None:
        error = context.get("exception")
        kind = (str(context.get("message", ""))[:80], type(error).__name__)
        if kind in self._seen or len(self._seen) >= MAX_KINDS:
            return
        self._seen.add(kind)
        log.error("asyncio.unhandled", message=kind[0], exc_info=error if isinstance(error, BaseException) else None)
