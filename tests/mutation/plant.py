"""Plants one bug after the other in a copy of the tree, and checks that its test fails.

Run as `python -m tests.mutation [NAME…]`. Standard output is the table that is kept as `tests/mutation/planted.md`,
standard error the progress.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.mutation.bugs import Bug
from tests.mutation.bugs_in_calls import IN_CALLS
from tests.mutation.bugs_in_colluders import IN_COLLUDERS
from tests.mutation.bugs_in_connections import IN_CONNECTIONS
from tests.mutation.bugs_in_dberrors import IN_DBERRORS
from tests.mutation.bugs_in_epochs import IN_EPOCHS
from tests.mutation.bugs_in_figures import IN_FIGURES
from tests.mutation.bugs_in_leases import IN_LEASES
from tests.mutation.bugs_in_ledger import IN_LEDGER
from tests.mutation.bugs_in_payments import IN_PAYMENTS
from tests.mutation.bugs_in_process import IN_PROCESS
from tests.mutation.bugs_in_python import IN_PYTHON
from tests.mutation.bugs_in_reads import IN_READS
from tests.mutation.bugs_in_removals import IN_REMOVALS
from tests.mutation.bugs_in_resources import IN_RESOURCES
from tests.mutation.bugs_in_rights import IN_RIGHTS
from tests.mutation.bugs_in_rooms import IN_ROOMS
from tests.mutation.bugs_in_sessions import IN_SESSIONS
from tests.mutation.bugs_in_spending import IN_SPENDING
from tests.mutation.bugs_in_stall import IN_STALL
from tests.mutation.bugs_in_streams import IN_STREAMS
from tests.mutation.bugs_in_tickets import IN_TICKETS
from tests.mutation.bugs_in_viewers import IN_VIEWERS
from tests.mutation.bugs_in_wire import IN_WIRE
from tests.support.lifeline import tied
from tests.support.processes import ROOT

BUGS = (
    *IN_LEDGER,
    *IN_EPOCHS,
    *IN_SPENDING,
    *IN_PYTHON,
    *IN_STREAMS,
    *IN_DBERRORS,
    *IN_LEASES,
    *IN_PAYMENTS,
    *IN_ROOMS,
    *IN_SESSIONS,
    *IN_CONNECTIONS,
    *IN_PROCESS,
    *IN_WIRE,
    *IN_STALL,
    *IN_RIGHTS,
    *IN_VIEWERS,
    *IN_RESOURCES,
    *IN_FIGURES,
    *IN_READS,
    *IN_REMOVALS,
    *IN_TICKETS,
    *IN_CALLS,
    *IN_COLLUDERS,
)
TREE = ("domain", "storage", "server", "tests", "pyproject.toml", "config.toml", "README.md")
RUN_SECONDS_MAX = 180.0  # a hanging test counts as not found: each test has timeouts of its own, well below this
FAILED = 1  # pytest's exit code if tests ran and failed

HEAD = """\
Each guard was removed in a copy of the tree, and the test in its row then failed; with the guard the test passes.
`python -m tests.mutation` repeats all of them and prints this file; `python -m tests.mutation NAME…` repeats some.

| guard | where | without it | the test that fails | how it fails |
|---|---|---|---|---|"""


class Run(NamedTuple):
    """The result of one pytest run. `exit_code` is None if the run was killed after RUN_SECONDS_MAX."""

    exit_code: int | None
    output: str
    seconds: float


def main(names: Sequence[str]) -> int:
    """Plant the named bugs, or all. Return 0 if each was found, 1 if not, and 2 for an unknown name."""
    unknown = set(names) - {bug.name for bug in BUGS}
    if unknown:
        _report(f"no such bug: {', '.join(sorted(unknown))}; there are {', '.join(bug.name for bug in BUGS)}")
        return 2
    bugs = [bug for bug in BUGS if not names or bug.name in names]
    if not _passes_without(bugs):
        return 1
    print(HEAD)
    found = [_is_found(bug) for bug in bugs]
    _report(f"{sum(found)} of {len(found)} bugs were found")
    return 0 if all(found) else 1


def _passes_without(bugs: list[Bug]) -> bool:
    with _copied_tree() as tree:
        run = _run(tree, *dict.fromkeys(bug.test for bug in bugs))
    _report(f"without a bug: exit code {run.exit_code} in {run.seconds:.1f} s")
    if run.exit_code != 0:
        _report(run.output)
    return run.exit_code == 0


def _is_found(bug: Bug) -> bool:
    with _copied_tree() as tree:
        if (misfit := _plant(bug, tree)) is not None:
            _report(f"{bug.name}: {misfit}")
            return False
        run = _run(tree, bug.test)
    found = run.exit_code == FAILED and bug.shown in run.output
    _report(f"{bug.name}: {'found' if found else 'NOT FOUND'} in {run.seconds:.1f} s, exit code {run.exit_code}")
    if found:
        print(row(bug), flush=True)
    else:
        _report(run.output)
    return found


def row(bug: Bug) -> str:
    """Return the bug's row of `planted.md`."""
    where = ", ".join(dict.fromkeys(f"`{edit.file}`" for edit in bug.edits))
    return f"| {bug.guard} | {where} | {bug.without} | `{bug.test}` | {bug.how} |"


def _plant(bug: Bug, tree: Path) -> str | None:
    """Remove the guard from the tree. Return the reason if its text is not in the file exactly once."""
    for edit in bug.edits:
        file = tree / edit.file
        text = file.read_text()
        if (times := text.count(edit.guard)) != 1:
            return f"{times} times in {edit.file}: {edit.guard!r}"
        file.write_text(text.replace(edit.guard, edit.instead))
    return None


@contextmanager
def _copied_tree() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="halfminute-planted-") as directory:
        for name in TREE:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, Path(directory, name), ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, directory)
        yield Path(directory)


def _run(tree: Path, *tests: str) -> Run:
    """Run the tests in the tree, in a process group of their own, so that a hanging run can be killed as a whole."""
    words = [sys.executable, "-m", "pytest", "-q", "--tb=short", *tests]
    began = time.monotonic()
    with (tree / "output").open("wb") as output:
        with subprocess.Popen(
            words, cwd=tree, stdout=output, stderr=output, start_new_session=True, preexec_fn=tied()
        ) as process:
            exit_code = _exit_code(process)
    return Run(exit_code, (tree / "output").read_text(errors="replace"), time.monotonic() - began)


def _exit_code(process: "subprocess.Popen[bytes]") -> int | None:
    try:
        return process.wait(RUN_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return None


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
