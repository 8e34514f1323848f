"""Samples the stacks of a running server with py-spy, and shows where its CPU time goes."""

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
WAITING = {
    "WorkerThread._work",
    "EpollIOManager.get_events",
    "BackgroundStream._next",
    "BackgroundStream._write_forever",
}
PY_SPY = Path(sys.executable).with_name("py-spy")


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

    def sample(self, pid: int, seconds: int) -> None:
        """Sample for so many seconds, in this thread. Raises CalledProcessError if the system does not allow it."""
        with self.watching(pid, seconds):
            pass

    @property
    def samples(self) -> int:
        """Return the number of samples in which a thread ran."""
        return self._stacks.total()

    def by_package(self) -> list[tuple[str, float]]:
        """Return the innermost package on the stack, and its share of the samples in percent; small shares left out."""
        found: Counter[str] = Counter()
        for stack, count in self._stacks.items():
            found[next((frame.package for frame in reversed(stack) if frame.package), "Python")] += count
        return self._shares(found)

    def by_function(self) -> list[tuple[str, float]]:
        """Return each function of halfminute with its share, all that it calls included."""
        found: Counter[str] = Counter()
        for stack, count in self._stacks.items():
            for name in {f"`{frame.module}` {frame.function}" for frame in stack if frame.ours}:
                found[name] += count
        return self._shares(found)

    def _shares(self, counts: Counter[str]) -> list[tuple[str, float]]:
        shares = [(name, count / self.samples * 100) for name, count in counts.most_common()]
        return [(name, percent) for name, percent in shares if percent >= LEAST_PERCENT]

    def _add(self, stack: tuple[Frame, ...], count: int) -> None:
        if stack[-1].function not in WAITING:
            self._stacks[stack] += count


def _frame(text: str) -> Frame:
    """Parse `function (/path/of/module.py:12)`; the line is the function's first."""
    function, _, place = text.rstrip(")").rpartition(" (")
    path, _, _ = place.partition(":")
    _, installed, inside = path.partition("/site-packages/")
    if not installed and path.startswith(f"{ROOT}/"):
        return Frame(function, path.removeprefix(f"{ROOT}/"), "halfminute")
    return Frame(function, path, inside.partition("/")[0].removesuffix(".py") if installed else "")
