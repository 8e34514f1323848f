"""What the house counts and measures of itself, and how it writes its log."""

import logging
import sys
from collections.abc import Sequence

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from domain.instant import Duration
from domain.posting import Outcome, Receipt
from server.redaction import Redaction

_MILLISECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Telemetry:
    """The figures behind `/metrics`, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        postings = Counter("halfminute_postings", "Postings by outcome", ["outcome"], registry=self._registry)
        # Looked up once: finding a label costs many times what counting does, and every posting counts.
        self._outcomes = {outcome: postings.labels(outcome.name.lower()) for outcome in Outcome}
        self._poisoned = Counter(
            "halfminute_postings_poisoned", "Postings that no statement could carry out", registry=self._registry
        )
        self._batch_size = Histogram(
            "halfminute_batch_postings",
            "Postings in one transaction",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
            registry=self._registry,
        )
        self._commit = Histogram(
            "halfminute_commit_seconds",
            "From sending a batch to its answer",
            buckets=_MILLISECONDS,
            registry=self._registry,
        )
        self._lateness = Histogram(
            "halfminute_block_lateness_seconds",
            "From a block's due time to its posting",
            buckets=_MILLISECONDS,
            registry=self._registry,
        )
        self.room_crashes = Counter(
            "halfminute_room_crashes", "Rooms that had to be restarted", registry=self._registry
        )
        self.payments = Counter(
            "halfminute_payments", "Payment events by what came of them", ["outcome"], registry=self._registry
        )
        self.rooms = Gauge("halfminute_rooms", "Live rooms", registry=self._registry)
        self.connections = Gauge("halfminute_connections", "Open websockets", registry=self._registry)

    def block_posted(self, *, late: Duration) -> None:
        self._lateness.observe(max(0, late) / 1_000_000)

    def batch_committed(self, receipts: Sequence[Receipt], seconds: float) -> None:
        self._batch_size.observe(len(receipts))
        self._commit.observe(seconds)
        for receipt in receipts:
            self._outcomes[receipt.outcome].inc()

    def posting_poisoned(self) -> None:
        self._poisoned.inc()

    def exposition(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)


def configure_log(level: str, style: str, secret_words: Sequence[str] = ()) -> None:
    """One line an event on standard error: for people on a terminal, as JSON for machines; never with a secret."""
    pretty = style == "console" or (style == "auto" and sys.stderr.isatty())
    renderer = structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            Redaction(secret_words),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    for library in ("hypercorn", "trio-websocket", "quart", "asyncio", "asyncpg"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # we tell of it ourselves
