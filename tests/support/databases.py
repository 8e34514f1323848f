"""One PostgreSQL for all tests of a run: a migrated template database, and a copy of it for each test."""

import itertools
import math
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import trio

from storage.database_errors import StatementRefused, StorageUnavailable
from storage.embedded.launcher import Address, open_embedded
from storage.migrate import migrate
from storage.postgres import Postgres, open_postgres

TEMPLATE = "halfminute"
SUPERUSER = "postgres"


class Databases:
    """Runs PostgreSQL under a trio event loop in a thread, so that a test's own clock does not affect it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.address: Address
        self._numbers = itertools.count(1)
        self._ready: queue.Queue[BaseException | None] = queue.Queue()
        self._thread = threading.Thread(target=lambda: trio.run(self._run), name="databases", daemon=True)

    def __enter__(self) -> "Databases":
        self._thread.start()
        if error := self._ready.get(timeout=60):
            raise error
        return self

    def __exit__(self, *_: object) -> None:
        trio.from_thread.run_sync(self._wanted.close, trio_token=self._token)
        self._thread.join(timeout=60)

    @contextmanager
    def fresh(self, template: str = TEMPLATE) -> Iterator[str]:
        """Yield the DSN of a fresh copy of the template. It is dropped at the end, even with open connections."""
        name = f"test_{next(self._numbers)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" OWNER "{self.address.user}"')
        try:
            yield self._dsn(name)
        finally:
            self.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def execute(self, sql: str) -> None:
        """Run one statement in the thread's event loop, and not in the test's."""
        done: queue.Queue[BaseException | None] = queue.Queue()
        trio.from_thread.run_sync(self._wanted.send_nowait, (sql, done), trio_token=self._token)
        if error := done.get(timeout=60):
            raise error

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._wanted, wanted = trio.open_memory_channel[tuple[str, queue.Queue[BaseException | None]]](math.inf)
        try:
            async with open_embedded(self.directory) as self.address:
                await self._make_template()
                # As superuser: nobody else may put out the autovacuum that is at work in a database to be dropped.
                async with open_postgres(self._dsn("postgres", SUPERUSER), pool_size=1) as admin:
                    # Nobody may connect to a template while it is copied.
                    await admin.execute(f"ALTER DATABASE {TEMPLATE} ALLOW_CONNECTIONS false")
                    self._ready.put(None)
                    async for sql, done in wanted:
                        done.put(await _error_of(admin, sql))
        except BaseException as error:  # reason: handed to the thread that waits for us
            self._ready.put(error)
            raise

    async def _make_template(self) -> None:
        async with open_postgres(self.address.dsn, pool_size=1) as postgres:
            await migrate(postgres)

    def _dsn(self, database: str, user: str | None = None) -> str:
        parts = urlsplit(self.address.dsn)
        return urlunsplit(parts._replace(netloc=f"{user or self.address.user}@", path=f"/{database}"))


async def _error_of(admin: Postgres, sql: str) -> StatementRefused | StorageUnavailable | None:
    try:
        await admin.execute(sql)
    except (StatementRefused, StorageUnavailable) as error:
        return error
    return None
