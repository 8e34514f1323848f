"""Every story runs against a server of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.live_server import LiveServer, live_server_on


@pytest.fixture
def live_server(dsn: str, tmp_path: Path) -> Iterator[LiveServer]:
    """Blocks of one second."""
    with live_server_on(dsn, tmp_path) as running:
        yield running
