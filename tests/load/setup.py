"""Setup of a load run: the server process, users with tokens, and the process of the client pool."""

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import msgspec
import trio

from domain.billing.posting import Kind, Posting
from domain.ids import PROMOTIONS, UserId, client_key
from server.ids import new_uuid
from storage.embedded.launcher import postmaster_pid
from storage.ledger import batch as batch_statement
from storage.ledger.actor import MAX_BATCH
from storage.postgres import Postgres
from tests.load.client_pool import Milestone, Plan, Report
from tests.storage.ledger_pair import OPERATOR
from tests.support.lifeline import tied
from tests.support.processes import ROOT, ServerProcess, environment

T = TypeVar("T")

ACT_SECONDS_MAX = 600.0  # of what is done beside calls
FAN_TOKENS = 1_000_000
RATE_TOKENS_PER_MIN = 60


class Server(ServerProcess):
    """The server under load, with the process ids that the measurements read."""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def postmaster(self) -> int:
        pid = postmaster_pid(self.data_dir)
        assert pid is not None, "a server that answers has its database"
        return pid


CREATORS = """
    INSERT INTO creators (user_id, rate_tokens_per_min, accepts_calls) SELECT unnest($1::uuid[]), $2, true
"""


async def add_users(postgres: Postgres, fans: list[UserId], creators: list[UserId]) -> None:
    """Insert fans with tokens and creators with a rate into the database, which saves thousands of requests."""
    await postgres.execute("INSERT INTO users (supabase_id) SELECT unnest($1::uuid[])", [*fans, *creators])
    await postgres.execute(CREATORS, creators, RATE_TOKENS_PER_MIN)
    for start in range(0, len(fans), MAX_BATCH):
        credits = [_credit(fan) for fan in fans[start : start + MAX_BATCH]]
        await postgres.fetchrow(batch_statement.APPLY, *batch_statement.batch_arguments(credits, False))


async def start_client_pool(task_status: trio.TaskStatus[trio.Process]) -> None:
    """Run `tests.load.client_pool` until it ends, and report its process to the nursery."""
    await trio.run_process(
        [sys.executable, "-m", "tests.load.client_pool"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=environment({}),
        preexec_fn=tied(),
        task_status=task_status,
    )


async def do_beside_calls(
    server: Server, postgres: Postgres, calls: int, ramp_seconds: float, act: Callable[[], T]
) -> T:
    """Hold so many calls; once all are up, run `act` in a thread, and let the calls end when it has ended.

    Returns its result. The calls are rung evenly over `ramp_seconds`.
    """
    pairs = [(new_uuid(), new_uuid()) for _ in range(calls)]
    await add_users(postgres, [UserId(fan) for fan, _ in pairs], [UserId(creator) for _, creator in pairs])
    plan = Plan(
        http_port=server.http_port,
        websocket_port=server.websocket_port,
        jwt_secret=server.jwt_secret(),
        pairs=pairs,
        ramp_seconds=ramp_seconds,
        call_seconds=ACT_SECONDS_MAX,
    )
    results: list[T] = []
    async with trio.open_nursery() as nursery:
        pool = await nursery.start(start_client_pool)
        await pool.stdin.send_all(msgspec.json.encode(plan) + b"\n")

        async def act_and_end() -> None:
            results.append(await trio.to_thread.run_sync(act))
            await pool.stdin.send_all(b"over\n")

        async for line in read_lines(pool.stdout):
            message = msgspec.json.decode(line, type=Milestone | Report)
            if isinstance(message, Milestone) and message.phase == "up":
                nursery.start_soon(act_and_end)
    return results[0]


async def read_lines(stream: trio.abc.ReceiveStream) -> AsyncIterator[bytes]:
    """Yield the complete lines of a stream, without their newlines."""
    unread = b""
    async for data in stream:
        *whole, unread = (unread + data).split(b"\n")
        for line in whole:
            yield line


def _credit(fan: UserId) -> Posting:
    key = client_key(fan, "load run")
    return Posting(key=key, kind=Kind.CREDIT, operator_id=OPERATOR, debit=PROMOTIONS, credit=fan, tokens=FAN_TOKENS)
