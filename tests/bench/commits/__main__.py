"""Measures side by side, in one run and in turn, how fast blocks are booked: `python -m tests.bench.commits`."""

import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import cyclopts
import msgspec
import trio

from storage.embedded.launcher import Address, open_embedded, postmaster_pid
from storage.postgres import Postgres, open_postgres
from tests.bench.commits.history import check_ledger, count_journal, prepare
from tests.bench.commits.legacy_peers import PEERS, LegacyPeers, open_legacy_peers
from tests.bench.commits.limits import copy_turn
from tests.bench.commits.lone import lone_turn
from tests.bench.commits.plot import draw
from tests.bench.commits.result import Result, result_of
from tests.bench.commits.rooms import rooms_turn
from tests.bench.commits.table import show
from tests.bench.disk import measure_fsync
from tests.bench.report import in_turn, save
from tests.bench.turn import Turn
from tests.load.costs import cost

JOURNAL_ROWS = 1_000_000

Contestant = Callable[[], Awaitable[list[Turn]]]


class Plan(msgspec.Struct, frozen=True):
    """The size of a run: rows, rounds and seconds."""

    journal_rows: int
    rounds: int
    turn_seconds: float
    peers: tuple[str, ...] = PEERS


FULL = Plan(JOURNAL_ROWS, rounds=5, turn_seconds=4.0)
QUICK = Plan(100_000, rounds=3, turn_seconds=0.4)


def main(
    *,
    quick: bool = False,
    out: Path | None = None,
    rounds: int | None = None,
    data: Path | None = None,
    journal_rows: int | None = None,
    turn_seconds: float | None = None,
    peers: tuple[str, ...] = PEERS,
) -> None:
    """Book blocks by the storage actor, by the older system and at the limits; print medians, spread and ratios.

    Args:
        quick: Fewer rows, rounds and seconds: done within 50 seconds.
        out: A directory for `commits.json` and `commits.svg`.
        rounds: How often each contestant has a turn.
        data: A directory where the filled database is kept for the next run.
        journal_rows: How many postings the journal has before.
        turn_seconds: How long a turn is.
        peers: The programs of the older system that take part.
    """
    wanted = {"rounds": rounds, "journal_rows": journal_rows, "turn_seconds": turn_seconds, "peers": peers}
    changes = {name: value for name, value in wanted.items() if value is not None}
    plan = msgspec.structs.replace(QUICK if quick else FULL, **changes)
    result = trio.run(run, plan, None if data is None else data.absolute())
    show(result)
    if out is not None:
        save(out, "commits", result, draw(result))


async def run(plan: Plan, data: Path | None) -> Result:
    """Prepare the databases, give each contestant its turn in every round, and check the ledgers."""
    scratch = Path(tempfile.mkdtemp(prefix="halfminute-bench-"))
    try:
        return await _run_in(plan, scratch if data is None else data)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


async def _run_in(plan: Plan, directory: Path) -> Result:
    async with _filled(directory / f"books-{plan.journal_rows}", plan) as (address, data_dir):
        fsync = measure_fsync(directory)
        async with open_postgres(address.dsn, pool_size=2) as postgres:
            journal_rows = await count_journal(postgres)  # a kept database has those of earlier runs, too
            legacy_peers, missing = await open_legacy_peers(postgres, address, directory / "node", plan.peers)
            turns = await _take_turns(postgres, _contestants(postgres, legacy_peers, plan.turn_seconds), plan, data_dir)
            await check_ledger(postgres)
    return result_of(turns, fsync, journal_rows, os.cpu_count() or 1, [missing] if missing else [])


@asynccontextmanager
async def _filled(data_dir: Path, plan: Plan) -> AsyncIterator[tuple[Address, Path]]:
    """Yield a PostgreSQL that is filled with the history and has just made a checkpoint."""
    async with open_embedded(data_dir) as address:
        async with open_postgres(address.dsn, pool_size=1) as postgres:
            await prepare(postgres, plan.journal_rows)
    async with open_embedded(data_dir) as address:  # stopping makes a checkpoint
        yield address, data_dir


def _contestants(postgres: Postgres, legacy_peers: LegacyPeers, seconds: float) -> list[Contestant]:
    async def rooms(name: str, hot: bool) -> list[Turn]:
        return [await rooms_turn(postgres, name, seconds, hot)]

    async def limit(name: str, with_wallets: bool) -> list[Turn]:
        return [await copy_turn(postgres, name, seconds, with_wallets)]

    async def legacy(peer: str, name: str, concurrency: int, hot: bool) -> list[Turn]:
        return [await legacy_peers.turn(peer, f"{peer}_{name}", seconds, concurrency, hot)]

    peers = [
        contestant
        for peer in legacy_peers.commands
        for contestant in (
            lambda peer=peer: legacy(peer, "c10", 10, False),
            lambda peer=peer: legacy(peer, "c10_hot", 10, True),
            lambda peer=peer: legacy(peer, "c1", 1, False),
        )
    ]
    return [
        lambda: rooms("rooms", False),
        lambda: limit("copy_update", True),
        lambda: limit("copy", False),
        lambda: rooms("rooms_hot", True),
        lambda: lone_turn(postgres, seconds),
        *peers,
    ]


async def _take_turns(postgres: Postgres, contestants: list[Contestant], plan: Plan, data_dir: Path) -> list[Turn]:
    turns: list[Turn] = []
    for round_no in range(1, plan.rounds + 1):
        for contestant in in_turn(contestants, round_no):
            for turn in await _observed(postgres, contestant, data_dir):
                turns.append(msgspec.structs.replace(turn, round=round_no))
                print(f"round {round_no}: {turn.contestant} {turn.per_second:,.0f}/s", file=sys.stderr, flush=True)
    return turns


async def _observed(postgres: Postgres, contestant: Contestant, data_dir: Path) -> list[Turn]:
    """Run a contestant's turn; return its figures and PostgreSQL's cost."""
    postmaster = postmaster_pid(data_dir)
    assert postmaster is not None
    wal, cpu = await _wal_position(postgres), cost(os.getpid(), postmaster, os.getpid()).postgres
    turns = await contestant()
    postings = sum(turn.postings for turn in turns)
    wal_bytes = (await _wal_position(postgres) - wal) / postings
    postgres_us = (cost(os.getpid(), postmaster, os.getpid()).postgres - cpu) / postings * 1e6
    load = os.getloadavg()[0]
    return [msgspec.structs.replace(turn, postgres_us=postgres_us, wal_bytes=wal_bytes, load=load) for turn in turns]


async def _wal_position(postgres: Postgres) -> int:
    rows = await postgres.fetch("SELECT (pg_current_wal_lsn() - '0/0')::bigint")
    return int(rows[0][0])


if __name__ == "__main__":
    cyclopts.run(main)
