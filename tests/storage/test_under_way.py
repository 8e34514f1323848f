"""A batch in flight is neither aborted nor overtaken, and a transaction that holds its locks only delays it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from domain.billing.posting import Outcome, Receipt
from domain.ids import RoomId
from server.ids import new_uuid
from storage.connections import login
from storage.ledger.actor import MAX_BATCH, MAX_WAITING, StorageActor
from storage.rooms.leases import Leases
from tests.storage.ledger_pair import LedgerPair, Observer, block, open_ledger_pair, tip
from tests.storage.postgres_processes import eventually

FENCE = "SELECT 1 FROM fence FOR UPDATE"
WALLET = "SELECT 1 FROM wallets WHERE id = $1 FOR UPDATE"
PATIENCE_SECONDS = 10.0


async def test_a_commit_under_way_is_finished_though_the_actor_is_cancelled(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        actor, scope, receipts = StorageActor(ledgers.postgres, Observer()), trio.CancelScope(), list[Receipt]()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_run_in, scope, actor)
            async with _held(ledgers, FENCE):
                assert actor.submit([tip(fan, creator, 40, "k")], receipts.extend)
                await _see(partial(_waiting, ledgers, 1))
                scope.cancel()
                await trio.testing.wait_all_tasks_blocked()
        assert [receipt.outcome for receipt in receipts] == [Outcome.COMMITTED]
        assert (await ledgers.wallets_in_database())[creator].balance == 40


async def test_callers_who_stop_waiting_stop_no_posting_under_way_and_none_in_the_queue(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        wanted = [[tip(fan, creator, 40, key)] for key in ("under way", "in line")]
        async with _held(ledgers, FENCE), trio.open_nursery() as callers:
            callers.start_soon(ledgers.actor.post, wanted[0])
            await _see(partial(_waiting, ledgers, 1))
            callers.start_soon(ledgers.actor.post, wanted[1])
            await trio.testing.wait_all_tasks_blocked()
            callers.cancel_scope.cancel()
        await eventually(lambda: ledgers.actor.idle)
        again = [(await ledgers.actor.post(postings))[0].outcome for postings in wanted]
        assert again == [Outcome.ALREADY, Outcome.ALREADY]


async def test_the_receipts_of_one_caller_come_in_the_order_of_its_postings_whatever_their_batches(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(MAX_WAITING), await ledgers.add_user()
        room, receipts, numbers = await ledgers.add_room(fan), list[Receipt](), range(1, 2 * MAX_BATCH)
        for block_no in numbers:
            assert ledgers.actor.submit([block(room, fan, creator, block_no, tokens=1)], receipts.extend)
        await eventually(lambda: ledgers.actor.idle)
        assert [receipt.posting.block_no for receipt in receipts] == list(numbers)
        assert {receipt.outcome for receipt in receipts} == {Outcome.COMMITTED}


async def test_a_room_is_not_taken_over_before_the_block_under_way_is_booked(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        room, receipts, seen = await ledgers.add_room(fan), list[Receipt](), list[int]()
        async with trio.open_nursery() as nursery:
            async with _held(ledgers, WALLET, creator):
                assert ledgers.actor.submit([block(room, fan, creator, 1)], receipts.extend)
                await _see(partial(_waiting, ledgers, 1))
                nursery.start_soon(_take_over, ledgers, room, seen)
                await _see(partial(_waits_or_has_seen, ledgers, seen))
        await eventually(lambda: ledgers.actor.idle)
        assert seen == [1], "the new owner goes on from the old one's last block"
        assert [receipt.outcome for receipt in receipts] == [Outcome.COMMITTED]


async def test_a_write_lock_held_for_too_long_delays_postings_and_loses_none(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "LOCK_TIMEOUT_MS", 50)
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        receipts = list[Receipt]()
        async with _held(ledgers, FENCE):
            assert ledgers.actor.submit([tip(fan, creator, 40)], receipts.extend)
            await eventually(lambda: ledgers.actor.away_seconds > 0 or bool(receipts))
        await eventually(lambda: ledgers.actor.idle)
        assert [receipt.outcome for receipt in receipts] == [Outcome.COMMITTED]


async def _run_in(scope: trio.CancelScope, actor: StorageActor) -> None:
    with scope:
        await actor.run()


async def _take_over(ledgers: LedgerPair, room: RoomId, seen: list[int]) -> None:
    """Claim the room as another server does, and append the number of its last block to `seen`."""
    leases = Leases(ledgers.postgres, new_uuid(), 60)
    await leases.renew()
    assert await leases.claim(room) is not None
    rows = await ledgers.postgres.fetch("SELECT last_block FROM meters WHERE room_id = $1", room)
    seen.append(rows[0]["last_block"])


@asynccontextmanager
async def _held(ledgers: LedgerPair, lock: str, *args: Any) -> AsyncIterator[None]:
    """Hold the locks of these rows in another transaction."""
    holder = await ledgers.postgres.connect()
    try:
        await holder.fetchrow("BEGIN")
        await holder.fetchrow(lock, *args)
        yield
    finally:
        holder.terminate()


async def _see(holds: Callable[[], Awaitable[bool]]) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while not await holds():
            await trio.lowlevel.checkpoint()


async def _waiting(ledgers: LedgerPair, count: int) -> bool:
    rows = await ledgers.postgres.fetch(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return bool(rows[0][0] == count)


async def _waits_or_has_seen(ledgers: LedgerPair, seen: list[int]) -> bool:
    return bool(seen) or await _waiting(ledgers, 2)
