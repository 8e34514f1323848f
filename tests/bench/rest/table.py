"""Prints the result as tables: the cost and latency of each route, and the ratios with their targets."""

from collections.abc import Callable

from rich.table import Table

from tests.bench.report import open_console, right, spread_text
from tests.bench.rest.result import OURS, Result, Turn, at_most, grouped, of

LEGEND = """us a request: CPU time of the server; the peers check no token, count no request and write no log.
waiting: the part of a turn in which others had the server's core"""

TITLES = {
    "hypercorn": "bare hypercorn under trio",
    "quart": "bare quart-trio",
    OURS: "halfminute",
    "express": "Express 5 and pg",
    "starlette": "uvicorn, Starlette and asyncpg",
}


def show(result: Result) -> None:
    console = open_console()
    if result.runs:
        where = "one core for all" if result.shared_core else "servers and clients on a core each"
        least, _, most = of(result.runs, lambda turn: turn.load)
        console.print(f"{result.cores} cores, {where}, load {least:.1f} to {most:.1f}")
        console.print(LEGEND)
        for connections in sorted({turn.connections for turn in result.runs}):
            console.print(_costs(result, connections))
        console.print(_ratios(result))
    if (reads := result.read_us) is not None:
        console.print(f"a one-row read: {reads.halfminute_us:.0f} us, of asyncpg alone {reads.asyncpg_us:.0f} us")
    for line in result.skipped:
        console.print(line, markup=False)


def in_order(result: Result, connections: int) -> list[tuple[str, list[Turn]]]:
    """Return the titles and turns at a number of connections."""
    groups = grouped([turn for turn in result.runs if turn.connections == connections])
    order = sorted(groups, key=lambda group: list(TITLES).index(group[0]))
    return [
        (f"{TITLES[contestant]}: {route}", groups[contestant, route, connections]) for contestant, route, _ in order
    ]


def _costs(result: Result, connections: int) -> Table:
    table = Table(
        f"{connections} connections: median (least to most)",
        *right("us a request", "requests/s", "p50 ms", "p99 ms", "client us", "waiting"),
    )
    for title, turns in in_order(result, connections):
        table.add_row(
            title,
            _spread(turns, lambda turn: turn.server_us, ",.0f"),
            f"{of(turns, lambda turn: turn.per_second)[1]:,.0f}",
            f"{of(turns, lambda turn: turn.p50_ms)[1]:.1f}",
            f"{of(turns, lambda turn: turn.p99_ms)[1]:.1f}",
            f"{of(turns, lambda turn: turn.client_us)[1]:.0f}",
            f"{of(turns, lambda turn: turn.kept_waiting)[1]:.0%}",
        )
    return table


def _spread(turns: list[Turn], figure: Callable[[Turn], float], form: str) -> str:
    return spread_text(of(turns, figure), form)


def _ratios(result: Result) -> Table:
    table = Table(
        "CPU time a request: ours over theirs",
        *right("median", "least", "most", "at 200", "by speed", "target"),
        "holds",
    )
    for name, ratio in result.ratios.items():
        most = at_most(name)
        target = "" if most is None else f"at most {most:g}"
        if ratio is None:
            table.add_row(name, "-", "-", "-", "-", "-", target, "not measured")
            continue
        spread = (f"{result.ratio_spreads[name][index]:.2f}" for index in (1, 0, 2))
        others = (found.get(name) for found in (result.many_ratios, result.speed_ratios))
        holds = "" if most is None else "yes" if ratio <= most else "NO"
        table.add_row(name, *spread, *("" if each is None else f"{each:.2f}" for each in others), target, holds)
    return table
