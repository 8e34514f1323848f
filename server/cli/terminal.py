"""What commands print for people: results on standard output, and one line on standard error for what went wrong."""

import sys

from rich.console import Console


def print_line(text: str) -> None:
    Console(highlight=False, soft_wrap=True).print(text, markup=False)


def print_error(line: str) -> None:
    print(f"halfminute: {line}", file=sys.stderr)  # noqa: T201  # reason: it is for a terminal
