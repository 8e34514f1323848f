"""Prints the result as a table: contestants, ratios, and the targets that hold."""

from collections.abc import Callable

from rich.table import Table

from tests.bench.fanout.result import DELAY_MOST_MS, MOST, TARGETS, Result, Turn, grouped, of
from tests.bench.report import open_console, right, spread_text

LEGEND = """us a delivery: CPU time of the server; members' us: of the process that counts
a read: deliveries that a read found together; waiting: the part of a turn in which others had the server's core"""

TITLES = {
    "c": "limit: a C send() loop",
    "ours": "ours",
    "mixed": "ours, half in MessagePack",
    "ws": "Node ws",
    "websockets": "websockets, broadcast()",
    "socketio": "Socket.IO 4",
    "awaiting": "awaiting trio-websocket",
}


def show(result: Result) -> None:
    console = open_console()
    if result.runs:
        where = "one core for all" if result.shared_core else "server and members on a core each"
        least, _, most = of(result.runs, lambda turn: turn.load)
        console.print(f"{result.cores} cores, {where}, load {least:.1f} to {most:.1f}, events of 200 bytes")
        console.print(LEGEND)
        for members in sorted({turn.members for turn in result.runs}):
            console.print(_contestants(result, members))
        console.print(_ratios(result))
        console.print(_beside(result))
    for line in result.skipped:
        console.print(line, markup=False)


def title_of(name: str, events_a_write: int) -> str:
    return TITLES[name] if events_a_write == 1 else f"{TITLES[name]}, {events_a_write} events a write"


def in_order(result: Result, members: int) -> list[tuple[str, list[Turn]]]:
    """Return the titles and turns of one size of room: the limit, ours, then the others."""
    groups = grouped([turn for turn in result.runs if turn.members == members])
    names = list(TITLES)
    order = sorted(groups, key=lambda group: (names.index(group[1]), group[2]))
    return [(title_of(group[1], group[2]), groups[group]) for group in order]


def _contestants(result: Result, members: int) -> Table:
    table = Table(
        f"{members:,} members: median (least to most)",
        *right("deliveries/s", "us a delivery", "members' us", "a read", "waiting"),
    )
    for title, turns in in_order(result, members):
        table.add_row(
            title,
            _spread(turns, lambda turn: turn.per_second, ",.0f"),
            _spread(turns, lambda turn: turn.server_us, ".2f"),
            f"{of(turns, lambda turn: turn.drainer_us)[1]:.2f}",
            f"{of(turns, lambda turn: turn.deliveries_a_read)[1]:.2f}",
            f"{of(turns, lambda turn: turn.kept_waiting)[1]:.0%}",
        )
    return table


def _spread(turns: list[Turn], figure: Callable[[Turn], float], form: str) -> str:
    return spread_text(of(turns, figure), form)


def _ratios(result: Result) -> Table:
    table = Table(
        "CPU time a delivery: theirs over ours", *right("median", "least", "most", "by speed", "target"), "holds"
    )
    for name, ratio in result.ratios.items():
        target = TARGETS.get(name)
        wanted = "" if target is None else f"at least {target.at_least:g}"
        if ratio is None:
            table.add_row(name, "-", "-", "-", "-", wanted, "not measured")
            continue
        least, middle, most = (f"{value:.2f}" for value in result.ratio_spreads[name])
        holds = "" if target is None else "yes" if target.holds(ratio) else "NO"
        table.add_row(name, middle, least, most, f"{result.speed_ratios[name]:.2f}", wanted, holds)
    return table


def _beside(result: Result) -> Table:
    table = Table("beside the broadcasts", *right("measured", "target"), "holds")
    for delay in result.delays:
        what = (
            f"a block of another room beside events to {delay.members:,}: late by at most, ms (p99 {delay.p99_ms:.1f})"
        )
        _add(table, what, delay.most_ms, DELAY_MOST_MS)
    if (quiet := result.quiet) is not None:
        _add(
            table, f"kb_per_session ({quiet.sessions:,} idle, in a room)", quiet.kb_per_session, MOST["kb_per_session"]
        )
        table.add_row("the same for a connection of trio-websocket alone", f"{quiet.bare_kb:.1f}", "", "")
        clocks = f"{quiet.rooms:,} clocks, {quiet.blocks:,.0f} blocks"
        _add(table, f"clocks_core_percent ({clocks})", quiet.core_percent, MOST["clocks_core_percent"])
        _add(table, f"clocks_p99_ms ({clocks})", quiet.p99_ms, MOST["clocks_p99_ms"])
        _add(table, "clocks_vs_bare (one task with a heap)", quiet.clocks_vs_bare, MOST["clocks_vs_bare"])
    return table


def _add(table: Table, what: str, value: float, most: float) -> None:
    table.add_row(what, f"{value:.1f}", f"at most {most:g}", "yes" if value <= most else "NO")
