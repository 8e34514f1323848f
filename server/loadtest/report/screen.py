"""Shows a load run on a terminal: its progress and its result."""

from functools import partial

from rich.console import Console, Group
from rich.table import Column, Table

from server.loadtest.measures.figures import Result, Spread, spread
from server.loadtest.measures.stopwatch import memory_mib
from server.loadtest.run import LoadRun

REFRESH_SECONDS = 1.0  # a refresh takes a few milliseconds, in which no event is read
RECENT = 2000  # latest round trips for the live percentiles: sorting all of them at each refresh is too slow
ERRORS_SHOWN = 8  # kinds of errors
WIDTH = 120  # without a terminal


class Screen:
    """The progress of a run, rendered by rich; reads the run's counts whenever it is drawn."""

    def __init__(self, run: LoadRun) -> None:
        self._run = run

    def __rich__(self) -> Group:
        run, counts = self._run, self._run.counts
        table = Table(title=f"{run.phase}: {run.opened:,} of {run.plan.rooms:,} rooms, {run.connected:,} connections")
        for name in ("deliveries", "a second", "tips received", "blocks", "reconnects", "own CPU", "own memory"):
            table.add_column(name, justify="right")
        last = run.samples[-1] if run.samples else None
        table.add_row(
            f"{counts.deliveries:,}",
            "" if last is None else f"{last.deliveries:,.0f}",
            f"{len(counts.round_trips):,}",
            f"{counts.blocks:,}",
            f"{counts.reconnects:,}",
            "" if last is None else f"{last.client_cpu_percent:.0f} %",
            f"{memory_mib():.0f} MiB",
        )
        spreads = (
            ("tip sent to received, lately", spread(counts.round_trips[-RECENT:])),
            ("block due to booked, lately", spread(counts.lateness[-RECENT:])),
        )
        return Group(table, _spreads(spreads), _errors(dict(counts.errors.most_common(ERRORS_SHOWN))))


def show(result: Result, console: Console) -> None:
    """Print every figure, and whether any delivery was lost."""
    plan = result.plan
    console.print(
        f"{result.rooms:,} rooms ({plan.kind}), {result.members:,} members, {plan.subprotocol}, "
        f"{result.seconds:g} s: {result.deliveries:,} deliveries"
    )
    console.print(_rates(result))
    spreads = (
        ("from tip:send to one's own tip:new", result.round_trip_ms),
        ("from a block's due time to its commit, by the server's clock", result.block_late_ms),
        ("the client's own clock", result.client_late_ms),
    )
    console.print(_spreads(spreads))
    if result.errors:
        console.print(_errors(result.errors))
    console.print(result.verdict)


def console_of_width() -> Console:
    """Return a console that prints text as it is, and is WIDTH wide unless it is a terminal.

    With rich's defaults, `call:end:` has an emoji in it and brackets are markup.
    """
    plain = partial(Console, highlight=False, markup=False, emoji=False)
    console = plain()
    return console if console.is_terminal else plain(width=WIDTH)


def _rates(result: Result) -> Table:
    table = Table(*(Column(name, justify="right") for name in ("connects/s", "deliveries/s", "tips/s", "blocks")))
    for name in ("reconnects", "client CPU", "client memory"):
        table.add_column(name, justify="right")
    table.add_row(
        f"{result.connects_per_second:,.0f}",
        f"{result.deliveries_per_second:,.0f}",
        f"{result.tips_per_second:,.1f}",
        f"{result.blocks:,}",
        f"{result.reconnects:,}",
        f"{result.client_cpu_percent:.0f} % of a core",
        f"{result.client_memory_mib:.0f} MiB",
    )
    return table


def _spreads(rows: tuple[tuple[str, Spread], ...]) -> Table:
    table = Table("late, ms", *(Column(name, justify="right") for name in ("count", "p50", "p95", "p99", "most")))
    for name, found in rows:
        figures = ("-" if ms is None else f"{ms:,.1f}" for ms in (found.p50, found.p95, found.p99, found.most))
        table.add_row(name, f"{found.count:,}", *figures)
    return table


def _errors(errors: dict[str, int]) -> Table:
    table = Table("errors", Column("", justify="right"))
    for name, count in errors.items():
        table.add_row(name, f"{count:,}")
    return table
