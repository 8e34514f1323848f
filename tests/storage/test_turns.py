"""Callers get the connections of the pool in the order of their requests."""

from functools import partial
from itertools import count

import trio

from storage.postgres import Connection, Postgres, open_postgres

ASKERS, ROUNDS, CONNECTIONS = 30, 10, 2


async def test_callers_are_served_in_the_order_of_their_requests(dsn: str) -> None:
    asked, begun = count(), list[int]()

    async def ask(postgres: Postgres) -> None:
        for _ in range(ROUNDS):
            await postgres.transaction(partial(answer, next(asked)), atomic=False)

    async def answer(number: int, connection: Connection) -> None:
        begun.append(number)
        await connection.fetchrow("SELECT 1")

    async with open_postgres(dsn, pool_size=CONNECTIONS) as postgres, trio.open_nursery() as nursery:
        for _ in range(ASKERS):
            nursery.start_soon(ask, postgres)
    assert sorted(begun) == list(range(ASKERS * ROUNDS))
    out_of_turn = [abs(place - number) for place, number in enumerate(begun)]
    assert max(out_of_turn) < CONNECTIONS, "trio may swap the two to whom both connections were given at once"
