"""A proxy to PostgreSQL that a test can cut and restore."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

import trio

CHUNK_BYTES = 65_536


class DatabaseProxy:
    """Passes bytes between a socket of its own and the one that `dsn` names."""

    def __init__(self, dsn: str, directory: Path, nursery: trio.Nursery) -> None:
        parts = urlsplit(dsn)
        place = {name: values[0] for name, values in parse_qs(parts.query).items()}
        name = f".s.PGSQL.{place['port']}"
        self._there, self._here = f"{place['host']}/{name}", directory / name
        self._nursery = nursery
        self._passing = trio.CancelScope()
        self.dsn = urlunsplit(parts._replace(query=f"host={quote(str(directory))}&port={place['port']}"))

    async def mend(self) -> None:
        """Accept connections from here on: the database can be reached."""
        listener = trio.socket.socket(trio.socket.AF_UNIX)
        await listener.bind(str(self._here))
        listener.listen()
        self._passing = trio.CancelScope()
        self._nursery.start_soon(self._take_calls, listener, self._passing)

    def cut(self) -> None:
        """Break every connection, and accept no new one."""
        self._here.unlink()
        self._passing.cancel()

    async def _take_calls(self, listener: trio.socket.SocketType, passing: trio.CancelScope) -> None:
        with passing, listener:
            async with trio.open_nursery() as calls:
                while True:
                    accepted, _ = await listener.accept()
                    calls.start_soon(self._connect, trio.SocketStream(accepted))

    async def _connect(self, caller: trio.SocketStream) -> None:
        async with caller, await trio.open_unix_socket(self._there) as called, trio.open_nursery() as both:
            both.start_soon(_pass_on, caller, called, both.cancel_scope)
            both.start_soon(_pass_on, called, caller, both.cancel_scope)


async def _pass_on(source: trio.SocketStream, target: trio.SocketStream, both: trio.CancelScope) -> None:
    try:
        async for chunk in source:
            await target.send_all(chunk)
    except trio.BrokenResourceError:
        pass
    both.cancel()


@asynccontextmanager
async def proxy_to(dsn: str) -> AsyncIterator[DatabaseProxy]:
    """Start a proxy that passes everything on until the test cuts it."""
    with tempfile.TemporaryDirectory(prefix="hm-line-") as directory:
        async with trio.open_nursery() as nursery:
            line = DatabaseProxy(dsn, Path(directory), nursery)
            await line.mend()
            try:
                yield line
            finally:
                nursery.cancel_scope.cancel()
