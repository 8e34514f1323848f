"""Measures one posting at a time, and beside it a bare INSERT with a commit on the same connection."""

import time
from collections.abc import Awaitable, Callable, Sequence

import trio

from domain.billing.posting import Kind, Posting, Receipt
from domain.ids import block_key
from storage.ledger.actor import StorageActor
from storage.postgres import Postgres
from tests.bench.commits.history import PRICE_TOKENS, Party, read_parties
from tests.bench.commits.settling import Settling
from tests.bench.turn import Turn, percentile
from tests.support.history import JOURNAL_COLUMNS

PLACES = ", ".join(f"${i + 1}" for i in range(len(JOURNAL_COLUMNS)))
INSERT = f"INSERT INTO journal ({', '.join(JOURNAL_COLUMNS)}) VALUES ({PLACES})"


class Nobody:
    """An observer of the actor that keeps nothing."""

    def batch_committed(self, receipts: Sequence[Receipt], seconds: float) -> None: ...

    def posting_poisoned(self, receipt: Receipt) -> None:
        raise AssertionError(f"refused: {receipt}")


async def lone_turn(postgres: Postgres, seconds: float) -> list[Turn]:
    """Alternate a lone posting and a bare INSERT, so that both meet the same state of the disk."""
    *_, ours, theirs = await read_parties(postgres, hot=False)
    settling = Settling([theirs])
    await postgres.transaction(settling.read, atomic=False)
    actor = StorageActor(postgres, Nobody())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(actor.run)
        connection = await postgres.connect()
        await connection.fetchrow("SELECT set_config('halfminute.booking', 'on', false)")
        post = await _poster(postgres, actor, ours)
        turns = await _in_turn(seconds, post, lambda: connection.fetchrow(INSERT, *settling.next_batch(1)[0]))
        connection.terminate()
        actor.close()
    await postgres.transaction(settling.put_right, atomic=False)
    return turns


async def _poster(postgres: Postgres, actor: StorageActor, party: Party) -> Callable[[], Awaitable[object]]:
    room_id, fan, creator = party
    last_block: int = (await postgres.fetch("SELECT last_block FROM meters WHERE room_id = $1", room_id))[0][0]

    async def post() -> None:
        nonlocal last_block
        last_block += 1
        block = Posting(
            key=block_key(room_id, fan, last_block),
            kind=Kind.BLOCK,
            debit=fan,
            credit=creator,
            tokens=PRICE_TOKENS,
            room_id=room_id,
            epoch=1,
            block_no=last_block,
        )
        receipts = await actor.post([block])
        assert receipts[0].paid, receipts

    return post


async def _in_turn(
    seconds: float, post: Callable[[], Awaitable[object]], insert: Callable[[], Awaitable[object]]
) -> list[Turn]:
    took: dict[str, list[float]] = {"lone": [], "insert": []}
    cpu = {"lone": 0.0, "insert": 0.0}
    for work in (post, insert):
        await work()  # prepares the statement
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        for name, work in (("lone", post), ("insert", insert)):
            started, cpu_started = time.perf_counter(), time.process_time()
            await work()
            took[name].append(time.perf_counter() - started)
            cpu[name] += time.process_time() - cpu_started
    return [
        Turn(
            contestant=name,
            postings=len(took[name]),
            seconds=sum(took[name]),
            p50_ms=percentile(took[name], 0.5) * 1000,
            p99_ms=percentile(took[name], 0.99) * 1000,
            client_us=cpu[name] / len(took[name]) * 1e6,
        )
        for name in took
    ]
