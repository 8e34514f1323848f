"""Reads the Markdown tables that map requirements to tests, and lists the tests that there are."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
QUOTED = re.compile(r"`([^`]+)`")
NAMED_TEST = re.compile(r"[a-z_/]+\.py::test_\w+")
LONG = "pytest.mark.long"


class Declared(NamedTuple):
    """A test function, as `path::name` with the path below tests/, and whether it runs only by `-m long`."""

    name: str
    long: bool


def rows(table: Path) -> list[list[str]]:
    """Return the cells of each table row; the first is the requirement, the last the tests that check it."""
    lines = [line for line in table.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != "what"]


def shown_by(row: list[str]) -> list[str]:
    """Return the tests of a row as `path::name`, with paths below tests/."""
    return QUOTED.findall(row[-1])


def not_collected(row: list[str], *, long: bool = False) -> list[str]:
    """Return the tests in the row that pytest does not collect. `long`: those of `-m long` count, too."""
    collected = {test.name for test in _tests() if long or not test.long}
    return [test for test in shown_by(row) if test not in collected]


@cache
def _tests() -> list[Declared]:
    """Return all test functions, by pytest's naming rules. To let pytest itself collect them takes half a minute."""
    directory = ROOT / "tests"
    return [
        Declared(f"{file.relative_to(directory)}::{node.name}", LONG in map(ast.unparse, node.decorator_list))
        for file in directory.rglob("test_*.py")
        for node in ast.parse(file.read_bytes()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
