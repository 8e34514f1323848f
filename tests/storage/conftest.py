"""The large database for tests that need many rows; all tests share it, since filling it takes half a minute."""

from collections.abc import Iterator

import pytest
import trio

from storage.postgres import open_postgres
from tests.storage import old_server as old
from tests.support.databases import Databases


@pytest.fixture(scope="session")
def old_server(databases: Databases) -> Iterator[str]:
    """Return its connection string. A test must not change existing rows; it adds the rows that it changes."""

    async def build(address: str) -> None:
        async with open_postgres(address, pool_size=1) as postgres:
            await old.build(postgres)

    with databases.fresh() as address:
        trio.run(build, address)
        yield address
