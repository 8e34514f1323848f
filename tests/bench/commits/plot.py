"""Draws the result: a bar for each contestant's median on a logarithmic scale, with its spread."""

from math import log10
from xml.sax.saxutils import escape

from tests.bench.commits.result import Result, of
from tests.bench.commits.table import TITLES
from tests.bench.report import svg

WIDTH, LEFT, ROW, TOP = 860, 210, 26, 44
POWERS = range(2, 6)  # 100 to 100,000 postings per second


def draw(result: Result) -> str:
    """Return an SVG document."""
    took_part = {turn.contestant for turn in result.runs}
    names = [name for name in TITLES if name in took_part]
    height = TOP + ROW * len(names) + 30
    lines = [
        '<text x="10" y="20" font-size="14">Postings per second: median, least and most of all rounds</text>',
        *(_scale(power, height) for power in POWERS),
        *(_bar(result, name, TOP + ROW * i) for i, name in enumerate(names)),
    ]
    return svg(WIDTH, height, lines)


def _bar(result: Result, name: str, y: int) -> str:
    least, middle, most = of(result.runs, name, lambda turn: turn.per_second)
    colour = "#2a6f97" if name.startswith(("rooms", "lone")) else "#a9b4bc"
    return "".join(
        (
            f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(TITLES[name])}</text>',
            f'<rect x="{LEFT}" y="{y + 3}" width="{_x(middle) - LEFT:.1f}" height="{ROW - 9}" fill="{colour}"/>',
            f'<line x1="{_x(least):.1f}" x2="{_x(most):.1f}" y1="{y + 11}" y2="{y + 11}" stroke="black"/>',
            f'<text x="{_x(most) + 6:.1f}" y="{y + 15}">{middle:,.0f}</text>',
        )
    )


def _scale(power: int, height: int) -> str:
    x = _x(10**power)
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{height - 24}" stroke="#ddd"/>'
        f'<text x="{x:.1f}" y="{height - 8}" text-anchor="middle">{10**power:,}</text>'
    )


def _x(per_second: float) -> float:
    part = (log10(max(per_second, 100)) - POWERS[0]) / (POWERS[-1] - POWERS[0])
    return LEFT + part * (WIDTH - LEFT - 70)
