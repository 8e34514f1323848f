"""The planted bugs fit the tree: each guard's text is in its file exactly once, and planted.md has a row for each."""

import re
from pathlib import Path

import pytest

from tests.mutation.bugs import Bug
from tests.mutation.plant import BUGS

ROOT = Path(__file__).parents[2]
MIGRATIONS = sorted((ROOT / "storage/migrations").glob("*.sql"))
FUNCTION = re.compile(
    r"^CREATE (OR REPLACE )?FUNCTION (?P<name>\w+).*?AS (?P<quote>\$\w*\$).*?(?P=quote);?$", re.DOTALL | re.MULTILINE
)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_guard_stands_where_the_bug_is_planted(bug: Bug) -> None:
    for edit in bug.edits:
        assert (ROOT / edit.file).read_text().count(edit.guard) == 1


def test_the_table_lists_all_bugs_in_their_order() -> None:
    table = (ROOT / "tests/mutation/planted.md").read_text()
    rows = [line.split(" | ") for line in table.splitlines() if " | `" in line]
    assert [row[2] for row in rows] == [bug.without for bug in BUGS]


def test_no_guard_stands_in_a_function_that_a_later_migration_replaces() -> None:
    """A bug that is planted there would have no effect."""
    latest = {
        name: path for path in MIGRATIONS for name in (found["name"] for found in FUNCTION.finditer(path.read_text()))
    }
    stale = [
        f"{bug.name}: {found['name']}"
        for bug in BUGS
        for edit in bug.edits
        if (path := ROOT / edit.file) in MIGRATIONS
        for found in FUNCTION.finditer(path.read_text())
        if edit.guard in found[0] and latest[found["name"]] != path
    ]
    assert stale == []
