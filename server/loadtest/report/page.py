"""Renders a load run as one self-contained HTML page with figures and four diagrams.

The diagrams are inline SVG, so the page can be sent or kept without other files.
"""

from collections.abc import Sequence
from html import escape
from math import ceil, log10

from server.loadtest.measures.figures import Result, Spread

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 440, 220, 52, 14, 30, 34
STEPS = 4  # lines across a picture

Points = Sequence[tuple[float, float]]

STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1c2733 }
h1 { font-size: 1.3rem } .sound { color: #1b7f4b } .broken { color: #b3261e; font-weight: bold }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .15rem .8rem; text-align: right }
th { font-weight: normal; color: #5b6b7a; border-bottom: 1px solid #cfd8e0 }
td:first-child, th:first-child { text-align: left } figure { display: inline-block; margin: .5rem }
svg text { font: 11px system-ui, sans-serif; fill: #5b6b7a } svg .title { font-size: 13px; fill: #1c2733 }
svg .grid { stroke: #e3e9ee } svg .line { fill: none; stroke: #2a6f97; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) { body { background: #14191f; color: #dfe6ec } svg .title { fill: #dfe6ec }
  svg .grid { stroke: #2b343d } svg .line { stroke: #6fb3dd } .sound { color: #57c48c } .broken { color: #ff8a80 } }
"""


def draw(result: Result) -> str:
    """Return the HTML document of a result; texts of the server, such as error codes, are escaped."""
    plan = result.plan
    title = f"{result.rooms:,} rooms ({plan.kind}) with {result.members:,} members for {result.seconds:g} seconds"
    pictures = (
        _over_time("Deliveries a second", [(sample.second, sample.deliveries) for sample in result.samples]),
        _over_time("CPU of the load program, % of a core", [(s.second, s.client_cpu_percent) for s in result.samples]),
        _distribution("Tip sent to received, ms", result.round_trip_curve),
        _distribution("Block due to booked, ms", result.lateness_curve),
    )
    return "\n".join(
        (
            '<!doctype html><html lang="en"><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{escape(title)}</title><style>{STYLE}</style>",
            f"<h1>{escape(title)}</h1>",
            f"<p>{escape(plan.url)}, {escape(plan.subprotocol)}, {escape(result.began_at)}</p>",
            f'<p class="{"broken" if result.faults else "sound"}">{escape(result.verdict)}</p>',
            _figures(result),
            _spreads(result),
            *(f"<figure>{picture}</figure>" for picture in pictures),
            "</html>",
        )
    )


def _figures(result: Result) -> str:
    rows = (
        ("connects a second", f"{result.connects_per_second:,.0f}"),
        ("deliveries", f"{result.deliveries:,}"),
        ("deliveries a second", f"{result.deliveries_per_second:,.0f}"),
        ("tips a second", f"{result.tips_per_second:,.1f}"),
        ("blocks", f"{result.blocks:,}"),
        ("reconnects", f"{result.reconnects:,}"),
        ("CPU of the load program, % of a core", f"{result.client_cpu_percent:.0f}"),
        ("its memory, MiB", f"{result.client_memory_mib:.0f}"),
        *((f"error: {name}", f"{count:,}") for name, count in result.errors.items()),
    )
    return f"<table>{''.join(_row('td', row) for row in rows)}</table>"


def _spreads(result: Result) -> str:
    rows = (
        ("from tip:send to one's own tip:new", result.round_trip_ms),
        ("from a block's due time to its commit, by the server's clock", result.block_late_ms),
        ("the load program's own clock", result.client_late_ms),
    )
    head = _row("th", ("late, ms", "count", "p50", "p95", "p99", "most"))
    return f"<table>{head}{''.join(_row('td', (name, *_texts(found))) for name, found in rows)}</table>"


def _texts(found: Spread) -> list[str]:
    figures = (found.p50, found.p95, found.p99, found.most)
    return [f"{found.count:,}", *("–" if ms is None else f"{ms:,.1f}" for ms in figures)]


def _row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


# Pictures


def _over_time(title: str, points: Points) -> str:
    """Draw a line from 0 up, over the seconds of the traffic phase."""
    most = _round_up(max((value for _, value in points), default=0))
    end = max((second for second, _ in points), default=0) or 1
    marks = [(most * step / STEPS, step / STEPS) for step in range(STEPS + 1)]
    ends = [(f"{end * step / STEPS:,.0f} s", step / STEPS) for step in range(STEPS + 1)]
    line = [(second / end, value / most) for second, value in points]
    return _picture(title, line, [(f"{value:,.10g}", part) for value, part in marks], ends)


def _distribution(title: str, curve: Sequence[float]) -> str:
    """Draw a cumulative distribution with a logarithmic time axis, which shows the tail."""
    if not curve:
        return _picture(f"{title}: nothing to show", [], [], [])
    low, high = 0.1, max(1.0, 10 ** ceil(log10(max(0.1, curve[-1]))))
    powers = [low * 10**step for step in range(round(log10(high / low)) + 1)]
    line = [(_log_part(ms, low, high), (i + 1) / len(curve)) for i, ms in enumerate(curve)]
    marks = [(f"{25 * step} %", step / STEPS) for step in range(STEPS + 1)]
    return _picture(title, line, marks, [(f"{power:g}", _log_part(power, low, high)) for power in powers])


def _log_part(value: float, low: float, high: float) -> float:
    return log10(max(value, low) / low) / log10(high / low)


def _round_up(value: float) -> float:
    """Round up to 1, 2, 4 or 8 times a power of ten, whose quarters are readable labels."""
    if value <= 0:
        return 1
    power = 10.0 ** (ceil(log10(value)) - 1)
    return next(power * step for step in (1, 2, 4, 8, 10) if power * step >= value)


def _picture(title: str, line: Points, marks: Sequence[tuple[str, float]], ends: Sequence[tuple[str, float]]) -> str:
    """Draw a diagram; positions are fractions of the width and the height, from the bottom left."""
    across = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_y(part):.1f}" y2="{_y(part):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{_y(part) + 4:.1f}" text-anchor="end">{escape(text)}</text>'
        for text, part in marks
    )
    below = "".join(
        f'<text x="{_x(part):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{escape(text)}</text>'
        for text, part in ends
    )
    path = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in line)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" aria-label="{escape(title)}">'
        f'<text class="title" x="{LEFT}" y="18">{escape(title)}</text>{across}{below}'
        f'<polyline class="line" points="{path}"/></svg>'
    )


def _x(part: float) -> float:
    return LEFT + part * (WIDTH - LEFT - RIGHT)


def _y(part: float) -> float:
    return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)
