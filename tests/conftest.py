"""What tests stand on: one real PostgreSQL a run, a database of its own for each test, and a whole house on demand."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from server.context import Context
from tests.support.databases import Databases
from tests.support.servers import running_server


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """The run's PostgreSQL, in a thread of its own, with a migrated template."""
    directory = Path(tempfile.mkdtemp(prefix="halfminute-tests-"))
    try:
        with Databases(directory) as running:
            yield running
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def dsn(databases: Databases) -> Iterator[str]:
    """A fresh database with the schema in it."""
    with databases.fresh() as address:
        yield address


@pytest.fixture
async def context(dsn: str) -> AsyncIterator[Context]:
    """A server in this process, with blocks of one second."""
    async with running_server(dsn) as running:
        yield running
