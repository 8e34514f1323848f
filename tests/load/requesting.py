"""Bills calls while many REST clients ask without a pause: `python -m tests.load.requesting`.

Prints how late the blocks were meanwhile, and how many requests a second were answered. A real server, its own
PostgreSQL, real calls, and the clients of `tests.bench.rest.mixed`. Exits with 1 if a block was too late or a request
failed.
"""

import sys
import tempfile
import time
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, NamedTuple

import cyclopts
import trio
from cyclopts import Parameter

from storage.embedded.launcher import find_running
from storage.postgres import open_postgres
from tests.bench.fanout.room import choose_cores
from tests.bench.rest.measure import pin
from tests.bench.rest.mixed.clients import Answers, Workload
from tests.bench.rest.mixed.run import ask, invite
from tests.load.costs import raise_file_limit
from tests.load.figures import PostedBlock, Spread, read_blocks, spread
from tests.load.setup import Server, do_beside_calls


class Asked(NamedTuple):
    """The answers to the REST clients, and when they asked (unix seconds)."""

    answers: Answers
    began_at: float
    ended_at: float


def main(
    *,
    calls: Annotated[int, Parameter(help="calls at once, each with two websockets")] = 1000,
    connections: Annotated[int, Parameter(help="REST clients, each over a connection of its own")] = 200,
    seconds: Annotated[float, Parameter(help="how long the clients ask")] = 60,
    block_seconds: Annotated[int, Parameter(help="the length of a block")] = 30,
    most_ms: Annotated[float, Parameter(help="bound of every block from due to posted")] = 100,
) -> int:
    """Hold calls, let the clients ask beside them, and show how late the blocks were."""
    raise_file_limit()
    settings = {"HALFMINUTE_CALLS_BLOCK_SECONDS": str(block_seconds)}
    with tempfile.TemporaryDirectory(prefix="halfminute-load-") as folder:
        with Server(Path(folder) / "data", settings=settings) as server:
            workload = Workload(server.http_port, seconds, trio.run(invite, server, connections))
            asked, blocks = trio.run(_run, server, workload, calls, block_seconds)
            server.terminate()
            server.wait_exit()
    late = spread(block.late_ms for block in blocks if asked.began_at <= block.due_at <= asked.ended_at)
    _show(asked, late, calls, connections)
    return 0 if late.count and late.most <= most_ms and not asked.answers.errors else 1


async def _run(server: Server, workload: Workload, calls: int, ramp_seconds: float) -> tuple[Asked, list[PostedBlock]]:
    """Let the clients ask once all calls are up, which are rung evenly over a block, so that blocks fall due evenly."""
    address = await find_running(server.data_dir)
    assert address is not None, "a server that answers has its database"
    async with open_postgres(address.dsn, pool_size=1) as postgres:
        asked = await do_beside_calls(server, postgres, calls, ramp_seconds, partial(_ask, server, workload))
        return asked, await read_blocks(postgres)


def _ask(server: Server, workload: Workload) -> Asked:
    """Run the clients on the core that the server does not have."""
    cores = choose_cores()
    pin(server, cores)
    began_at = time.time()
    return Asked(ask(workload, cores), began_at, time.time())


def _show(asked: Asked, late: Spread, calls: int, connections: int) -> None:
    answers = asked.answers
    all_ms = spread(chain.from_iterable(answers.ms.values()))
    print(f"{connections} REST clients: {all_ms.count / answers.seconds:,.0f} requests/s, ", end="")
    print(f"p50 {all_ms.p50:.0f} ms, p99 {all_ms.p99:.0f} ms, errors {answers.errors or 'none'}")
    print(f"{late.count:,} blocks of {calls} calls meanwhile, from due to posted, ms: ", end="")
    print(f"p50 {late.p50}, p99 {late.p99}, at most {late.most}")


if __name__ == "__main__":
    sys.exit(cyclopts.run(main))
