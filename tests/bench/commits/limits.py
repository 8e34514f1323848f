"""Measures the machine's upper limit: COPY of the same rows into the same journal, with and without the wallets."""

import time
from collections.abc import Sequence

from storage.ledger.actor import MAX_BATCH
from storage.postgres import Connection, Postgres
from tests.bench.commits.history import read_parties
from tests.bench.commits.settling import UPDATE_WALLETS, Record, Settling
from tests.bench.turn import Turn, percentile
from tests.support.history import JOURNAL_COLUMNS

# One round trip; and the planner, which guesses wrong for arrays, kept from scanning all wallets, as in our own.
BEGIN = """
    BEGIN; SELECT set_config('halfminute.booking', 'on', true), set_config('enable_hashjoin', 'off', true),
                  set_config('enable_mergejoin', 'off', true)
"""


async def copy_turn(postgres: Postgres, name: str, seconds: float, with_wallets: bool) -> Turn:
    """Copy batch after batch, a transaction each; their rows are computed while no clock runs."""
    parties = await read_parties(postgres, hot=False)
    return await postgres.transaction(
        lambda connection: _copy_turn(connection, Settling(parties), name, seconds, with_wallets), atomic=False
    )


async def _copy_turn(connection: Connection, settling: Settling, name: str, seconds: float, with_wallets: bool) -> Turn:
    await settling.read(connection)
    took: list[float] = []
    cpu_seconds = 0.0
    while sum(took) < seconds:
        records = settling.next_batch(MAX_BATCH)
        wallets = settling.moved_wallets(records) if with_wallets else None
        started, cpu_started = time.perf_counter(), time.process_time()
        await _copy_batch(connection, records, wallets)
        took.append(time.perf_counter() - started)
        cpu_seconds += time.process_time() - cpu_started
    await settling.put_right(connection)
    return Turn(
        contestant=name,
        postings=len(took) * MAX_BATCH,
        seconds=sum(took),
        p50_ms=percentile(took, 0.5) * 1000,
        p99_ms=percentile(took, 0.99) * 1000,
        client_us=cpu_seconds / len(took) / MAX_BATCH * 1e6,
    )


async def _copy_batch(connection: Connection, records: Sequence[Record], wallets: list[list[object]] | None) -> None:
    await connection.execute(BEGIN)
    if wallets is not None:
        await connection.execute(UPDATE_WALLETS, *wallets)
    await connection.copy_records_to_table("journal", records=records, columns=JOURNAL_COLUMNS)
    await connection.execute("COMMIT")
