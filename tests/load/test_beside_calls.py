"""The programs that do something else beside calls work, in small runs."""

import subprocess
import sys

from tests.support.processes import ROOT

SMALL_RUN_SECONDS = 180  # at most, on a busy machine


def run(program: str, *words: str) -> str:
    """Run a program that holds five calls with blocks of a second; return what it printed."""
    command = [
        sys.executable,
        "-m",
        f"tests.load.{program}",
        "--calls=5",
        "--block-seconds=1",
        "--most-ms=5000",
        *words,
    ]
    done = subprocess.run(command, cwd=ROOT, timeout=SMALL_RUN_SECONDS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "blocks of 5 calls meanwhile, from due to posted" in done.stdout
    return done.stdout


def test_a_small_export_beside_calls_is_whole_and_shows_its_figures() -> None:
    shown = run("exporting", "--rows=300000", "--form=ndjson")
    assert "rows/s" in shown and "memory of the server" in shown


def test_a_few_clients_beside_calls_are_answered_and_show_their_figures() -> None:
    assert "4 REST clients: " in run("requesting", "--connections=4", "--seconds=3")
