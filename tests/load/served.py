"""A `halfminute serve` process with a data directory of its own, and what processes cost while it runs."""

import os
import random
import resource
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import httpx
import trio

LOG = "server.log"
PROGRAM = "from server.cli import main; main()"
OUR_FOLDER = Path(__file__).resolve().parents[2]
PORTS = range(20_000, 32_768)  # below those that the kernel gives to clients: thousands of ours are such clients
START_SECONDS = 60.0
STOP_SECONDS = 60.0
LOOK_SECONDS = 0.05
MIB = 1024 * 1024
CPU_TICKS = os.sysconf("SC_CLK_TCK")


class Served(NamedTuple):
    """A running server, and where to find it."""

    process: trio.Process
    http_port: int
    websocket_port: int
    data_dir: Path

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"


class StartError(Exception):
    """The server did not come up; its last words are the text."""


@asynccontextmanager
async def serving(data_dir: Path, settings: dict[str, str]) -> AsyncIterator[Served]:
    """A server that answers, until the block is left; then it is asked to drain. Raises StartError."""
    raise_file_limit()
    http_port, websocket_port = free_ports(2)
    addresses = ["--http", f"127.0.0.1:{http_port}", "--ws", f"127.0.0.1:{websocket_port}"]
    command = [sys.executable, "-c", PROGRAM, "serve", *addresses, "--data", str(data_dir)]
    with _opened_log(data_dir) as log:
        # Its working directory is the data directory, so that no config.toml is found by chance.
        process = await trio.lowlevel.open_process(
            command, stdout=log, stderr=log, cwd=data_dir, env=environment(settings)
        )
    served = Served(process, http_port, websocket_port, data_dir)
    try:
        await _wait_until_ready(served)
        yield served
    finally:
        await stop(process)


def environment(settings: dict[str, str]) -> dict[str, str]:
    """Ours, without settings and secrets of another house, with `settings` instead."""
    foreign = ("HALFMINUTE_", "DATABASE_URL", "BILLING_WEBHOOK_SECRET")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "PYTHONPATH": str(OUR_FOLDER), **settings}


async def stop(process: trio.Process) -> None:
    """SIGTERM, and patience; then SIGKILL."""
    with trio.CancelScope(shield=True):
        if process.returncode is None:
            process.terminate()
        with trio.move_on_after(STOP_SECONDS):
            await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _wait_until_ready(served: Served) -> None:
    with trio.move_on_after(START_SECONDS):
        async with httpx.AsyncClient(base_url=served.http) as http:
            while served.process.returncode is None:
                try:
                    if (await http.get("/healthz")).is_success:
                        return
                except httpx.TransportError:
                    await trio.sleep(LOOK_SECONDS)
    raise StartError(_last_words(served.data_dir) or "the server did not answer and says nothing")


def _opened_log(data_dir: Path) -> BinaryIO:
    data_dir.mkdir(parents=True, exist_ok=True)
    return (data_dir / LOG).open("wb")


def _last_words(data_dir: Path) -> str:
    return (data_dir / LOG).read_text()[-2000:]


def free_ports(count: int) -> list[int]:
    """Ports of the loopback on which nobody listens now."""
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
        if len(found) == count:
            return found
    raise OSError("no free port")


def raise_file_limit() -> None:
    """As many sockets as the system lets us have; child processes inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Cost(NamedTuple):
    """CPU seconds so far."""

    server: float
    postgres: float
    client: float
    machine: float  # everybody, ours included


def cost(server: int, postmaster: int, client: int) -> Cost:
    """What the three have used since they were started."""
    postgres = sum(map(_cpu_seconds, family(postmaster)))
    return Cost(_cpu_seconds(server), postgres, _cpu_seconds(client), _machine_seconds())


def family(pid: int) -> list[int]:
    """A process and its children."""
    return [pid, *(int(child.name) for child in Path("/proc").glob("[0-9]*") if _parent(child) == pid)]


def memory_mib(pid: int) -> tuple[float, float]:
    """Resident now, and at most so far."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    now, most = (int(fields[name].split()[0]) * 1024 / MIB for name in ("VmRSS", "VmHWM"))
    return now, most


def _parent(process: Path) -> int | None:
    try:
        return int(_stat(process)[1])
    except OSError:  # it is gone meanwhile
        return None


def _cpu_seconds(pid: int) -> float:
    """Its own, and that of children that are gone."""
    return sum(int(ticks) for ticks in _stat(Path(f"/proc/{pid}"))[11:15]) / CPU_TICKS


def _stat(process: Path) -> list[str]:
    """The fields after the name, which may hold anything: state, parent, …"""
    return (process / "stat").read_text().rpartition(")")[2].split()


def _machine_seconds() -> float:
    """All but idle and waiting."""
    user, nice, system, _, _, *interrupts = (
        int(ticks) for ticks in Path("/proc/stat").read_text().splitlines()[0].split()[1:8]
    )
    return (user + nice + system + sum(interrupts)) / CPU_TICKS
