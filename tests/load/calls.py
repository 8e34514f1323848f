"""Holds many calls at once on this machine, and shows how late their blocks are: `python -m tests.load.calls`.

A real server with a PostgreSQL of its own, two real websockets a call, real time. Exits with 1 if a bound is broken.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec
import trio
from cyclopts import Parameter

from domain.ids import UserId
from server.ids import new_uuid
from storage.embedded.launcher import find_running
from storage.ledger.audit import Finding, audit
from storage.postgres import open_postgres
from tests.load.checks import Check, check_blocks, check_bounds, check_calls, check_server
from tests.load.client_pool import Milestone, Phase, Plan, Report
from tests.load.costs import Cost, cost, memory_mib, raise_file_limit
from tests.load.figures import (
    PostedBlock,
    Spread,
    StoredCall,
    read_blocks,
    read_calls,
    read_histogram,
    spread,
)
from tests.load.profile import Profile
from tests.load.result import Load, Result, Worst
from tests.load.setup import Server, add_users, read_lines, start_client_pool
from tests.load.table import show

WORST_SHOWN = 8
LAST_LINES = 30  # of the log of a server that ended unexpectedly


class Observed:
    """The output of the client pool: the start of each phase, the resources used by then, and the report."""

    def __init__(self) -> None:
        self.began_at: dict[Phase, float] = {}
        self.costs: dict[Phase, Cost] = {}
        self.memory_mib: tuple[float, float] = (0, 0)
        self.profile = Profile()
        self.exposition = ""
        self.report = Report([])


class StoredResults:
    """The blocks, calls and findings in the database when all calls are over."""

    def __init__(self, blocks: list[PostedBlock], calls: list[StoredCall], findings: list[Finding]) -> None:
        self.blocks = blocks
        self.calls = calls
        self.findings = findings


def main(
    *,
    calls: Annotated[int, Parameter(help="calls at once, each with two websockets")] = 1000,
    seconds: Annotated[float, Parameter(help="how long all of them talk")] = 120,
    block_seconds: Annotated[int, Parameter(help="the length of a block")] = 30,
    ramp_seconds: Annotated[float | None, Parameter(help="they are rung evenly over; a block, if not said")] = None,
    p99_ms: Annotated[float, Parameter(help="bound of the 99th percentile from due to posted")] = 50,
    most_ms: Annotated[float, Parameter(help="bound of every block from due to posted")] = 250,
    profile_seconds: Annotated[int, Parameter(help="how long the server is sampled meanwhile, which slows it")] = 0,
    json: Annotated[Path | None, Parameter(help="where the figures are kept")] = None,
) -> int:
    """Hold calls, show how late their blocks are, and check that the ledger and both parties agree."""
    ramp = ramp_seconds or block_seconds
    result = run(Load(calls, seconds, block_seconds, ramp, p99_ms, most_ms, profile_seconds))
    show(result)
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2))
    return 1 if result.failures else 0


def run(load: Load) -> Result:
    """Run once, from an empty data directory to a stopped server."""
    raise_file_limit()
    with tempfile.TemporaryDirectory(prefix="halfminute-load-") as folder:
        settings = {"HALFMINUTE_CALLS_BLOCK_SECONDS": str(load.block_seconds)}
        server = Server(Path(folder) / "house", settings=settings)
        with server:
            try:
                observed, stored = trio.run(_hold_calls, load, server)
            finally:
                if not server.running:
                    print("the server died:", *server.errors.all()[-LAST_LINES:], sep="\n", file=sys.stderr)
            server.terminate()
            exit_code = server.wait_exit()
    posted = spread(block.late_ms for block in stored.blocks)
    checks = [
        *check_bounds(posted, load.p99_ms, load.most_ms),
        *check_calls(load.calls, observed.report, stored.calls),
        *check_blocks(observed.report, stored.calls, stored.blocks),
        *check_server(stored.findings, exit_code),
    ]
    return _result(load, observed, stored.blocks, posted, checks)


async def _hold_calls(load: Load, server: Server) -> tuple[Observed, StoredResults]:
    address = await find_running(server.data_dir)
    assert address is not None, "a server that answers has its database"
    async with open_postgres(address.dsn, pool_size=1) as postgres:
        pairs = [(new_uuid(), new_uuid()) for _ in range(load.calls)]
        await add_users(postgres, [UserId(fan) for fan, _ in pairs], [UserId(creator) for _, creator in pairs])
        observed = await _watch_client_pool(
            Plan(
                http_port=server.http_port,
                websocket_port=server.websocket_port,
                jwt_secret=server.jwt_secret(),
                pairs=pairs,
                ramp_seconds=load.ramp_seconds,
                call_seconds=load.seconds,
            ),
            server,
            load.profile_seconds,
        )
        observed.exposition = server.get("/metrics").raise_for_status().text
        findings = [finding async for finding in audit(postgres)]
        return observed, StoredResults(await read_blocks(postgres), await read_calls(postgres), findings)


async def _watch_client_pool(plan: Plan, server: Server, profile_seconds: int) -> Observed:
    """Let the client pool carry out the plan, and measure the cost of each phase; sample while all calls are up."""
    observed = Observed()
    async with trio.open_nursery() as nursery:
        pool = await nursery.start(start_client_pool)
        await pool.stdin.send_all(msgspec.json.encode(plan) + b"\n")
        await pool.stdin.aclose()
        async for line in read_lines(pool.stdout):
            message = msgspec.json.decode(line, type=Milestone | Report)
            if isinstance(message, Report):
                observed.report = message
                continue
            observed.began_at[message.phase] = time.time()
            observed.costs[message.phase] = cost(server.pid, server.postmaster, pool.pid)
            observed.memory_mib = memory_mib(server.pid)
            if message.phase == "up" and profile_seconds:
                nursery.start_soon(trio.to_thread.run_sync, observed.profile.sample, server.pid, profile_seconds)
    return observed


def _result(load: Load, observed: Observed, blocks: list[PostedBlock], posted: Spread, checks: list[Check]) -> Result:
    began = observed.began_at
    return Result(
        load=load,
        posted=posted,
        posted_while_up=spread(block.late_ms for block in blocks if began["up"] <= block.due_at < began["over"]),
        received=spread(_received_late_ms(observed.report, blocks)),
        handed_over=read_histogram(observed.exposition, "halfminute_block_lateness_seconds"),
        commit=read_histogram(observed.exposition, "halfminute_commit_seconds"),
        batches=read_histogram(observed.exposition, "halfminute_batch_postings"),
        cpu_percent=_cpu_percent(observed.costs["up"], observed.costs["over"], began["over"] - began["up"]),
        profile=dict(observed.profile.by_package()),
        memory_mib=dict(zip(("server", "server_at_most"), observed.memory_mib, strict=True)),
        worst=_worst(blocks, began["ringing"]),
        checks=checks,
    )


def _received_late_ms(report: Report, blocks: list[PostedBlock]) -> list[float]:
    due = {(block.call_id, block.block_no): block.due_at for block in blocks}
    return [
        (block.seen_at - due[call.call_id, block.block_no]) * 1000
        for call in report.calls
        for block in call.fan.blocks
        if (call.call_id, block.block_no) in due
    ]


def _cpu_percent(before: Cost, after: Cost, seconds: float) -> dict[str, float]:
    used = {name: (after[i] - before[i]) / seconds * 100 for i, name in enumerate(Cost._fields)}
    used["others"] = used["machine"] - used["server"] - used["postgres"] - used["client"]
    return {name: round(percent, 1) for name, percent in used.items()} | {"cores": os.cpu_count() or 1}


def _worst(blocks: list[PostedBlock], began_at: float) -> list[Worst]:
    latest = sorted(blocks, key=lambda block: block.late_ms, reverse=True)[:WORST_SHOWN]
    return [
        Worst(block.call_id, block.block_no, round(block.late_ms, 1), round(block.due_at - began_at, 1))
        for block in latest
    ]


if __name__ == "__main__":
    sys.exit(cyclopts.run(main))
