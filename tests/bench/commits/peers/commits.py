"""The older system's way from asyncpg: a transaction of seven statements for each block, from a pool of ten."""

import asyncio
import json
import sys
import time
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

POOL_SIZE = 10

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


async def pay(connection: Connection, call_id: UUID, block_no: int) -> None:
    async with connection.transaction():
        call = await connection.fetchrow(
            "SELECT id, fan_id, creator_id, status, rate FROM calls WHERE id = $1 FOR UPDATE", call_id
        )
        assert call is not None and call["status"] == "active"
        fan, creator, rate = call["fan_id"], call["creator_id"], call["rate"]
        balance = await connection.fetchval("SELECT balance FROM wallets WHERE user_id = $1 FOR UPDATE", fan)
        assert balance >= rate
        await connection.execute(
            "UPDATE wallets SET balance = balance - $2, lifetime_spent = lifetime_spent + $2 WHERE user_id = $1",
            fan,
            rate,
        )
        await connection.execute(
            "UPDATE wallets SET balance = balance + $2, lifetime_earned = lifetime_earned + $2 WHERE user_id = $1",
            creator,
            rate,
        )
        await connection.execute(
            "INSERT INTO call_blocks (call_id, block_no, fan_id, creator_id, tokens) VALUES ($1, $2, $3, $4, $5)",
            call_id,
            block_no,
            fan,
            creator,
            rate,
        )
        await connection.execute(
            "INSERT INTO ledger (user_id, kind, amount, call_id, block_no)"
            " VALUES ($1, 1, -$3::bigint, $4, $5), ($2, 2, $3::bigint, $4, $5)",
            fan,
            creator,
            rate,
            call_id,
            block_no,
        )


class Bench:
    """Bills call after call, each a block at a time."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", calls: list[UUID], order: dict[str, Any]) -> None:
        self._pool = pool
        self._calls = calls
        self._order = order
        self.next: int = order["start"]
        self.took_ms: list[float] = []

    async def run(self) -> dict[str, Any]:
        together = range(self._order["concurrency"])
        await asyncio.gather(*(self._bill() for _ in together))  # connects and prepares its statements
        cpu, started = time.process_time(), time.perf_counter()
        await asyncio.gather(*(self._work(started + self._order["seconds"]) for _ in together))
        return {
            "took_ms": self.took_ms,
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - cpu,
            "next": self.next,
        }

    async def _work(self, deadline: float) -> None:
        while (began := time.perf_counter()) < deadline:
            await self._bill()
            self.took_ms.append((time.perf_counter() - began) * 1000)

    async def _bill(self) -> None:
        call_id, block_no = self._take()
        async with self._pool.acquire() as connection:
            await pay(connection, call_id, block_no)

    def _take(self) -> tuple[UUID, int]:
        round_no, place = divmod(self.next, len(self._calls))
        self.next += 1
        return self._calls[place], self._order["first_block"] + round_no


async def main(order: dict[str, Any]) -> None:
    async with asyncpg.create_pool(
        host=order["host"],
        port=order["port"],
        user=order["user"],
        database=order["database"],
        min_size=1,
        max_size=POOL_SIZE,
        server_settings={"search_path": "legacy", "jit": "off"},
    ) as pool:
        rows = await pool.fetch("SELECT id FROM calls WHERE hot = $1 ORDER BY id", order["hot"])
        print(json.dumps(await Bench(pool, [row["id"] for row in rows], order).run()))


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
