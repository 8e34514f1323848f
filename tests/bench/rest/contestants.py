"""The contestants: their servers, which are installed on demand or skipped with a reason, and the requests they get."""

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import trio

from storage.embedded.launcher import Address
from tests.bench.fanout.room import Cores
from tests.bench.rest.client import Template
from tests.support.lifeline import tied
from tests.support.npm import install_modules
from tests.support.processes import ROOT, environment, free_ports

SCRIPTS = Path(__file__).parent / "peers"
PEERS = ("hypercorn", "quart", "express", "starlette")
NODE_MODULES = ("express@5", "pg@8")
WHEELS = ("uvicorn[standard]>=0.35,<1", "starlette>=0.47,<2")
START_SECONDS_MAX = 30.0
TIP_TOKENS = 1


class User(msgspec.Struct, frozen=True):
    """A fan with a token of the server, and the creator whom they tip."""

    id: str
    token: str
    creator_id: str


class Contestant(msgspec.Struct, frozen=True):
    """A running server, and the requests of each of its routes."""

    name: str
    pid: int
    port: int
    routes: Mapping[str, list[Template]]


def halfminute_routes(users: Sequence[User]) -> dict[str, list[Template]]:
    """Return the requests of halfminute's routes."""
    reads = {
        "healthz": "/healthz",
        "config": "/api/config",
        "wallet": "/api/wallet",
        "me": "/api/me",
        "ledger": "/api/wallet/ledger?limit=20",
        "streams": "/api/streams?limit=20",
    }
    routes = {
        name: [_get(path, f"Authorization: Bearer {user.token}\r\n") for user in users] for name, path in reads.items()
    }
    routes["healthz"] = [_get(reads["healthz"])]
    routes["tip"] = [_tip("/api/tips/send", user, f"Authorization: Bearer {user.token}\r\n") for user in users]
    return routes


def peer_routes(name: str, users: Sequence[User]) -> dict[str, list[Template]]:
    """Return the requests of a peer's routes."""
    if name in ("hypercorn", "quart"):
        return {"plain": [_get("/")]}
    return {
        "wallet": [_get(f"/wallet/{user.id}") for user in users],
        "tip": [_tip(f"/tips/{user.id}", user) for user in users],
    }


def _get(path: str, fields: str = "") -> Template:
    return Template(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n".encode())


def _tip(path: str, user: User, fields: str = "") -> Template:
    body = f'{{"toCreatorId":"{user.creator_id}","amountTokens":{TIP_TOKENS}}}'
    fields += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}Idempotency-Key: bench-"
    return Template(head.encode(), f"\r\n\r\n{body}".encode())


async def install(scratch: Path, wanted: Sequence[str], seconds: float) -> tuple[list[str], list[str]]:
    """Install the packages of the wanted peers into `scratch`. Return the names of those that can run, and the reasons
    for others."""
    ready, skipped = [], []
    for name in wanted:
        reason = None
        if name == "express":
            shutil.copy(SCRIPTS / "express.js", scratch)  # next to the modules that it loads
            reason = await trio.to_thread.run_sync(install_modules, scratch, NODE_MODULES, seconds)
        elif name == "starlette":
            reason = await trio.to_thread.run_sync(_install_wheels, scratch / "wheels", seconds)
        if reason is None:
            ready.append(name)
        else:
            skipped.append(f"{name}: skipped, {reason}")
    return ready, skipped


def _install_wheels(target: Path, seconds: float) -> str | None:
    """Install Python packages into a directory of their own. Return the reason if that failed, else None."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target), *WHEELS]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds, preexec_fn=tied())
    except subprocess.TimeoutExpired:
        return f"pip install took more than {seconds:g} s"
    return None if done.returncode == 0 else f"pip install failed: {done.stderr[-200:].strip()}"


@asynccontextmanager
async def open_peer(
    name: str, scratch: Path, database: Address, users: Sequence[User], cores: Cores
) -> AsyncIterator[Contestant]:
    """Yield a running peer on the servers' core; it is killed at the end."""
    port = free_ports(1)[0]
    process = await trio.lowlevel.open_process(
        [*_command(name, scratch, database), str(port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
        env=environment({"PYTHONPATH": f"{ROOT}{os.pathsep}{scratch / 'wheels'}", "NODE_ENV": "production"}),
        preexec_fn=tied(partial(os.sched_setaffinity, 0, {cores.server})),
    )
    try:
        await _listening(port)
        yield Contestant(name, process.pid, port, peer_routes(name, users))
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


def _command(name: str, scratch: Path, database: Address) -> list[str]:
    where = {
        "host": str(database.socket_dir),
        "port": database.port,
        "user": database.user,
        "database": database.database,
    }
    match name:
        case "express":
            return ["node", str(scratch / "express.js"), msgspec.json.encode(where).decode()]
        case "starlette":
            return [sys.executable, str(SCRIPTS / "starlette_app.py"), msgspec.json.encode(where).decode()]
        case _:
            return [sys.executable, str(SCRIPTS / "bare.py"), name]


async def _listening(port: int) -> None:
    """Wait until a server accepts connections. Raises TooSlowError after START_SECONDS_MAX."""
    with trio.fail_after(START_SECONDS_MAX):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.05)  # nothing reports that another program listens
            else:
                await stream.aclose()
                return
