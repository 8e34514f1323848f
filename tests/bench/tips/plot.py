"""Draws the result: for each turn the tips a second, and how long half and 99 of 100 of them took."""

from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape

from tests.bench.report import svg
from tests.bench.tips.result import Result, Turn
from tests.bench.tips.table import title_of

WIDTH, LEFT, RIGHT, ROW, HEAD = 860, 230, 90, 26, 44
FIGURES: Sequence[tuple[str, Callable[[Turn], float | None]]] = (
    ("Tips per second", lambda turn: turn.tips_per_second),
    ("From tip:send to one's own tip:new, ms: p50", lambda turn: turn.round_trip_ms.p50),
    ("… p99", lambda turn: turn.round_trip_ms.p99),
    ("The latest block, ms from due to booked", lambda turn: turn.block_late_ms.most),
)


def draw(result: Result) -> str:
    """Return an SVG document."""
    lines: list[str] = []
    y = 0
    for title, figure in FIGURES:
        rows = [(title_of(turn), value) for turn in result.turns if (value := figure(turn)) is not None]
        if rows:
            lines += _block(title, rows, y)
            y += HEAD + ROW * len(rows)
    return svg(WIDTH, y + 10, lines)


def _block(title: str, rows: Sequence[tuple[str, float]], top: int) -> list[str]:
    scale = (WIDTH - LEFT - RIGHT) / (max(value for _, value in rows) or 1)
    bars = [_bar(name, value, scale, top + HEAD + ROW * i) for i, (name, value) in enumerate(rows)]
    return [f'<text x="10" y="{top + 28}" font-size="14">{escape(title)}</text>', *bars]


def _bar(name: str, value: float, scale: float, y: int) -> str:
    return (
        f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{LEFT}" y="{y + 3}" width="{value * scale:.1f}" height="{ROW - 9}" fill="#2a6f97"/>'
        f'<text x="{LEFT + value * scale + 6:.1f}" y="{y + 15}">{value:,.4g}</text>'
    )
