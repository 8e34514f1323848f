"""Runs a bench for its own test: small, in a process of its own."""

import subprocess
import sys
from pathlib import Path

from tests.support.processes import ROOT, environment

SMALL_RUN_SECONDS = 180  # at most, on a busy machine


def small_run(bench: str, directory: Path, *options: str) -> None:
    """Run `python -m tests.bench.<bench> --quick`, which saves its figures into the directory.

    Raises AssertionError with its standard error if it fails.
    """
    words = [sys.executable, "-m", f"tests.bench.{bench}", "--quick", "--out", str(directory), *options]
    done = subprocess.run(
        words, cwd=ROOT, env=environment({}), timeout=SMALL_RUN_SECONDS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
