"""One-row reads from a pool: `python -m tests.bench.rest.reads halfminute|asyncpg DSN`.

Each line on standard input is a number of reads, of which READERS are under way at once; it is answered by the CPU
microseconds of this process for a read. `halfminute` reads through `storage.postgres` under trio, `asyncpg` through
connections of asyncpg under plain asyncio, without a pool's own cost.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID, uuid4

import asyncpg
import trio

from storage.postgres import open_postgres

READERS = 16
READ = "SELECT supabase_id, display_name FROM halfminute.users WHERE supabase_id = $1"

Read = Callable[[UUID], Awaitable[object]]


async def with_halfminute(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=READERS) as postgres:
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            began = time.process_time()
            async with trio.open_nursery() as nursery:
                for _ in range(READERS):
                    nursery.start_soon(_read, partial(postgres.fetchrow, READ), int(line) // READERS)
            _report(began, int(line))


async def with_asyncpg(dsn: str) -> None:
    connections = [await asyncpg.connect(dsn) for _ in range(READERS)]
    while line := await asyncio.to_thread(sys.stdin.readline):
        began = time.process_time()
        reads = [_read(partial(connection.fetchrow, READ), int(line) // READERS) for connection in connections]
        await asyncio.gather(*reads)
        _report(began, int(line))


async def _read(read: Read, times: int) -> None:
    user_id = uuid4()
    for _ in range(times):
        await read(user_id)


def _report(began: float, reads: int) -> None:
    print(f"READ {(time.process_time() - began) / (reads // READERS * READERS) * 1e6:.1f}", flush=True)


if __name__ == "__main__":
    way, dsn = sys.argv[1:]
    if way == "halfminute":
        trio.run(with_halfminute, dsn)
    else:
        asyncio.run(with_asyncpg(dsn))
