"""A database a year old, for tests that need many rows: it takes half a minute to fill, so all of them share it."""

from collections.abc import Iterator

import pytest
import trio

from storage.postgres import open_postgres
from tests.storage import old_server as old
from tests.support.databases import Databases


@pytest.fixture(scope="session")
def old_server(databases: Databases) -> Iterator[str]:
    """Its address. Everything that is in it stays as it is; what a test needs to change, it adds."""

    async def build(address: str) -> None:
        async with open_postgres(address, pool_size=1) as postgres:
            await old.build(postgres)

    with databases.fresh() as address:
        trio.run(build, address)
        yield address
