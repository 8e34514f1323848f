"""The result of a run over HTTP, and its table for the terminal."""

import msgspec
from rich.table import Table

from server.loadtest.measures.figures import Spread
from tests.bench.report import open_console, right


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """CPU is of one core; `kept_waiting` is the share of time in which the server was ready and other processes ran."""

    connections: int
    seconds: float
    requests_per_second: float
    ms: dict[str, Spread]  # by kind
    errors: dict[str, int]  # by kind and status
    server_us: float  # of CPU time, for one request
    server_cpu_percent: float
    kept_waiting: float
    postgres_cpu_percent: float
    client_cpu_percent: float
    tips_answered: int
    tips_booked: int
    audit_holds: bool

    @property
    def sound(self) -> bool:
        return not self.errors and self.tips_answered == self.tips_booked and self.audit_holds


def show(result: Result) -> None:
    console = open_console()
    console.print(
        f"{result.connections} connections that are kept, {result.seconds:.1f} s: "
        f"{result.requests_per_second:,.0f} requests/s, {result.server_us:,.0f} us of the server's CPU each"
    )
    console.print(
        f"of one core: server {result.server_cpu_percent:.0f} % (kept waiting {result.kept_waiting:.0%}), "
        f"postgres {result.postgres_cpu_percent:.0f} %, clients {result.client_cpu_percent:.0f} %"
    )
    console.print(_kinds(result))
    errors = ", ".join(f"{name}: {count}" for name, count in result.errors.items())
    console.print(f"FAILS: {errors}" if errors else "no errors")
    console.print(f"{result.tips_answered:,} tips were answered, {result.tips_booked:,} are in the books")
    console.print("the ledger is sound" if result.audit_holds else "FAILS: the ledger is not sound")


def _kinds(result: Result) -> Table:
    table = Table("from the request to the end of its answer", *right("answers", "p50 ms", "p95", "p99", "most"))
    for kind, found in result.ms.items():
        figures = (found.p50, found.p95, found.p99, found.most)
        table.add_row(kind, f"{found.count:,}", *("-" if ms is None else f"{ms:,.1f}" for ms in figures))
    return table
