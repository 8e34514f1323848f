"""Handles errors that no asyncio caller receives: a future that is never retrieved, a callback that raises.

The default handler of trio-asyncio raises them into the nursery of its loop, which ends every task that uses the loop:
the actor, the rooms, the connections. No such error justifies that. A task that uses the broken connection receives an
error from the connection itself, since the connection closes.
"""

from collections.abc import Mapping
from typing import Any

import structlog

MAX_KINDS = 32  # kinds that are logged, each once; repeats are only counted, so that they do not fill the log

log = structlog.get_logger(__name__)


class UnhandledErrors:
    """The exception handler of an event loop: counts every error, logs the first of each kind, and never raises.

    It may be called in any thread, since a future reports its error when the garbage collector frees it.
    """

    def __init__(self) -> None:
        self.count = 0
        self._seen: set[tuple[str, str]] = set()

    def __call__(self, loop: object, context: Mapping[str, Any]) -> None:
        """Count the error and log the first of its kind; `context` holds a `message` and often an `exception`."""
        self.count += 1
        try:
            self._log_first(context)
        except Exception:  # reason: raising here would end the loop, which this handler must prevent
            self.count += 1

    def _log_first(self, context: Mapping[str, Any]) -> None:
        error = context.get("exception")
        kind = (str(context.get("message", ""))[:80], type(error).__name__)
        if kind in self._seen or len(self._seen) >= MAX_KINDS:
            return
        self._seen.add(kind)
        log.error("asyncio.unhandled", message=kind[0], exc_info=error if isinstance(error, BaseException) else None)
