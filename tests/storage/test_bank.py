"""Many writers, readers beside them, and two servers on one database: the sum is always the same, nobody owes."""

import random
import subprocess
import sys
from pathlib import Path

import trio

from domain.ids import UserId
from domain.posting import Outcome
from storage.audit import audit
from tests.storage.books import Books, open_books, tip

PEOPLE = 24
TOKENS = 100
ROOT = Path(__file__).parents[2]


async def test_readers_always_see_the_same_sum_and_nobody_in_debt(dsn: str) -> None:
    async with open_books(dsn) as books:
        people = [await books.add_user(TOKENS) for _ in range(PEOPLE)]
        async with trio.open_nursery() as reading:
            reading.start_soon(_read_all_the_time, books)
            async with trio.open_nursery() as writing:
                for seed in range(16):
                    writing.start_soon(_move_tokens_about, books, people, random.Random(seed), 60)
            reading.cancel_scope.cancel()
        assert [finding.sentence async for finding in audit(books.postgres) if finding.rows] == []


async def _move_tokens_about(books: Books, people: list[UserId], chance: random.Random, times: int) -> None:
    for _ in range(times):
        payer, payee = chance.sample(people, 2)
        receipts = await books.actor.post([tip(payer, payee, chance.randint(1, 80)) for _ in range(3)])
        assert {receipt.outcome for receipt in receipts} <= {Outcome.COMMITTED, Outcome.INSUFFICIENT}


async def _read_all_the_time(books: Books) -> None:
    while True:
        rows = await books.postgres.fetch(
            "SELECT sum(balance) AS sum, min(balance) FILTER (WHERE user_id IS NOT NULL) AS least FROM wallets"
        )
        assert rows[0]["sum"] == 0
        assert rows[0]["least"] >= 0


async def test_two_servers_on_one_database_never_lock_each_other_out(dsn: str) -> None:
    """The fence row: both take it first, so neither ever holds what the other waits for."""
    async with open_books(dsn) as books:
        people = [await books.add_user(1_000_000) for _ in range(PEOPLE)]
        before = await _deadlocks(books)
        names = ",".join(map(str, people))
        writers = [_start_writer(dsn, names, seed) for seed in range(2)]
        booked = 0
        for writer in writers:
            output, _ = await trio.to_thread.run_sync(writer.communicate)
            assert writer.returncode == 0
            booked += int(output)
        assert await _deadlocks(books) == before
        count = await books.postgres.fetch("SELECT count(*) FROM journal WHERE kind = 2")
        assert count[0][0] == booked
        assert [finding.sentence async for finding in audit(books.postgres) if finding.rows] == []


def _start_writer(dsn: str, names: str, seed: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WRITER, dsn, names, str(seed)], cwd=ROOT, stdout=subprocess.PIPE)


BATCHES_EACH = 500
WRITER = f"""
import random, sys, uuid, trio
from domain.ids import UserId
from tests.storage.books import open_books, tip

async def main():
    dsn, names, seed = sys.argv[1:]
    people = [UserId(uuid.UUID(name)) for name in names.split(",")]
    chance, booked = random.Random(int(seed)), 0
    async with open_books(dsn) as books:
        for _ in range({BATCHES_EACH}):
            pairs = [chance.sample(people, 2) for _ in range(8)]
            receipts = await books.actor.post([tip(payer, payee, 1) for payer, payee in pairs])
            booked += sum(receipt.paid for receipt in receipts)
    print(booked)

trio.run(main)
"""


async def _deadlocks(books: Books) -> int:
    rows = await books.postgres.fetch("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(rows[0][0])
