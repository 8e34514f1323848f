"""Runs programs of Node for the tests of the SDK; without Node they are skipped."""

import shutil
import subprocess
from pathlib import Path

from tests.server.peers.absent import leave_out
from tests.support.lifeline import tied

ROOT = Path(__file__).parents[2]
SDK = ROOT / "server" / "web" / "sdk"
VERSION_MIN = 18  # the test runner of earlier ones has no reporters


def require_node() -> None:
    """Skip the test without Node of VERSION_MIN or later; with CI=true, fail."""
    if shutil.which("node") is None:
        leave_out("there is no node on this machine")
    found = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    if int(found.removeprefix("v").partition(".")[0]) < VERSION_MIN:
        leave_out(f"node is {found}, and the tests need {VERSION_MIN}")


def run_node(*arguments: str | Path, seconds: float, cwd: Path = ROOT) -> str:
    """Run node to its end; return what it printed. Raises AssertionError with its output if it fails."""
    done = subprocess.run(
        ["node", *arguments],
        cwd=cwd,
        check=False,
        capture_output=True,
        text=True,
        timeout=seconds,
        stdin=subprocess.DEVNULL,
        preexec_fn=tied(),
    )
    assert done.returncode == 0, f"node {arguments}: {done.stdout[-8000:]}{done.stderr[-2000:]}"
    return done.stdout
