"""Samples a server under requests with py-spy: written as `profile.md`, beside this file."""

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.lifeline import tied
from tests.support.processes import ROOT

SAMPLES_A_SECOND = 200
LEAST_PERCENT = 1.0  # a smaller share is noise
# Where threads wait for work; py-spy counts them as running if it cannot read the state of the system.
WAITING = {"WorkerThread._work", "EpollIOManager.get_events"}
PY_SPY = Path(sys.executable).with_name("py-spy")
PAGE = Path(__file__).with_suffix(".md")


class Frame(NamedTuple):
    function: str
    module: str  # the path of a halfminute module
    package: str  # "halfminute", a library's name, or nothing for Python's own

    @property
    def ours(self) -> bool:
        return self.package == "halfminute"


class Profile:
    """Samples the stacks of one process while it runs and does not wait."""

    def __init__(self) -> None:
        self._stacks: Counter[tuple[Frame, ...]] = Counter()

    @contextmanager
    def watching(self, pid: int, seconds: float) -> Iterator[None]:
        """Sample for so many seconds. Raises CalledProcessError if the system does not allow it."""
        with tempfile.NamedTemporaryFile(suffix=".txt") as out:
            how = ["--format", "raw", "--function", "--full-filenames", "--rate", str(SAMPLES_A_SECOND)]
            words = [str(PY_SPY), "record", "--pid", str(pid), "--duration", str(int(seconds)), "--output", out.name]
            quiet = subprocess.DEVNULL
            with subprocess.Popen([*words, *how], stdout=quiet, stderr=quiet, preexec_fn=tied()) as spy:
                yield
            if spy.returncode:
                raise subprocess.CalledProcessError(spy.returncode, words)
            for line in Path(out.name).read_text().splitlines():
                stack, _, count = line.rpartition(" ")
                self._add(tuple(map(_frame, stack.split(";"))), int(count))

    def write(self, requests_per_second: float) -> None:
        """Write the profile as a Markdown page."""
        total = self._stacks.total()
        lines = [
            "# What the server does for its requests",
            "",
            f"Written by `python -m tests.bench.rest.mixed --profile`: {total:,} samples of a server that answered "
            f"{requests_per_second:,.0f}",
            f"requests a second meanwhile. Rows of less than {LEAST_PERCENT:g} % are left out.",
            "",
            *_table("The innermost package on the stack", self._by_package(), total),
            "",
            *_table("Our functions, with all that they call", self._by_function(), total),
        ]
        PAGE.write_text("\n".join(lines) + "\n")

    def _add(self, stack: tuple[Frame, ...], count: int) -> None:
        if stack[-1].function not in WAITING:
            self._stacks[stack] += count

    def _by_package(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for stack, count in self._stacks.items():
            found[next((frame.package for frame in reversed(stack) if frame.package), "Python")] += count
        return found

    def _by_function(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for stack, count in self._stacks.items():
            for name in {f"`{frame.module}` {frame.function}" for frame in stack if frame.ours}:
                found[name] += count
        return found


def _table(title: str, counts: Counter[str], total: int) -> list[str]:
    shares = [(name, count / total * 100) for name, count in counts.most_common()]
    rows = [f"| {name} | {percent:.1f} |" for name, percent in shares if percent >= LEAST_PERCENT]
    return [f"| {title} | % |", "|---|---:|", *rows]


def _frame(text: str) -> Frame:
    """Parse `function (/path/of/module.py:12)`; the line is the function's first."""
    function, _, place = text.rstrip(")").rpartition(" (")
    path, _, _ = place.partition(":")
    if path.startswith(f"{ROOT}/"):
        return Frame(function, path.removeprefix(f"{ROOT}/"), "halfminute")
    _, installed, inside = path.partition("/site-packages/")
    return Frame(function, path, inside.partition("/")[0].removesuffix(".py") if installed else "")
