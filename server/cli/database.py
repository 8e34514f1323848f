"""Opens the database of a command: the configured one, or a private PostgreSQL.

A private PostgreSQL keeps its data in the data directory, and runs only as long as a server or a command needs it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from server.config.secrets import Secrets
from server.config.settings import Settings
from storage.embedded.data_directory import DataDir
from storage.embedded.launcher import EmbeddedError, find_running, open_embedded


class Database(NamedTuple):
    """The address of a database, with its password; `alone` if no other server can be using it.

    A server that is alone adopts rooms at its start without waiting for a lease to end.
    """

    dsn: str
    alone: bool


@asynccontextmanager
async def open_database(settings: Settings, secrets: Secrets) -> AsyncIterator[Database]:
    """Open the database for a server: without DATABASE_URL, run a private PostgreSQL for the block.

    The private one is stopped at the end of the block, also after a cancellation. An address in DATABASE_URL is not
    checked here. Raises EmbeddedError, also if another server runs on the same data directory.
    """
    if secrets.database_url is not None:
        yield Database(secrets.database_url, alone=False)
        return
    async with open_embedded(Path(settings.server.data_dir), bin_dir=_bin_dir(settings)) as address:
        yield Database(address.dsn, alone=True)


@asynccontextmanager
async def visit_database(settings: Settings, secrets: Secrets, *, make: bool) -> AsyncIterator[Database]:
    """Open the database for one command: use the PostgreSQL of a running server, or else start a private one.

    Raises EmbeddedError, also if there is no database yet and `make` is False.
    """
    data_dir = Path(settings.server.data_dir)
    running = None if secrets.database_url is not None else await find_running(data_dir)
    if running is not None:
        yield Database(running.dsn, alone=False)
        return
    if not make and secrets.database_url is None and not DataDir(data_dir).cluster.exists():
        raise EmbeddedError(f"there is no database in {data_dir}: no server has run there")
    async with open_database(settings, secrets) as database:
        yield database


def _bin_dir(settings: Settings) -> Path | None:
    return Path(settings.postgres.bin_dir) if settings.postgres.bin_dir else None
