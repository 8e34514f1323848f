"""A run: starts all servers on one PostgreSQL, and lets each route of each have its turns."""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import count
from pathlib import Path

import msgspec
import trio

from domain.ids import UserId
from server.access.tokens import issue_token
from server.ids import new_uuid
from storage.embedded.launcher import Address, find_running
from storage.postgres import open_postgres
from tests.bench.fanout.room import Cores, LineProcess, choose_cores, spent, started
from tests.bench.report import in_turn
from tests.bench.rest.client import Answers, Order
from tests.bench.rest.contestants import PEERS, SCRIPTS, Contestant, User, halfminute_routes, install, open_peer
from tests.bench.rest.result import FEW, OURS, Reads, Result, Turn, result_of
from tests.load.setup import Server, add_users

STREAMS = 20  # as many as a page of the list has; each creator has one
WARM_UP_SECONDS = 0.3
TIP_SECONDS = 2.0  # before all turns, so that the pages of the ledger are full
SPARE_SECONDS_MAX = 30.0  # after a turn's own seconds; more than a server takes for any request
KEYS_A_TURN = 1_000_000  # more than any turn takes
TOKEN_SECONDS = 3600


class Plan(msgspec.Struct, frozen=True):
    """The size of a run: rounds, seconds of a turn, and numbers of connections."""

    rounds: int
    turn_seconds: float
    connections: tuple[int, ...]
    reads: int
    install_seconds: float
    peers: tuple[str, ...] = PEERS


class Entry(msgspec.Struct, frozen=True):
    """One contestant's route with a number of connections: what has a turn in each round."""

    contestant: Contestant
    route: str
    connections: int


def run(plan: Plan) -> Result:
    """Install and start the contestants, and let each have its turns."""
    cores = choose_cores()
    with tempfile.TemporaryDirectory(prefix="halfminute-bench-") as folder:
        server = Server(Path(folder) / "house")
        with server:
            pin(server, cores)
            turns, reads, skipped = trio.run(_measure, plan, server, Path(folder), cores)
            server.terminate()
            server.wait_exit()
    return result_of(turns, reads, os.cpu_count() or 1, cores.shared, skipped)


def pin(server: Server, cores: Cores) -> None:
    """Bind the server's threads to its core; PostgreSQL, which was started before, runs anywhere."""
    for thread in Path(f"/proc/{server.pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {cores.server})


async def _measure(
    plan: Plan, server: Server, scratch: Path, cores: Cores
) -> tuple[list[Turn], list[Reads], list[str]]:
    address = await find_running(server.data_dir)
    assert address is not None, "a server that answers has its database"
    names, skipped = await install(scratch, plan.peers, plan.install_seconds)
    users = await _add_users(server, address)
    async with AsyncExitStack() as stack:
        command = [sys.executable, "-m", "tests.bench.rest.client"]
        clients = Clients(await stack.enter_async_context(started(command, "the clients", cores.drainer)))
        contestants = [Contestant(OURS, server.pid, server.http_port, halfminute_routes(users))]
        for name in names:
            contestants.append(await stack.enter_async_context(open_peer(name, scratch, address, users, cores)))
        await clients.turn(Entry(contestants[0], "tip", FEW), TIP_SECONDS)
        turns = await _take_turns(plan, contestants, clients)
    return turns, await _read(plan, address, cores), skipped


async def _add_users(server: Server, address: Address) -> list[User]:
    """Add fans with tokens, creators with a stream each, and the tables of the peers."""
    fans = [UserId(new_uuid()) for _ in range(FEW)]
    creators = [UserId(new_uuid()) for _ in range(STREAMS)]
    async with open_postgres(address.dsn, pool_size=1) as postgres:
        await add_users(postgres, fans, creators)
        await postgres.transaction(lambda connection: connection.execute((SCRIPTS / "tips.sql").read_text()))
    token_of = partial(issue_token, server.jwt_secret(), ttl_seconds=TOKEN_SECONDS, now=time.time())
    for creator in creators:
        server.post("/api/streams", token_of(creator), {"title": "Soon", "type": "public"}).raise_for_status()
    return [User(str(fan), token_of(fan), str(creator)) for fan, creator in zip(fans, creators, strict=False)]


class Clients:
    """The process of the clients."""

    def __init__(self, process: LineProcess) -> None:
        self._process = process
        self._turns = count()

    async def turn(self, entry: Entry, seconds: float) -> Turn:
        """Let the clients send requests for some seconds. Raises AssertionError if one is answered with an error."""
        contestant, keys = entry.contestant, next(self._turns) * KEYS_A_TURN
        requests = list(contestant.routes[entry.route])
        order = Order(contestant.port, seconds, entry.connections, requests, keys)
        await self._process.write(msgspec.json.encode(order).decode())
        await self._process.read("READY", SPARE_SECONDS_MAX)
        before = spent(contestant.pid)
        await self._process.write("GO")
        answers = Answers(*await self._process.read("ANSWERS", seconds + SPARE_SECONDS_MAX))
        after = spent(contestant.pid)
        assert not answers.errors, f"{contestant.name}, {entry.route}: {answers.errors:g} errors"
        return Turn(
            contestant=contestant.name,
            route=entry.route,
            connections=entry.connections,
            requests=round(answers.answers),
            seconds=answers.seconds,
            server_us=(after.running - before.running) / answers.answers * 1e6,
            client_us=answers.cpu_seconds / answers.answers * 1e6,
            p50_ms=answers.p50_ms,
            p99_ms=answers.p99_ms,
            most_ms=answers.most_ms,
            kept_waiting=(after.kept_waiting - before.kept_waiting) / answers.seconds,
            load=os.getloadavg()[0],
        )


async def _take_turns(plan: Plan, contestants: Sequence[Contestant], clients: Clients) -> list[Turn]:
    entries = [
        Entry(contestant, route, connections)
        for contestant in contestants
        for route in contestant.routes
        for connections in plan.connections
    ]
    for entry in entries:
        await clients.turn(entry, WARM_UP_SECONDS)
    turns: list[Turn] = []
    for round_no in range(1, plan.rounds + 1):
        for entry in in_turn(entries, round_no):
            turn = msgspec.structs.replace(await clients.turn(entry, plan.turn_seconds), round=round_no)
            turns.append(turn)
            what = f"{turn.contestant}, {turn.route}, {turn.connections} connections"
            print(f"round {round_no}: {what}: {turn.server_us:,.0f} us", file=sys.stderr, flush=True)
    return turns


async def _read(plan: Plan, address: Address, cores: Cores) -> list[Reads]:
    """Let both ways to read a row have their turns."""
    command = [sys.executable, "-m", "tests.bench.rest.reads"]
    async with (
        started([*command, OURS, address.dsn], "the reads of halfminute", cores.server) as ours,
        started([*command, "asyncpg", address.dsn], "reads of asyncpg", cores.server) as theirs,
    ):
        found = []
        for round_no in range(plan.rounds + 1):
            costs = dict.fromkeys(in_turn([ours, theirs], round_no), 0.0)
            for each in costs:
                await each.write(str(plan.reads))
                costs[each] = (await each.read("READ", SPARE_SECONDS_MAX))[0]
            found.append(Reads(costs[ours], costs[theirs]))
    return found[1:]  # the first round prepares the statement on each connection
