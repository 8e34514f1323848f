"""Output of commands: results on standard output, errors as one line on standard error.

Markup, emoji and highlighting are off: a path or a token may contain brackets and colons.
"""

import sys

from rich.console import Console


def print_line(text: str) -> None:
    """Print text on standard output, without wrapping it."""
    Console(highlight=False, soft_wrap=True, emoji=False).print(text, markup=False)


def print_error(line: str) -> None:
    """Print one line on standard error, after the name of the program."""
    print(f"halfminute: {line}", file=sys.stderr)  # noqa: T201  # reason: output of a command
