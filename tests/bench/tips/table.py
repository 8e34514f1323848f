"""Prints the result as a table: each turn, and the targets that hold."""

from rich.table import Table

from server.loadtest.measures.figures import Spread
from tests.bench.report import open_console, right
from tests.bench.tips.result import TARGETS, Result, Turn

TITLES = {"nothing": "tips alone", "calls": "beside {calls:,} calls", "sweep": "… all due at once"}


def show(result: Result) -> None:
    console = open_console()
    console.print(
        f"one creator, {result.viewers} viewers, blocks of {result.block_seconds} s, {result.cores} cores: "
        f"the server on one, all clients on another; fsync {result.fsync.p50_ms:.2f} ms (p99 {result.fsync.p99_ms:.2f})"
    )
    for table in (_tips(result), _costs(result), _blocks(result), _targets(result)):
        console.print(table)
    console.print("the ledger is sound" if result.audit_holds else "FAILS: the ledger is not sound")


def title_of(turn: Turn) -> str:
    fans = "1 fan" if turn.fans == 1 else f"{turn.fans} fans"
    return f"{fans}, {TITLES[turn.beside].format(calls=turn.calls)}"


def _tips(result: Result) -> Table:
    table = Table(
        "from tip:send to one's own tip:new", *right("tips/s", "p50 ms", "p95", "p99", "most", "p99 in a sweep")
    )
    for turn in result.turns:
        figures = (*_texts(turn.round_trip_ms), _text(turn.sweep_ms.p99))
        table.add_row(title_of(turn), f"{turn.tips_per_second:,.0f}", *figures)
    return table


def _costs(result: Result) -> Table:
    table = Table("of one core", *right("us a tip", "server", "kept waiting", "postgres", "clients", "load"))
    for turn in result.turns:
        shares = (turn.server_cpu_percent, turn.kept_waiting * 100, turn.postgres_cpu_percent, turn.client_cpu_percent)
        table.add_row(
            title_of(turn), f"{turn.server_us:,.0f}", *(f"{share:.0f} %" for share in shares), f"{turn.load:.1f}"
        )
    return table


def _blocks(result: Result) -> Table:
    table = Table("from a block's due time to its commit", *right("blocks", "p50 ms", "p95", "p99", "most"))
    for turn in result.turns:
        if turn.blocks:
            table.add_row(title_of(turn), f"{turn.blocks:,}", *_texts(turn.block_late_ms))
    return table


def _targets(result: Result) -> Table:
    table = Table("target", *right("measured", "bound"), "holds")
    for name, target in TARGETS.items():
        value = result.figures[name]
        bound = f"at most {target.at_most:g}" if target.at_most is not None else f"at least {target.at_least:g}"
        holds = "not measured" if value is None else "yes" if target.holds(value) else "NO"
        table.add_row(target.sentence, _text(value), bound, holds)
    return table


def _texts(spread: Spread) -> list[str]:
    return [_text(ms) for ms in (spread.p50, spread.p95, spread.p99, spread.most)]


def _text(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:,.1f}"
