"""Prints the result as a table: contestants, ratios, and the targets that hold."""

from collections.abc import Callable

from rich.table import Table

from tests.bench.commits.result import BATCH_P99_MS_MAX, TARGETS, Result, of
from tests.bench.report import open_console, right, spread_text
from tests.bench.turn import Turn

TITLES = {
    "rooms": "rooms, inbox to receipt",
    "rooms_hot": "… half to one creator",
    "copy_update": "limit: COPY and wallets",
    "copy": "limit: COPY alone",
    "node_c10": "node pg, 10 at once",
    "node_c10_hot": "… half to one creator",
    "node_c1": "node pg, one by one",
    "asyncpg_c10": "asyncpg, 10 at once",
    "asyncpg_c10_hot": "… half to one creator",
    "asyncpg_c1": "asyncpg, one by one",
    "lone": "a lone posting",
    "insert": "a bare INSERT",
}


def show(result: Result) -> None:
    console = open_console()
    console.print(
        f"{result.journal_rows:,} journal rows to begin with, {result.cores} cores, load "
        f"{min(turn.load for turn in result.runs):.1f} to {max(turn.load for turn in result.runs):.1f}, "
        f"fsync {result.fsync.p50_ms:.2f} ms (p99 {result.fsync.p99_ms:.2f})"
    )
    console.print(_contestants(result))
    console.print(_ratios(result))
    for line in result.skipped:
        console.print(line, markup=False)


def _contestants(result: Result) -> Table:
    table = Table("median (least to most)", *right("postings/s", "p99 ms", "p50 ms", "us client", "us pg", "WAL bytes"))
    figures: tuple[tuple[Callable[[Turn], float], str], ...] = (
        (lambda turn: turn.per_second, ",.0f"),
        (lambda turn: turn.p99_ms, ".2f"),
    )
    costs: tuple[Callable[[Turn], float], ...] = (
        lambda turn: turn.p50_ms,
        lambda turn: turn.client_us,
        lambda turn: turn.postgres_us,
        lambda turn: turn.wal_bytes,
    )
    took_part = {turn.contestant for turn in result.runs}
    for name, title in TITLES.items():
        if name in took_part:
            spreads = (_spread(result, name, figure, form) for figure, form in figures)
            table.add_row(title, *spreads, *(f"{of(result.runs, name, cost)[1]:,.4g}" for cost in costs))
    return table


def _spread(result: Result, name: str, figure: Callable[[Turn], float], form: str) -> str:
    return spread_text(of(result.runs, name, figure), form)


def _ratios(result: Result) -> Table:
    table = Table("ratio", *right("median", "least", "most", "target"), "holds")
    for name, target in TARGETS.items():
        wanted = f"at most {target.at_most:g}" if target.at_most else f"at least {target.at_least:g}"
        if name in result.ratio_spreads:
            least, middle, most = result.ratio_spreads[name]
            figures = (f"{value:.2f}" for value in (middle, least, most))
            table.add_row(name, *figures, wanted, "yes" if target.holds(middle) else "NO")
        else:
            table.add_row(name, "-", "-", "-", wanted, "not measured")
    holds = "yes" if result.batch_p99_ms <= BATCH_P99_MS_MAX else "NO"
    table.add_row("batch_p99_ms", f"{result.batch_p99_ms:.1f}", "", "", f"at most {BATCH_P99_MS_MAX}", holds)
    return table
