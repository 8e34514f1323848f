"""Callers get the connections of the pool in the order of their requests."""

from collections import Counter

import trio

from storage.postgres import Postgres, open_postgres

ASKERS, ROUNDS = 30, 10


async def test_nobody_is_overtaken_again_and_again_while_all_connections_are_busy(dsn: str) -> None:
    answered: Counter[int] = Counter(dict.fromkeys(range(ASKERS), 0))
    ahead: list[int] = []

    async def ask(asker: int, postgres: Postgres) -> None:
        for _ in range(ROUNDS):
            await postgres.fetchrow("SELECT 1")
            answered[asker] += 1
            ahead.append(answered[asker] - min(answered.values()))

    async with open_postgres(dsn, pool_size=2) as postgres, trio.open_nursery() as nursery:
        for asker in range(ASKERS):
            nursery.start_soon(ask, asker, postgres)
    assert set(answered.values()) == {ROUNDS}
    assert max(ahead) <= 2, "with two connections, two may be answered before the one that waits longest"
