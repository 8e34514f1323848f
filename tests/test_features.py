"""The table of what the older system had stays true: every file, test and route that it names is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from server.rest.app import ROUTES

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "tests" / "features.md"
ROUTE = re.compile(r"`((?:GET|POST|PUT|DELETE) /\S+)`")
QUOTED = re.compile(r"`([^`]+)`")


def rows() -> list[list[str]]:
    """What, where, and shown by."""
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != "what"]


@cache
def names_in(path: Path) -> set[str]:
    """The names of its functions."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, functions)}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_what_a_line_names_is_there(row: list[str]) -> None:
    what, where, shown_by = row
    files, tests = QUOTED.findall(where), QUOTED.findall(shown_by)
    assert files
    assert tests
    assert [file for file in files if not (ROOT / file).is_file()] == []
    for test in tests:
        file, name = test.split("::")
        assert name.startswith("test_")
        assert name in names_in(ROOT / "tests" / file), test
    assert set(ROUTE.findall(what)) <= {f"{route.method} {route.path}" for route in ROUTES}


def test_no_line_is_there_twice() -> None:
    whats = [row[0] for row in rows()]
    assert sorted(whats) == sorted(set(whats))
