"""Output of commands: results on standard output, errors as one line on standard error.

Markup, emoji and highlighting are off: a path or a token may contain brackets and colons.
"""

import shlex
import shutil
import sys
from pathlib import Path

from rich.console import Console


def typed_name() -> str:
    """Return this program as the user can type it: `halfminute` where the shell finds it, else the path that was typed.

    The program of a virtual environment is not found by its name unless the environment is active.
    """
    running = Path(sys.argv[0])
    found = shutil.which("halfminute")
    if running.name != "halfminute" or (found is not None and Path(found).resolve() == running.resolve()):
        return "halfminute"
    return shlex.quote(str(running))


def print_line(text: str) -> None:
    """Print text on standard output, without wrapping it."""
    Console(highlight=False, soft_wrap=True, emoji=False).print(text, markup=False)


def print_error(line: str) -> None:
    """Print one line on standard error, after the name of the program."""
    print(f"halfminute: {line}", file=sys.stderr)  # noqa: T201  # reason: output of a command
