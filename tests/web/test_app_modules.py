"""Modules of the web client that need no page, by their own tests in Node."""

import re
from pathlib import Path

import pytest

from tests.web.node import require_node, run_node

TESTS = sorted((Path(__file__).parent / "app").glob("*.test.mjs"))
SECONDS_MAX = 60


@pytest.mark.parametrize("test", TESTS, ids=lambda path: path.name.removesuffix(".test.mjs"))
def test_a_module_of_the_client_passes_its_tests_in_node(test: Path) -> None:
    require_node()
    printed = run_node("--test", "--test-reporter=tap", test, seconds=SECONDS_MAX)
    assert re.search(r"^# pass [1-9]", printed, re.MULTILINE), printed
