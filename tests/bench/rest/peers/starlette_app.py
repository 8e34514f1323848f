"""The peer of Python: uvicorn, Starlette and a pool of asyncpg. `python starlette_app.py DATABASE PORT`.

DATABASE is JSON: host, port, user and database. There is no authentication, no rate limit and no log of requests.
"""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

POOL_SIZE = 10
WALLET = "SELECT balance, lifetime_spent, lifetime_earned FROM peers.wallets WHERE user_id = $1"


class Tips:
    """The routes, and the pool that they share."""

    pool: Any

    async def show_wallet(self, request: Request) -> JSONResponse:
        return JSONResponse(dict(await self.pool.fetchrow(WALLET, request.path_params["user_id"])))

    async def send_tip(self, request: Request) -> JSONResponse:
        fan_id, key = request.path_params["user_id"], request.headers["idempotency-key"]
        body = await request.json()
        creator_id, tokens = body["toCreatorId"], body["amountTokens"]
        async with self.pool.acquire() as connection, connection.transaction():
            balance = await connection.fetchval(
                "SELECT balance FROM peers.wallets WHERE user_id = $1 FOR UPDATE", fan_id
            )
            if balance < tokens:
                return JSONResponse({"error": "INSUFFICIENT_FUNDS"}, 402)
            await connection.execute(
                "INSERT INTO peers.tips (key, fan_id, creator_id, tokens) VALUES ($1, $2, $3, $4)",
                *(fan_id + key, fan_id, creator_id, tokens),
            )
            await connection.execute(
                "UPDATE peers.wallets SET balance = balance - $2, lifetime_spent = lifetime_spent + $2"
                " WHERE user_id = $1",
                *(fan_id, tokens),
            )
            await connection.execute(
                "UPDATE peers.wallets SET balance = balance + $2, lifetime_earned = lifetime_earned + $2"
                " WHERE user_id = $1",
                *(creator_id, tokens),
            )
        return JSONResponse({"balance": balance - tokens}, 201)

    @asynccontextmanager
    async def with_pool(self, database: dict[str, Any]) -> AsyncIterator[None]:
        async with asyncpg.create_pool(**database, min_size=POOL_SIZE, max_size=POOL_SIZE) as self.pool:
            yield


def main(database: str, port: str) -> None:
    """Serve until the process is killed."""
    tips = Tips()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with tips.with_pool(json.loads(database)):
            yield

    routes = [
        Route("/wallet/{user_id}", tips.show_wallet),
        Route("/tips/{user_id}", tips.send_tip, methods=["POST"]),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="error", access_log=False)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
