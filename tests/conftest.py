"""The shared fixtures: one PostgreSQL per test run, a database for each test, and a server in this process."""

import shutil
from collections.abc import AsyncIterator, Iterator

import pytest

from server.context import Context
from tests.support.databases import Databases
from tests.support.servers import running_server

pytest_plugins = ("tests.support.memory_files", "tests.support.parallel")


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Run PostgreSQL in a thread, with a migrated template database, for the whole test run."""
    directory = tmp_path_factory.mktemp("databases")
    try:
        with Databases(directory) as running:
            yield running
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def dsn(databases: Databases) -> Iterator[str]:
    """Yield the DSN of a fresh database with the schema."""
    with databases.fresh() as address:
        yield address


@pytest.fixture
async def context(dsn: str) -> AsyncIterator[Context]:
    """Run a server in this process, with blocks of one second."""
    async with running_server(dsn) as running:
        yield running
