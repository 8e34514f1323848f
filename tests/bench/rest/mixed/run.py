"""Measures the REST surface with clients that stay connected: `python -m tests.bench.rest.mixed`.

200 connections that are kept, each in a closed loop, read and tip for a minute: `GET /me`, `/wallet`, `/wallet/ledger`
and `/streams`, and `POST /tips/send` under keys. The server has one core and the clients another; PostgreSQL runs on
whichever is free. No request may fail; each tip that was answered must be booked, and no other.
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from functools import partial
from itertools import chain
from pathlib import Path

import msgspec
import trio

from domain.ids import UserId
from server.access.tokens import issue_token
from server.ids import new_uuid
from server.loadtest.measures.figures import spread
from storage.embedded.launcher import find_running
from storage.postgres import open_postgres
from tests.bench.fanout.room import Cores, Spent, choose_cores, spent
from tests.bench.rest.measure import pin
from tests.bench.rest.mixed.clients import Answers, Member, Workload
from tests.bench.rest.mixed.result import Result, show
from tests.load.costs import cost, raise_file_limit
from tests.load.profile import LEAST_PERCENT, Profile
from tests.load.setup import Server, add_users
from tests.support.lifeline import tied
from tests.support.processes import ROOT, environment, run_command

CONNECTIONS = 200
SECONDS = 60.0
QUICK_SECONDS = 3.0
STREAMS = 20  # as many as a page of the list has; each creator has one
TOKEN_SECONDS = 3600
ANSWER_SECONDS_MAX = 30.0  # after the end of the run; more than the server takes for any request
PAGE = Path(__file__).with_name("profile.md")
TIPS_BOOKED = "SELECT count(*) AS n FROM journal WHERE kind = 2"


def main(
    *, quick: bool = False, seconds: float | None = None, connections: int = CONNECTIONS, profile: bool = False
) -> int:
    """Run the clients; print how many requests a second were answered, and how long each kind took.

    Args:
        quick: A few seconds.
        seconds: How long the clients send requests.
        connections: How many clients send requests, each over a connection of its own.
        profile: Also sample the server with py-spy, which slows it, and write `profile.md`.
    """
    raise_file_limit()
    result = run(seconds or (QUICK_SECONDS if quick else SECONDS), connections, Profile() if profile else None)
    show(result)
    return 0 if result.sound else 1


def run(seconds: float, connections: int, profile: Profile | None = None) -> Result:
    """Run once, from an empty data directory to an audited ledger."""
    with tempfile.TemporaryDirectory(prefix="halfminute-bench-") as folder:
        server = Server(Path(folder) / "house")
        with server:
            workload = Workload(server.http_port, seconds, trio.run(invite, server, connections))
            result = _measure(server, workload, profile)
            booked = trio.run(_tips_booked, server)
            audit = run_command("audit", "--data", str(server.data_dir), cwd=Path(folder))
            print(audit.out, file=sys.stderr)
            server.terminate()
            server.wait_exit()
    return msgspec.structs.replace(result, tips_booked=booked, audit_holds=audit.exit_code == 0)


async def invite(server: Server, connections: int) -> list[Member]:
    """Add fans with tokens, and creators with a stream each, whom they tip."""
    fans = [UserId(new_uuid()) for _ in range(connections)]
    creators = [UserId(new_uuid()) for _ in range(STREAMS)]
    address = await find_running(server.data_dir)
    assert address is not None, "a server that answers has its database"
    async with open_postgres(address.dsn, pool_size=1) as postgres:
        await add_users(postgres, fans, creators)
    token_of = partial(issue_token, server.jwt_secret(), ttl_seconds=TOKEN_SECONDS, now=time.time())
    for creator in creators:
        server.post("/api/streams", token_of(creator), {"title": "Soon", "type": "public"}).raise_for_status()
    return [Member(token_of(fan), str(creators[number % STREAMS])) for number, fan in enumerate(fans)]


async def _tips_booked(server: Server) -> int:
    address = await find_running(server.data_dir)
    assert address is not None, "a server that answers has its database"
    async with open_postgres(address.dsn, pool_size=1) as postgres:
        booked: int = (await postgres.fetch(TIPS_BOOKED))[0]["n"]
    return booked


def _measure(server: Server, workload: Workload, profile: Profile | None) -> Result:
    """Run the workload; return the clients' answers and the CPU time that they cost."""
    cores = choose_cores()
    pin(server, cores)
    before, began = cost(server.pid, server.postmaster, os.getpid()), spent(server.pid)
    with nullcontext() if profile is None else profile.watching(server.pid, workload.seconds):
        measured = ask(workload, cores)
        used, ended = cost(server.pid, server.postmaster, os.getpid()), spent(server.pid)
    took = Spent(ended.running - began.running, ended.kept_waiting - began.kept_waiting)
    requests = sum(map(len, measured.ms.values()))
    if profile is not None:
        _write(profile, requests / measured.seconds)
    return Result(
        connections=len(workload.members),
        seconds=measured.seconds,
        requests_per_second=requests / measured.seconds,
        ms={
            "all": spread(chain.from_iterable(measured.ms.values())),
            **{kind: spread(ms) for kind, ms in measured.ms.items()},
        },
        errors=measured.errors,
        server_us=took.running / max(1, requests) * 1e6,
        server_cpu_percent=took.running / measured.seconds * 100,
        kept_waiting=took.kept_waiting / measured.seconds,
        postgres_cpu_percent=(used.postgres - before.postgres) / measured.seconds * 100,
        client_cpu_percent=measured.cpu_seconds / measured.seconds * 100,
        tips_answered=len(measured.ms["tip"]),
        tips_booked=0,
        audit_holds=False,
    )


def _write(profile: Profile, requests_per_second: float) -> None:
    """Write the profile as a Markdown page beside this file."""
    lines = [
        "# A profile of the server under REST requests",
        "",
        f"Written by `python -m tests.bench.rest.mixed --profile`: {profile.samples:,} samples of a server that",
        f"answered {requests_per_second:,.0f} requests a second meanwhile.",
        f"Rows of less than {LEAST_PERCENT:g} % are left out.",
    ]
    for title, shares in (
        ("The innermost package on the stack", profile.by_package()),
        ("Our functions, with all that they call", profile.by_function()),
    ):
        lines += ["", f"| {title} | % |", "|---|---:|", *(f"| {name} | {percent:.1f} |" for name, percent in shares)]
    PAGE.write_text("\n".join(lines) + "\n")


def ask(workload: Workload, cores: Cores) -> Answers:
    """Run the clients in a process of their own, which shares no core with the server if there are two."""
    asked = subprocess.run(
        [sys.executable, "-m", "tests.bench.rest.mixed.clients"],
        input=msgspec.json.encode(workload) + b"\n",
        stdout=subprocess.PIPE,
        check=True,
        cwd=ROOT,
        env=environment({}),
        preexec_fn=tied(partial(os.sched_setaffinity, 0, {cores.drainer})),
        timeout=workload.seconds + ANSWER_SECONDS_MAX,
    )
    return msgspec.json.decode(asked.stdout, type=Answers)
