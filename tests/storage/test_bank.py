"""Many writers, concurrent readers, and two servers on one database: the sum is constant and no balance is negative."""

import random
import sys
from collections import Counter

import pytest
import trio

from domain.billing.posting import Outcome
from domain.ids import UserId
from storage.ledger.audit import audit
from tests.storage.ledger_pair import LedgerPair, open_ledger_pair, tip
from tests.support.processes import ROOT

USERS = 24
TOKENS = 100
SERVERS = 2
READERS = 2
LIST_SECONDS_MAX = 0.1  # of each server, on a busy machine; one deadlock would take ten times as long


async def test_readers_always_see_the_same_sum_and_nobody_in_debt(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        users = [await ledgers.add_user(TOKENS) for _ in range(USERS)]
        async with trio.open_nursery() as reading:
            reading.start_soon(_read_all_the_time, ledgers)
            async with trio.open_nursery() as writing:
                for seed in range(16):
                    writing.start_soon(_move_tokens_about, ledgers, users, random.Random(seed), 60)
            reading.cancel_scope.cancel()
        assert [finding.sentence async for finding in audit(ledgers.postgres) if finding.rows] == []


async def _move_tokens_about(ledgers: LedgerPair, users: list[UserId], chance: random.Random, times: int) -> None:
    for _ in range(times):
        payer, payee = chance.sample(users, 2)
        receipts = await ledgers.actor.post([tip(payer, payee, chance.randint(1, 80)) for _ in range(3)])
        assert {receipt.outcome for receipt in receipts} <= {Outcome.COMMITTED, Outcome.INSUFFICIENT}


async def _read_all_the_time(ledgers: LedgerPair) -> None:
    while True:
        rows = await ledgers.postgres.fetch(
            "SELECT sum(balance) AS sum, min(balance) FILTER (WHERE user_id IS NOT NULL) AS least FROM wallets"
        )
        assert rows[0]["sum"] == 0
        assert rows[0]["least"] >= 0


@pytest.mark.parametrize("lists", [1_000, pytest.param(10_000, marks=pytest.mark.long)])
async def test_two_servers_on_one_database_never_lock_each_other_out(dsn: str, lists: int) -> None:
    """Both servers take the write lock first, so that neither holds a row that the other waits for."""
    async with open_ledger_pair(dsn) as ledgers:
        users = [await ledgers.add_user(TOKENS) for _ in range(USERS)]
        outcomes: list[list[str]] = []
        with trio.fail_after(lists * LIST_SECONDS_MAX):
            async with trio.open_nursery() as reading:
                for _ in range(READERS):
                    reading.start_soon(_read_all_the_time, ledgers)
                async with trio.open_nursery() as writing:
                    for seed in range(SERVERS):
                        writing.start_soon(_write, dsn, seed, lists // SERVERS, users, outcomes)
                reading.cancel_scope.cancel()
        deadlocks = await ledgers.postgres.fetch(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
        assert deadlocks[0][0] == 0
        await _check_that_each_is_there_once(ledgers, outcomes)
        assert [finding.sentence async for finding in audit(ledgers.postgres) if finding.rows] == []


async def _write(dsn: str, seed: int, lists: int, users: list[UserId], outcomes: list[list[str]]) -> None:
    """Run a server as a process of its own; it must log no retry on standard error."""
    words = sys.executable, "-m", "tests.storage.bank_writer", dsn, str(seed), str(lists), *map(str, users)
    writer = await trio.run_process(words, cwd=ROOT, capture_stdout=True, capture_stderr=True)
    assert writer.stderr.decode() == ""
    outcomes += [line.split() for line in writer.stdout.decode().splitlines()]


async def _check_that_each_is_there_once(ledgers: LedgerPair, outcomes: list[list[str]]) -> None:
    rows = await ledgers.postgres.fetch("SELECT key FROM journal WHERE kind = 2")
    booked = {row["key"].hex for row in rows}
    assert len(rows) == len(booked)
    assert Counter(key for outcome, key in outcomes if outcome == "COMMITTED") == Counter(booked)
    wanted_by_both = {key for outcome, key in outcomes if outcome == "ALREADY"}
    assert wanted_by_both <= booked
    assert wanted_by_both, "the servers met"
    assert {outcome for outcome, _ in outcomes} == {"COMMITTED", "ALREADY", "INSUFFICIENT"}
