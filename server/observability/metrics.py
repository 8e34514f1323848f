"""The metrics of the server, in a Prometheus registry.

Names and labels are an interface: dashboards and alerts refer to them. The values of every label are known in advance,
so that a client cannot create time series. Counters with labels are exposed as 0 from the start: Prometheus would not
see the first increment of a series that appears with it.
"""

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from domain.billing.posting import Kind, Outcome, Receipt
from domain.instant import Duration
from server.close_codes import CloseCode
from server.observability.background_output import dropped_lines
from storage.market.payments import PROBLEMS

BROKEN = 1006  # the code of RFC 6455 for a connection that ended without a Close frame
PAYMENT_OUTCOMES = (
    *("credited", "repeated", "unknown", "wrong_amount", "paid_twice", "not_credited", "refused", "unreadable"),
    *("failed", "expired", "unknown_checkout", "credited_by_operator", "rejected_by_operator"),
    *("refund", "chargeback", "expected_reversal"),
)
SPENDING = (Kind.BLOCK, Kind.TIP, Kind.TICKET)
SWEEP_OUTCOMES = ("done", "failed", "refused")
# The documented codes, and those that browsers send when a page is left.
CLOSE_CODES = sorted({1001, 1005, BROKEN, *map(int, CloseCode)})
_MILLISECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The metrics that `/metrics` exposes, in a registry of their own.

    One object serves the whole server; tests make several, which the global registry of the library would not allow.
    Its methods do not wait.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        postings = Counter("halfminute_postings", "Postings by outcome", ["outcome"], registry=self._registry)
        # Looked up once: a label lookup costs many times more than the increment of every posting.
        self._outcomes = {outcome: postings.labels(outcome.name.lower()) for outcome in Outcome}
        self._poisoned = Counter(
            "halfminute_postings_poisoned", "Postings that no statement could carry out", registry=self._registry
        )
        self._losses_limit = Counter(
            "halfminute_refunds_beyond_losses_limit",
            "Refunds that wait for a confirmation, since `losses` would have to advance more than its daily limit",
            registry=self._registry,
        )
        self._spent = Counter(
            "halfminute_tokens_spent", "Tokens of committed blocks, tips and tickets", registry=self._registry
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
        self._delivered = Counter(
            "halfminute_deliveries", "Events of rooms that were sent to a member's connection", registry=self._registry
        )
        self.room_crashes = Counter(
            "halfminute_room_crashes", "Rooms that had to be restarted", registry=self._registry
        )
        self._faults = Counter(
            "halfminute_faults",
            "Unexpected errors that were contained, by what ran into them",
            ["where"],
            registry=self._registry,
        )
        self._stalls = Counter(
            "halfminute_stalls", "Times that this process did nothing for seconds on end", registry=self._registry
        )
        self._stalled_seconds = Counter(
            "halfminute_stalled_seconds", "Seconds that these lasted", registry=self._registry
        )
        self.payments = Counter(
            "halfminute_payments", "Payment events by what came of them", ["outcome"], registry=self._registry
        )
        self._payments_open = Gauge(
            "halfminute_payments_open",
            "Payments that were not credited and wait for an operator",
            ["problem"],
            registry=self._registry,
        )
        self.payments_open(dict.fromkeys(PROBLEMS, 0))
        self.reversals_open = Gauge(
            "halfminute_payment_reversals_open",
            "Refunds and chargebacks at the provider that wait for an operator",
            registry=self._registry,
        )
        closed = Counter(
            "halfminute_connections_closed", "Websockets that ended, by close code", ["code"], registry=self._registry
        )
        self._other_code = closed.labels("other")  # a peer may send any number, and each label is kept for ever
        self._closed = {code: closed.labels(str(code)) for code in CLOSE_CODES}
        self._sweeps = Counter(
            "halfminute_sweeps",
            "Calls of the billing webhook, by what came of them",
            ["outcome"],
            registry=self._registry,
        )
        for counter, outcomes in ((self.payments, PAYMENT_OUTCOMES), (self._sweeps, SWEEP_OUTCOMES)):
            for outcome in outcomes:
                counter.labels(outcome)
        self._ledger_faults = Gauge(
            "halfminute_ledger_faults",
            "Rows that contradict a proof of the ledger, as far as the last audit showed them",
            ["proof"],
            registry=self._registry,
        )
        self._audited_at = Gauge(
            "halfminute_audited_timestamp_seconds", "When this server last proved the ledger", registry=self._registry
        )
        self.rooms = Gauge("halfminute_rooms", "Live rooms", registry=self._registry)
        self._connections = Gauge("halfminute_connections", "Open websockets", registry=self._registry)
        self.bus_messages = Counter(
            "halfminute_bus_messages",
            "Messages to and from other servers; those that were dropped found no broker",
            ["outcome"],
            registry=self._registry,
        )
        for outcome in ("sent", "received", "dropped"):
            self.bus_messages.labels(outcome)
        self.bus_gaps = Counter(
            "halfminute_bus_gaps",
            "Times that the broker was away, and messages may be missing",
            registry=self._registry,
        )
        self._bus_connected = Gauge(
            "halfminute_bus_connected", "1 while the broker between servers is connected", registry=self._registry
        )
        self._ready = Gauge(
            "halfminute_ready", "1 while this server can take work: see the parts of /readyz", registry=self._registry
        )

    def watch(
        self,
        *,
        connections: Callable[[], int],
        commit_retries: Callable[[], int],
        clock_refusals: Callable[[], int],
        asyncio_errors: Callable[[], int],
        failed_key_reads: Callable[[], int],
        ready: Callable[[], bool],
    ) -> None:
        """Register metrics that are read from their owners when `/metrics` is requested.

        Each function returns a present state or number, or a count since the start. Called once.
        """
        self._connections.set_function(connections)
        self._ready.set_function(ready)
        help_text = "Commits that the database put off, timed out or did not answer, and that were sent again"
        self._registry.register(_Counted("halfminute_commit_retries", help_text, commit_retries))
        help_text = "Commits that were put off because the clocks of this machine and the database disagree"
        self._registry.register(_Counted("halfminute_clock_refusals", help_text, clock_refusals))
        help_text = "Errors that asyncio had nobody to report to; each kind is logged once"
        self._registry.register(_Counted("halfminute_asyncio_unhandled", help_text, asyncio_errors))
        help_text = "Times when the public keys could not be read; the keys from before stay in use"
        self._registry.register(_Counted("halfminute_jwks_failed_reads", help_text, failed_key_reads))
        lost = "Lines of this process's log and output that could not be written and were dropped"
        self._registry.register(_Counted("halfminute_log_lines_dropped", lost, dropped_lines))

    def watch_bus(self, connected: Callable[[], bool]) -> None:
        """Register whether the broker is connected; without a broker the metric stays 0."""
        self._bus_connected.set_function(connected)

    def events_delivered(self, deliveries: int) -> None:
        """Record events of rooms that were sent to members: an event that goes to five members is five deliveries."""
        self._delivered.inc(deliveries)

    def block_posted(self, *, late: Duration) -> None:
        """Record a block that was posted `late` (in microseconds) after its due time; an early one counts as 0."""
        self._lateness.observe(max(0, late) / 1_000_000)

    def batch_committed(self, receipts: Sequence[Receipt], seconds: float) -> None:
        """Record a committed batch: its size, its outcomes, and the seconds from its sending to its answer."""
        self._batch_size.observe(len(receipts))
        self._commit.observe(seconds)
        for receipt in receipts:
            self._outcomes[receipt.outcome].inc()
        self._spent.inc(sum(each.posting.tokens for each in receipts if each.paid and each.posting.kind in SPENDING))

    def stalled(self, seconds: float) -> None:
        """Record a stall of the process of this length."""
        self._stalls.inc()
        self._stalled_seconds.inc(seconds)

    def posting_poisoned(self) -> None:
        """Count a posting that no statement can carry out."""
        self._poisoned.inc()

    def losses_limit_reached(self) -> None:
        """Count a refund that was refused with LOSSES_LIMIT."""
        self._losses_limit.inc()

    def payments_open(self, by_problem: dict[str, int]) -> None:
        """Set how many payments wait for an operator, by problem."""
        for problem, count in by_problem.items():
            self._payments_open.labels(problem).set(count)

    def name_faults(self, places: Sequence[str]) -> None:
        """Expose the fault counters of these places as 0, so that an alert sees the first increment."""
        for where in places:
            self._faults.labels(where)

    def fault(self, where: str) -> None:
        """Count a contained fault."""
        self._faults.labels(where).inc()

    def connection_closed(self, code: int | None) -> None:
        """Count a closed websocket by the close code that was sent or received; None counts as 1006."""
        self._closed.get(BROKEN if code is None else code, self._other_code).inc()

    def swept(self, outcome: str) -> None:
        """Count a sweep: `done`, `failed` if a call could not be brought up to date, or `refused`."""
        self._sweeps.labels(outcome).inc()

    def ledger_proved(self, faults: dict[str, int]) -> None:
        """Record an audit: the number of violating rows of each proof."""
        for proof, rows in faults.items():
            self._ledger_faults.labels(proof).set(rows)
        self._audited_at.set_to_current_time()

    def totals(self) -> dict[str, float]:
        """Return the present value of every sample without labels, by its name, such as `halfminute_rooms`."""
        families = self._registry.collect()
        return {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _Counted(Collector):
    """A counter whose value is read from its owner."""

    def __init__(self, name: str, help_text: str, read: Callable[[], int]) -> None:
        self._name = name
        self._help_text = help_text
        self._read = read

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily(self._name, self._help_text, value=self._read())
