"""The storage actor while its database is unavailable: the queue and memory are bounded, and all is booked in order."""

import gc
from collections.abc import Iterator
from functools import partial
from itertools import cycle
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing

from domain.billing.posting import Posting, Receipt
from domain.ids import RoomId, UserId
from storage.ledger import actor
from storage.ledger.actor import MAX_BATCH, MAX_LIST, MAX_WAITING, StorageActor
from storage.ledger.audit import audit
from storage.migrate import migrate
from storage.postgres import open_postgres
from tests.storage.ledger_pair import LedgerPair, block, open_ledger_pair
from tests.storage.own_postgres import OwnPostgres, own_postgres
from tests.storage.postgres_processes import eventually

SUBMITTERS, POSTERS, LATECOMERS = 48, 12, 8
LIST = 3  # blocks that a poster sends together
LISTS = 40  # of each poster; the outage begins in the middle of them
AWAY_SECONDS = 1.5
LOOKS = 10  # in that time
RETRY_SECONDS = 0.01  # so that it retries more than a hundred times during the outage
OBJECTS_MORE_MAX = 1000  # of Python's, after those tries: far fewer than one in ten of them would leave behind
TASKS_MORE_MAX = 6  # for one try to connect
DRAIN_SECONDS_MAX = 60.0


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[OwnPostgres]:
    with own_postgres(tmp_path / "postgres") as running:
        yield running


class Caller:
    """Post the blocks of one room in order: a block that is booked out of order would be refused as a gap."""

    def __init__(self, room: RoomId, fan: UserId, creator: UserId) -> None:
        self._of = room, fan, creator
        self.sent = 0
        self.receipts: list[Receipt] = []

    def submit(self, to: StorageActor) -> bool:
        taken = to.submit(self._next(1), self.receipts.extend)
        self.sent += taken
        return taken

    async def post(self, to: StorageActor, lists: int) -> None:
        for _ in range(lists):
            postings = self._next(LIST)
            self.sent += LIST
            self.receipts += await to.post(postings)

    def check(self) -> None:
        assert [receipt.posting.block_no for receipt in self.receipts] == list(range(1, self.sent + 1))
        assert all(receipt.paid for receipt in self.receipts)

    def _next(self, count: int) -> list[Posting]:
        return [block(*self._of, self.sent + i, tokens=1) for i in range(1, count + 1)]


async def test_postings_that_wait_for_the_database_are_bounded_and_drain_in_order(
    postgres: OwnPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor, "RETRY_SECONDS", (RETRY_SECONDS,))
    await _migrate(postgres.dsn)
    async with open_ledger_pair(postgres.dsn) as ledgers:
        submitters, posters, latecomers = [
            [await _caller(ledgers) for _ in range(count)] for count in (SUBMITTERS, POSTERS, LATECOMERS)
        ]
        with structlog.testing.capture_logs() as logged:
            with trio.fail_after(DRAIN_SECONDS_MAX):
                async with trio.open_nursery() as nursery:
                    for poster in posters:
                        nursery.start_soon(poster.post, ledgers.actor, LISTS)
                    await eventually(lambda: all(poster.receipts for poster in posters))
                    await trio.to_thread.run_sync(postgres.stop)
                    await eventually(lambda: ledgers.actor.away_seconds > 0)
                    _fill(ledgers.actor, submitters)
                    for latecomer in latecomers:
                        nursery.start_soon(latecomer.post, ledgers.actor, 1)
                    await trio.testing.wait_all_tasks_blocked()
                    await _see_that_nothing_grows(ledgers.actor)
                    assert [latecomer.receipts for latecomer in latecomers] == [[]] * LATECOMERS
                    await trio.to_thread.run_sync(postgres.start)
                await eventually(lambda: ledgers.actor.idle)
        assert ledgers.actor.away_seconds == 0
        assert [line["event"] for line in logged] == ["storage.away", "storage.back"]
        assert logged[1]["after_seconds"] > AWAY_SECONDS
        callers = submitters + posters + latecomers
        for caller in callers:
            caller.check()
        assert sum(caller.sent for caller in submitters) > MAX_WAITING - POSTERS
        booked = await ledgers.postgres.fetch("SELECT count(*) FROM journal WHERE kind = 1")
        assert booked[0][0] == sum(caller.sent for caller in callers)
        assert [finding.sentence async for finding in audit(ledgers.postgres) if finding.rows] == []


def _fill(of: StorageActor, submitters: list[Caller]) -> None:
    """Submit postings until the mailbox is full; it must then refuse those of every submitter."""
    for submitter, _ in zip(cycle(submitters), range(2 * MAX_WAITING), strict=False):
        if not submitter.submit(of):
            break
    assert of.waiting == MAX_WAITING
    assert not any(submitter.submit(of) for submitter in submitters)


async def _see_that_nothing_grows(of: StorageActor) -> None:
    tasks, objects = _tasks(), _objects()
    for look in range(1, LOOKS + 1):
        await eventually(partial(_is_away_for, of, look * AWAY_SECONDS / LOOKS))
        assert (of.waiting, of.submit([], _nobody)) == (MAX_WAITING, False)
        assert of._owed <= MAX_BATCH + MAX_LIST
        assert _tasks() <= tasks + TASKS_MORE_MAX
    assert _objects() < objects + OBJECTS_MORE_MAX


def _is_away_for(of: StorageActor, seconds: float) -> bool:
    return of.away_seconds > seconds


def _nobody(_: list[Receipt]) -> None:
    raise AssertionError("nothing was taken, so nothing is handed out")


def _tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def _objects() -> int:
    gc.collect()
    return len(gc.get_objects())


async def _migrate(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres:
        await migrate(postgres)


async def _caller(ledgers: LedgerPair) -> Caller:
    fan, creator = await ledgers.add_user(tokens=1_000), await ledgers.add_user()
    return Caller(await ledgers.add_room(fan), fan, creator)
