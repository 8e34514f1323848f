"""Prints the result of a load run on a terminal or into a log."""

from rich.console import Console
from rich.table import Column, Table

from tests.load.figures import Histogram, Spread
from tests.load.result import Result

WIDTH = 120  # of a log; a terminal has its own


def show(result: Result) -> None:
    """Print every figure, then every sentence, then the failures of each sentence."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    load = result.load
    console.print(
        f"{load.calls:,} calls at once, blocks of {load.block_seconds} s, rung over {load.ramp_seconds:g} s, "
        f"all up for {load.seconds:g} s, {result.posted.count:,} blocks"
    )
    for table in (_spreads(result), _histograms(result), _costs(result), _worst(result), _checks(result)):
        console.print(table)
    if result.profile:
        console.print(_profile(result))
    for check in result.failures:
        console.print(f"FAILS: {check.sentence}", markup=False)
        for failure in check.failures:
            console.print(f"    {failure}", markup=False)


def _spreads(result: Result) -> Table:
    table = Table("lateness, ms", *_right("blocks", "p50", "p99", "p99.9", "most"))
    rows: tuple[tuple[str, Spread], ...] = (
        ("from due to posted", result.posted),
        ("… while all were up", result.posted_while_up),
        ("from due to read by the fan", result.received),
    )
    for name, spread in rows:
        table.add_row(
            name, f"{spread.count:,}", *(f"{ms:.1f}" for ms in (spread.p50, spread.p99, spread.p999, spread.most))
        )
    return table


def _histograms(result: Result) -> Table:
    table = Table("the server's own", *_right("count", "mean", "p50 ≤", "p99 ≤", "most ≤"), "how many at or below")
    rows: tuple[tuple[str, Histogram], ...] = (
        ("lateness to posting, s", result.handed_over),
        ("commit, s", result.commit),
        ("postings in a batch", result.batches),
    )
    for name, histogram in rows:
        mean = histogram.total / histogram.count if histogram.count else 0
        parts = (histogram.bound(part) for part in (0.5, 0.99, 1))
        buckets = " ".join(f"{bound}: {count:,}" for bound, count in histogram.buckets.items() if count)
        table.add_row(name, f"{histogram.count:,}", f"{mean:.4f}", *parts, buckets)
    return table


def _costs(result: Result) -> Table:
    table = Table("while all were up", *_right("server", "postgres", "client", "others"))
    cpu = result.cpu_percent
    table.add_row(
        f"CPU, % of one of {cpu['cores']:g} cores",
        *(f"{cpu[name]:.1f}" for name in ("server", "postgres", "client", "others")),
    )
    table.add_row("CPU, us a call and second", f"{result.us_a_call_and_second:.1f}")
    table.add_row(
        "memory, MiB", f"{result.memory_mib['server']:.0f} (at most {result.memory_mib['server_at_most']:.0f})"
    )
    return table


def _profile(result: Result) -> Table:
    table = Table("where the server's CPU time goes", *_right("%"))
    for package, percent in result.profile.items():
        table.add_row(package, f"{percent:.1f}")
    return table


def _worst(result: Result) -> Table:
    table = Table("the latest blocks", *_right("ms late", "block", "due after s"))
    for worst in result.worst:
        table.add_row(worst.call_id, f"{worst.late_ms:.1f}", str(worst.block_no), f"{worst.due_after_seconds:.1f}")
    return table


def _checks(result: Result) -> Table:
    table = Table("what must hold", "")
    for check in result.checks:
        table.add_row(check.sentence, "FAILS" if check.failures else "holds")
    return table


def _right(*names: str) -> list[Column]:
    return [Column(name, justify="right") for name in names]
