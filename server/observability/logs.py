"""The log: one bounded line for each event on standard error, without secrets; logging neither blocks nor raises.

A line is JSON, or coloured text on a terminal, with the event's name, level, UTC timestamp and fields. Fields that were
bound with structlog's context variables, such as `connection`, are added to every event of that task.
"""

import json
import logging
import operator
import sys
import threading
from collections.abc import Callable, MutableMapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from server.observability.background_output import MAX_LINE_CHARACTERS, BackgroundStream, replace_standard_error
from server.observability.redaction import Redaction, Unredacted, shortened

# The server itself logs what these libraries report.
SILENCED = ("hypercorn", "trio-websocket", "quart", "asyncio", "asyncpg")

MAX_SHOWN_EXCEPTIONS = 20  # of one event: nurseries nest groups of one or two, and the first few explain the rest
DELETE = b"\x7f"  # which msgspec writes as it is, though terminals act on it
MAX_SHORT_CHARACTERS = 800  # of each field of a line that would be too long

Render = Callable[[Any, str, MutableMapping[str, Any]], str | bytes]

log = structlog.get_logger(__name__)


def configure_log(level: str, style: str, secret_words: Sequence[str] = ()) -> None:
    """Set up the log from `level` on; `style` is `console`, `json`, or `auto` for console on a terminal.

    Replaces `sys.stderr` by a BackgroundStream. Warnings, records of the standard library's `logging` and exceptions
    that Python only prints become log events too. `secret_words` are redacted everywhere.
    May be called again: the command line logs with defaults until the settings and secrets are read.
    """
    stream = replace_standard_error()
    pretty = style == "console" or (style == "auto" and stream.isatty())
    lines = Lines(structlog.dev.ConsoleRenderer() if pretty else render_json, secret_words)
    stream.set_notice(lambda dropped: lines.line_of("log.lines_dropped", "warning", lines=dropped))
    structlog.configure(
        processors=[lines],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_: _LineLogger(stream),
        cache_logger_on_first_use=False,
    )
    for library in SILENCED:
        logging.getLogger(library).setLevel(logging.CRITICAL)
    logging.raiseExceptions = False  # a record that cannot be formatted must not print a traceback to the same stream
    logging.getLogger().handlers = [_Forwarding()]
    logging.captureWarnings(True)
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_end_of_thread


def render_json(_logger: Any, _level: str, event: MutableMapping[str, Any]) -> str:
    """Render an event as JSON in ASCII. Raises what `json.dumps` raises."""
    try:  # msgspec first, which takes a quarter of the time and writes the same
        line = msgspec.json.format(msgspec.json.encode(event), indent=0)
    except (TypeError, ValueError, OverflowError):
        return json.dumps(event)
    return line.decode() if line.isascii() and DELETE not in line else json.dumps(event)


class Lines:
    """The structlog processor that renders an event as a line; it returns a line even if a step raises.

    It is the only processor, so that one `try` covers all steps: context, level, timestamp, traceback, redaction and
    rendering. A line that stays too long after its fields were cut is replaced by one with the event's name.
    """

    def __init__(self, render: Render, words: Sequence[str]) -> None:
        self._render = render
        self._redact = Redaction(words)

    def __call__(self, logger: Any, level: str, event: MutableMapping[str, Any]) -> str:
        name = event.get("event")
        try:
            event = structlog.contextvars.merge_contextvars(logger, level, event)
            event = structlog.processors.add_log_level(logger, level, event)
            event["timestamp"] = Unredacted(_now())
            event = structlog.processors.format_exc_info(logger, level, _with_small_groups(event))
            event = self._redact(logger, level, event)
            line = str(self._render(logger, level, dict(event)))
            if len(line) > MAX_LINE_CHARACTERS:  # many fields, or letters that JSON writes as six characters each
                line = str(self._render(logger, level, {field: _short(value) for field, value in event.items()}))
            if len(line) <= MAX_LINE_CHARACTERS:
                return line
            fault = f"the line has {len(line)} characters"
        except Exception as error:  # reason: a caller must not fail because it logs
            fault = type(error).__name__
        # Event names are constants of this program; other fields may hold secrets.
        return self.line_of(name if isinstance(name, str) else "log.unnamed", level, not_shown=fault)

    def line_of(self, event: str, level: str, **fields: Any) -> str:
        """Render an event whose fields are known to be short and without secrets. Raises nothing."""
        try:
            return str(self._render(None, level, {"level": level, "event": event, "timestamp": _now(), **fields}))
        except Exception:  # reason: as above
            return json.dumps({"event": event})


def _with_small_groups(event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Bound the cost of a traceback: the standard library formats every exception of every group, shown or not.

    A nursery with thousands of tasks that fail for one reason raises a group of thousands.
    """
    error = event.get("exc_info")
    if error and not isinstance(error, BaseException):
        error = error[1] if isinstance(error, tuple) else sys.exc_info()[1]
    if isinstance(error, BaseExceptionGroup):
        event["exc_info"] = _pruned(error, [MAX_SHOWN_EXCEPTIONS])
    return event


def _pruned(group: BaseExceptionGroup[BaseException], left: list[int]) -> BaseExceptionGroup[BaseException]:
    """Return the group with at most `left[0]` exceptions, and reduce `left[0]` by those kept."""
    kept: list[BaseException] = []
    for error in group.exceptions:
        left[0] -= 1
        if kept and left[0] < 0:
            break
        kept.append(_pruned(error, left) if isinstance(error, BaseExceptionGroup) else error)
    if len(kept) == len(group.exceptions) and all(map(operator.is_, kept, group.exceptions)):
        return group
    pruned = BaseExceptionGroup(f"{group.message} (the first {len(kept)} of {len(group.exceptions)})", kept)
    return pruned.with_traceback(group.__traceback__)


class _LineLogger:
    """The logger that structlog passes rendered lines to; all levels write to one stream."""

    def __init__(self, stream: BackgroundStream) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = self.exception = stream.write_line
        self.msg = self.log = self.warn = self.fatal = self.err = self.failure = stream.write_line


class _Forwarding(logging.Handler):
    """The root handler of the standard library's logging: converts records from WARNING on to log events."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Log the record. Its text goes into `said`: a field named `message` would be redacted as a user's."""
        try:
            text = record.getMessage()
        except Exception:  # reason: a library's format error must not raise in its caller
            text = record.msg
        level = min(record.levelno, logging.CRITICAL) // 10 * 10  # structlog knows no levels between the usual five
        log.log(level, "library.logged", logger=record.name, said=text, exc_info=record.exc_info)


def _log_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Log an exception that could not be raised, such as that of a finalizer."""
    error = unraisable.exc_value
    log.error("python.unraisable", said=unraisable.err_msg, where=_name(unraisable.object), exc_info=error)


def _log_end_of_thread(ended: threading.ExceptHookArgs) -> None:
    """Log an exception that ended a thread."""
    log.error("thread.ended", thread=ended.thread and ended.thread.name, exc_info=ended.exc_value)


def _short(value: Any) -> Any:
    return value if isinstance(value, bool | float | None) else shortened(str(value), MAX_SHORT_CHARACTERS)


def _name(where: Any) -> str:
    return str(getattr(where, "__qualname__", type(where).__name__))


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
