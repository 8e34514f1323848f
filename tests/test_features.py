"""The table of what the older system had stays true: every file, test and route that it names is there."""

import re

import pytest

from server.rest.app import ROUTES
from tests.support.requirements import QUOTED, ROOT, not_collected, rows, shown_by

TABLE = ROOT / "tests" / "features.md"
ROUTE = re.compile(r"`((?:GET|POST|PUT|DELETE) /\S+)`")


@pytest.mark.parametrize("row", rows(TABLE), ids=lambda row: row[0])
def test_the_files_tests_and_routes_of_a_row_exist(row: list[str]) -> None:
    what, where, _ = row
    files = QUOTED.findall(where)
    assert files
    assert shown_by(row)
    assert [file for file in files if not (ROOT / file).is_file()] == []
    assert not_collected(row, long=True) == []
    assert set(ROUTE.findall(what)) <= {f"{route.method} {route.path}" for route in ROUTES}


def test_no_row_is_there_twice() -> None:
    whats = [row[0] for row in rows(TABLE)]
    assert sorted(whats) == sorted(set(whats))
