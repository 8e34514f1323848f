"""Draws the result: a bar for each contestant's median with its spread, grouped by the size of the room."""

from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape

from tests.bench.fanout.result import Result, Turn, of
from tests.bench.fanout.table import in_order
from tests.bench.report import svg

WIDTH, LEFT, RIGHT, ROW, HEAD = 860, 210, 90, 26, 44

Rows = Sequence[tuple[str, list[Turn]]]


def draw(result: Result) -> str:
    """Return an SVG document."""
    lines: list[str] = []
    y = 0
    for members in sorted({turn.members for turn in result.runs}):
        rows = in_order(result, members)
        for what, figure, form in (
            ("Deliveries per second", _per_second, ",.0f"),
            ("CPU time of the server, microseconds a delivery", _server_us, ".2f"),
        ):
            lines += _block(f"{what}, {members:,} members: median, least and most of all rounds", rows, figure, form, y)
            y += HEAD + ROW * len(rows)
    return svg(WIDTH, y + 10, lines)


def _per_second(turn: Turn) -> float:
    return turn.per_second


def _server_us(turn: Turn) -> float:
    return turn.server_us


def _block(title: str, rows: Rows, figure: Callable[[Turn], float], form: str, top: int) -> list[str]:
    scale = (WIDTH - LEFT - RIGHT) / max(of(turns, figure)[2] for _, turns in rows)
    bars = [_bar(name, turns, figure, form, scale, top + HEAD + ROW * i) for i, (name, turns) in enumerate(rows)]
    return [f'<text x="10" y="{top + 28}" font-size="14">{escape(title)}</text>', *bars]


def _bar(name: str, turns: list[Turn], figure: Callable[[Turn], float], form: str, scale: float, y: int) -> str:
    least, middle, most = of(turns, figure)
    colour = "#2a6f97" if name.startswith("ours") else "#a9b4bc"
    return "".join(
        (
            f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y + 3}" width="{middle * scale:.1f}" height="{ROW - 9}" fill="{colour}"/>',
            f'<line x1="{LEFT + least * scale:.1f}" x2="{LEFT + most * scale:.1f}" y1="{y + 11}" y2="{y + 11}"',
            ' stroke="black"/>',
            f'<text x="{LEFT + most * scale + 6:.1f}" y="{y + 15}">{middle:{form}}</text>',
        )
    )
