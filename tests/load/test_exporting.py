"""The program that exports beside calls works, in a small run."""

import subprocess
import sys

from tests.support.processes import ROOT

SMALL_RUN_SECONDS = 180  # at most, on a busy machine


def test_a_small_export_beside_calls_is_whole_and_shows_its_figures() -> None:
    words = ["--rows=300000", "--calls=5", "--most-ms=5000", "--form=ndjson", "--block-seconds=1"]
    command = [sys.executable, "-m", "tests.load.exporting", *words]
    done = subprocess.run(command, cwd=ROOT, timeout=SMALL_RUN_SECONDS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rows/s" in done.stdout and "memory of the server" in done.stdout and "from due to posted" in done.stdout
