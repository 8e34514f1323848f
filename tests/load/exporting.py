"""Exports a journal of millions of rows while calls bill beside it: `python -m tests.load.exporting`.

Prints the rows a second, the server's memory as the export goes on, and how late the blocks were meanwhile. A real
server, its own PostgreSQL, real calls. Exits with 1 if a block was too late, or the export is not the whole journal.
"""

import http.client
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import cyclopts
import trio
from cyclopts import Parameter

from domain.ids import TOKEN_SALES
from server.access.tokens import issue_token
from server.ids import new_uuid
from storage.embedded.launcher import find_running
from storage.postgres import Connection, Postgres, open_postgres
from tests.load.costs import memory_mib, raise_file_limit
from tests.load.figures import PostedBlock, Spread, read_blocks, spread
from tests.load.setup import Server, do_beside_calls
from tests.support.history import insert_postings, patiently

PAIRS = 1_000  # of a fan and a creator in the history
READ_BYTES = 1 << 20
MEMORY_SHOWN = 10  # of the samples of memory
RAMP_SECONDS = 5.0

HISTORY = f"""
    CREATE TEMP TABLE pairs ON COMMIT DROP AS
        SELECT i, gen_random_uuid() AS fan, gen_random_uuid() AS creator FROM generate_series(0, {PAIRS - 1}) i;
    INSERT INTO users (supabase_id) SELECT fan FROM pairs UNION SELECT creator FROM pairs;
    INSERT INTO wanted (seq, kind, debit, credit, tokens, created_at)
        SELECT i - {PAIRS}, 4, '{TOKEN_SALES}', fan, 900000000, now() - interval '300 days' FROM pairs;
    INSERT INTO wanted (seq, kind, debit, credit, tokens, created_at)
        SELECT n, 2, fan, creator, 1 + n % 50, now() - interval '300 days' + n * (interval '299 days' / $rows)
          FROM generate_series(1, $rows - {PAIRS}) n JOIN pairs ON i = n % {PAIRS};
"""

Format = Literal["csv", "ndjson"]


class Exported(NamedTuple):
    """A finished export, with the server's memory in MiB every so often."""

    rows: int
    mib: float
    began_at: float
    ended_at: float
    memory: list[float]

    @property
    def seconds(self) -> float:
        return self.ended_at - self.began_at


def main(
    *,
    rows: Annotated[int, Parameter(help="postings in the journal before the calls")] = 10_000_000,
    calls: Annotated[int, Parameter(help="calls that are billed beside the export")] = 200,
    form: Annotated[Format, Parameter(help="the format of the export")] = "csv",
    block_seconds: Annotated[int, Parameter(help="the length of a block")] = 10,
    most_ms: Annotated[float, Parameter(help="bound of every block from due to posted")] = 250,
) -> int:
    """Fill a journal, export it while calls are billed, and show what it took."""
    raise_file_limit()
    with tempfile.TemporaryDirectory(prefix="halfminute-load-") as folder:
        settings = {"HALFMINUTE_CALLS_BLOCK_SECONDS": str(block_seconds)}
        with Server(Path(folder) / "data", settings=settings) as server:
            exported, blocks, stored = trio.run(_run, server, rows, calls, form)
            server.terminate()
            server.wait_exit()
    meanwhile = [block for block in blocks if exported.began_at <= block.due_at <= exported.ended_at]
    late = spread(block.late_ms for block in meanwhile)
    _show(exported, late, calls)
    whole = stored - len(blocks) <= exported.rows <= stored
    return 0 if whole and late.count and late.most <= most_ms else 1


async def _run(server: Server, rows: int, calls: int, form: Format) -> tuple[Exported, list[PostedBlock], int]:
    address = await find_running(server.data_dir)
    assert address is not None, "a server that answers has its database"
    async with open_postgres(address.dsn, pool_size=1) as postgres:
        await _fill(postgres, rows)
        exported = await do_beside_calls(server, postgres, calls, RAMP_SECONDS, partial(_export, server, form))
        counted = await postgres.fetchrow("SELECT sum(n)::bigint / 2 FROM wallets")
        assert counted is not None, "an aggregate is one row"
        return exported, await read_blocks(postgres), counted[0]


async def _fill(postgres: Postgres, rows: int) -> None:
    began = time.monotonic()

    async def fill(connection: Connection) -> None:
        await insert_postings(connection, HISTORY.replace("$rows", str(rows)))

    await postgres.transaction(fill, seconds=math.inf)
    await patiently(postgres, "VACUUM (ANALYZE) journal")
    print(f"{rows:,} postings in {time.monotonic() - began:.0f} s", flush=True)


def _export(server: Server, form: Format) -> Exported:
    """Download the whole journal, and keep nothing of it."""
    token = issue_token(server.jwt_secret(), new_uuid(), role="operator", ttl_seconds=3600, now=time.time())
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)
    connection.request("GET", f"/api/admin/journal?format={form}", headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    rows, size, memory, began_at = -1 if form == "csv" else 0, 0, [], time.time()
    for part in _parts(answer):
        rows, size = rows + part.count(b"\n"), size + len(part)
        memory.append(memory_mib(server.pid)[0])
    return Exported(rows, size / (1 << 20), began_at, time.time(), memory)


def _parts(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    while part := answer.read(READ_BYTES):
        yield part


def _show(exported: Exported, late: Spread, calls: int) -> None:
    print(f"{exported.rows:,} rows, {exported.mib:,.0f} MiB in {exported.seconds:.1f} s", end="")
    print(f": {exported.rows / exported.seconds:,.0f} rows/s")
    samples = exported.memory[:: max(1, len(exported.memory) // MEMORY_SHOWN)]
    print(f"memory of the server, MiB: {' '.join(f'{mib:.0f}' for mib in samples)}; at most {max(exported.memory):.0f}")
    print(f"{late.count:,} blocks of {calls} calls meanwhile, from due to posted, ms: ", end="")
    print(f"p50 {late.p50}, p99 {late.p99}, at most {late.most}")


if __name__ == "__main__":
    sys.exit(cyclopts.run(main))
