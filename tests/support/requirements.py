"""Reads the Markdown tables that map requirements to tests, and lists the tests that pytest collects."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
COLLECT_SECONDS_MAX = 120
QUOTED = re.compile(r"`([^`]+)`")
NAMED_TEST = re.compile(r"[a-z_/]+\.py::test_\w+")


def rows(table: Path) -> list[list[str]]:
    """Return the cells of each table row; the first is the requirement, the last the tests that check it."""
    lines = [line for line in table.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != "what"]


def shown_by(row: list[str]) -> list[str]:
    """Return the tests of a row as `path::name`, with paths below tests/."""
    return QUOTED.findall(row[-1])


def not_collected(row: list[str], table: Path, *, long: bool = False) -> list[str]:
    """Return the tests in the table that pytest does not collect. `long`: collect the long tests, too."""
    files = frozenset(test.partition("::")[0] for other in rows(table) for test in shown_by(other))
    return [test for test in shown_by(row) if test not in _collected(files, long)]


@cache
def _collected(files: frozenset[str], long: bool) -> frozenset[str]:
    """Return the tests that pytest collects in these files with the project's options, without their parameters."""
    there = sorted(f"tests/{file}" for file in files if (ROOT / "tests" / file).is_file())
    words = [sys.executable, "-m", "pytest", "--collect-only", "-q", *(["-m", ""] if long else []), *there]
    asked = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=COLLECT_SECONDS_MAX, check=False)
    assert asked.returncode == 0, asked.stdout + asked.stderr
    lines = [line.removeprefix("tests/").partition("[")[0] for line in asked.stdout.splitlines()]
    return frozenset(line for line in lines if NAMED_TEST.fullmatch(line))
