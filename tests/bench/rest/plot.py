"""Draws the result: a bar for the median CPU time of each route with its spread, by the number of connections."""

from xml.sax.saxutils import escape

from tests.bench.report import svg
from tests.bench.rest.result import Result, Turn, of
from tests.bench.rest.table import TITLES, in_order

WIDTH, LEFT, RIGHT, ROW, HEAD = 860, 290, 90, 26, 44


def draw(result: Result) -> str:
    """Return an SVG document."""
    lines: list[str] = []
    top = 0
    for connections in sorted({turn.connections for turn in result.runs}):
        rows = in_order(result, connections)
        title = f"CPU time of the server, microseconds a request, {connections} connections: median, least and most"
        lines.append(f'<text x="10" y="{top + 28}" font-size="14">{escape(title)}</text>')
        scale = (WIDTH - LEFT - RIGHT) / max(of(turns, _server_us)[2] for _, turns in rows)
        lines += [_bar(name, turns, scale, top + HEAD + ROW * place) for place, (name, turns) in enumerate(rows)]
        top += HEAD + ROW * len(rows)
    return svg(WIDTH, top + 10, lines)


def _server_us(turn: Turn) -> float:
    return turn.server_us


def _bar(name: str, turns: list[Turn], scale: float, y: int) -> str:
    least, middle, most = of(turns, _server_us)
    colour = "#2a6f97" if name.startswith(TITLES["halfminute"]) else "#a9b4bc"
    return "".join(
        (
            f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y + 3}" width="{middle * scale:.1f}" height="{ROW - 9}" fill="{colour}"/>',
            f'<line x1="{LEFT + least * scale:.1f}" x2="{LEFT + most * scale:.1f}" y1="{y + 11}" y2="{y + 11}"',
            ' stroke="black"/>',
            f'<text x="{LEFT + most * scale + 6:.1f}" y="{y + 15}">{middle:,.0f}</text>',
        )
    )
