"""The bugs that `python -m tests.planted` plants still have a place: the text of each guard is in its file once."""

from pathlib import Path

import pytest

from tests.bugs import Bug
from tests.planted import BUGS

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_guard_stands_where_the_bug_is_planted(bug: Bug) -> None:
    for edit in bug.edits:
        assert (ROOT / edit.file).read_text().count(edit.guard) == 1
    assert bug.without in (ROOT / "tests/planted.md").read_text()
