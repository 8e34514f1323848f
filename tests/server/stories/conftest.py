"""Every story runs against a server of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server_fixture import Town, town_on


@pytest.fixture
def town(dsn: str, tmp_path: Path) -> Iterator[Town]:
    """Blocks of one second."""
    with town_on(dsn, tmp_path) as running:
        yield running
