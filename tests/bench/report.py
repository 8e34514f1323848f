"""Shared by all benches: the order of turns, the console for results, and the files that keep them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from rich.console import Console
from rich.table import Column

WIDTH = 120  # of a log; a terminal has its own

T = TypeVar("T")


def in_turn(contestants: list[T], round_no: int) -> list[T]:
    """Return the order of a round: it rotates, and every other round is reversed, so that nobody is always first."""
    begins = (round_no - 1) * len(contestants) // 3 % len(contestants)
    turned = contestants[begins:] + contestants[:begins]
    return turned if round_no % 2 else turned[::-1]


def open_console() -> Console:
    """Return a console as wide as the terminal; in a log, as wide as its tables."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def right(*names: str) -> list[Column]:
    """Add columns for figures, aligned to the right."""
    return [Column(name, justify="right") for name in names]


def spread_text(spread: Sequence[float], form: str) -> str:
    """Return "median (least to most)"."""
    least, middle, most = spread
    return f"{middle:{form}} ({least:{form}} to {most:{form}})"


def svg(width: int, height: int, lines: Iterable[str]) -> str:
    """Return an SVG document of these elements on white."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
    return "\n".join((f'{head} font-size="12">', '<rect width="100%" height="100%" fill="white"/>', *lines, "</svg>"))


def save(directory: Path, name: str, result: msgspec.Struct, picture: str) -> None:
    """Save the figures as `name`.json and their picture as `name`.svg."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2))
    (directory / f"{name}.svg").write_text(picture)
