"""Any page of a statement takes at most 20 ms, in wallets with half a million entries.

The time is that of the processor, in the database and here: it says the same beside a busy neighbour, and no part of
such a read waits for anything else.
"""

import time
from itertools import product

import pytest

from domain.billing.posting import Kind
from domain.ids import UserId
from storage.ledger.statements import Entry, EntryFilter, statement
from storage.paging import COUNT_LIMIT, Page, Paged
from storage.postgres import Postgres, open_postgres
from storage.rooms.block_entries import list_block_entries
from tests.storage.old_server import (
    EARNER,
    ENTRIES,
    FIRST_AT,
    LONG_BLOCKS,
    LONG_CALL,
    LONG_FAN,
    STEP,
    STEP_POSTINGS,
    TIPPED,
)
from tests.support.processor import processor_seconds

PAGE_SECONDS_MAX = 0.020
TRIES = 5  # the best one counts, since a busy neighbour empties the processor's caches

MIDDLE, LATE, NEVER = (FIRST_AT + steps * STEP for steps in (50_000, 99_000, 900_000))
PERIODS = ((None, None), (MIDDLE, None), (None, MIDDLE), (MIDDLE, MIDDLE + STEP), (MIDDLE, LATE), (NEVER, None))
KINDS = (None, Kind.BLOCK, Kind.TIP, Kind.PAYOUT, Kind.REFUND)  # for either wallet a common one, rare ones and none
SIDES = (None, "debit", "credit")
PAGES = (Page(100), Page(100, 10_000), Page(100, before=str(ENTRIES // 2)), Page(100, 10_000, str(LONG_BLOCKS + 2)))

LEDGER = [EntryFilter(kind, *period) for kind, period in product(KINDS, PERIODS)]
HISTORY = [EntryFilter(Kind.BLOCK, *period, side=side) for period, side in product(PERIODS, SIDES)]
OF_A_CALL = [
    EntryFilter(Kind.BLOCK, since, until, LONG_CALL, side)
    for (since, until), side in product([*PERIODS, (FIRST_AT + STEP, FIRST_AT + 3000 * STEP)], SIDES)
]


@pytest.mark.parametrize("plan_mode", ["force_custom_plan", "force_generic_plan"])  # of a first request, of later ones
@pytest.mark.parametrize("user_id", [EARNER, TIPPED, LONG_FAN], ids=["mostly blocks", "mostly tips", "the fan"])
async def test_any_page_takes_at_most_20_ms(old_server: str, user_id: UserId, plan_mode: str) -> None:
    async with open_postgres(old_server, pool_size=1) as postgres:
        await postgres.execute(f"SET plan_cache_mode = {plan_mode}")
        await postgres.execute("SET max_parallel_workers_per_gather = 0")  # the time of helpers would not be counted
        (backend,) = await postgres.fetch("SELECT pg_backend_pid() AS pid")
        slow = {}
        for wanted, page in product(LEDGER + HISTORY + OF_A_CALL, PAGES):
            if (seconds := await _seconds(postgres, backend["pid"], user_id, wanted, page)) > PAGE_SECONDS_MAX:
                slow[wanted, page] = f"{1000 * seconds:.1f} ms"
        assert slow == {}


async def _seconds(postgres: Postgres, backend: int, user_id: UserId, wanted: EntryFilter, page: Page) -> float:
    """Return the best time of a few attempts, with all round trips; one attempt if that is fast enough."""
    best = float("inf")
    for _ in range(TRIES):
        started = _processor_seconds(backend)
        await _read(postgres, user_id, wanted, page)
        best = min(best, _processor_seconds(backend) - started)
        if best <= PAGE_SECONDS_MAX:
            break
    return best


def _processor_seconds(backend: int) -> float:
    """Return the processor time so far of the database's process and of this thread."""
    return processor_seconds(backend) + time.thread_time()


async def _read(postgres: Postgres, user_id: UserId, wanted: EntryFilter, page: Page) -> Paged[Entry]:
    read = statement if wanted.room_id is None else list_block_entries
    return await read(postgres, user_id, wanted, page)


async def test_totals_are_exact_to_ten_thousand(old_server: str) -> None:
    limit_steps = COUNT_LIMIT // STEP_POSTINGS
    exactly, more = MIDDLE + limit_steps * STEP, MIDDLE + (limit_steps + 1) * STEP
    async with open_postgres(old_server, pool_size=1) as postgres:
        for user_id, wanted, total in (
            (EARNER, EntryFilter(), None),
            (EARNER, EntryFilter(since=MIDDLE, until=exactly), COUNT_LIMIT),
            (EARNER, EntryFilter(since=MIDDLE, until=more), None),
            (EARNER, EntryFilter(Kind.BLOCK), None),
            (EARNER, EntryFilter(Kind.TIP), 10),
            (EARNER, EntryFilter(Kind.PAYOUT), 5),
            (EARNER, EntryFilter(Kind.BLOCK, room_id=LONG_CALL), None),
            (EARNER, EntryFilter(Kind.BLOCK, until=FIRST_AT + 100 * STEP, room_id=LONG_CALL), 497),
            (LONG_FAN, EntryFilter(Kind.BLOCK, until=FIRST_AT + 100 * STEP, room_id=LONG_CALL), 497),
            (TIPPED, EntryFilter(Kind.BLOCK), 200),
            (TIPPED, EntryFilter(Kind.BLOCK, room_id=LONG_CALL), 0),
        ):
            found = await _read(postgres, user_id, wanted, Page(1))
            assert (found.total, found.total_capped) == ((total, False) if total is not None else (COUNT_LIMIT, True))


async def test_the_oldest_block_of_a_long_call_is_a_page_away(old_server: str) -> None:
    async with open_postgres(old_server, pool_size=1) as postgres:
        for user_id in (EARNER, LONG_FAN):
            wanted = EntryFilter(Kind.BLOCK, until=FIRST_AT + 2000 * STEP, room_id=LONG_CALL)
            found = await _read(postgres, user_id, wanted, Page(100, 9_990))
            assert [entry.block_no for entry in found.items] == list(range(7, 0, -1))
