"""The legacy peers, in processes of their own: the older system's statements from Node with `pg`, and from asyncpg."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import trio

from storage.embedded.launcher import Address
from storage.postgres import Postgres
from tests.bench.turn import Turn, percentile
from tests.support.lifeline import tied
from tests.support.processes import ROOT, environment

SCRIPTS = Path(__file__).parent / "peers"
PEERS = ("node", "asyncpg")
INSTALL_SECONDS_MAX = 120
SPARE = 100  # blocks that a turn may have begun and not counted


class PeerTurn(msgspec.Struct):
    """The result of a turn as a peer reports it."""

    took_ms: list[float]
    seconds: float
    cpu_seconds: float
    next: int


class LegacyPeers:
    """Runs the peers' turns. Each turn continues where the previous one stopped."""

    def __init__(self, address: Address, first_block: int, commands: dict[str, list[str]]) -> None:
        self._address = address
        self._first_block = first_block
        self.commands = commands
        self._start = {False: 0, True: 0}

    async def turn(self, peer: str, name: str, seconds: float, concurrency: int, hot: bool) -> Turn:
        order = {
            "host": str(self._address.socket_dir),
            "port": self._address.port,
            "user": self._address.user,
            "database": self._address.database,
            "seconds": seconds,
            "concurrency": concurrency,
            "hot": hot,
            "start": self._start[hot],
            "first_block": self._first_block,
        }
        report = await _run(self.commands[peer], order)
        self._start[hot] = report.next + SPARE
        return Turn(
            contestant=name,
            postings=len(report.took_ms),
            seconds=report.seconds,
            p50_ms=percentile(report.took_ms, 0.5),
            p99_ms=percentile(report.took_ms, 0.99),
            client_us=report.cpu_seconds / len(report.took_ms) * 1e6,
        )


async def open_legacy_peers(
    postgres: Postgres, address: Address, scratch: Path, peers: Sequence[str]
) -> tuple[LegacyPeers, str | None]:
    """Return the peers that can run here, and the reason for one that cannot."""
    commands, missing = {}, None
    if "node" in peers:
        node, missing = await _install_node(trio.Path(scratch))
        if node:
            commands["node"] = node
    if "asyncpg" in peers:
        commands["asyncpg"] = [sys.executable, str(SCRIPTS / "commits.py")]
    rows = await postgres.fetch("SELECT coalesce(max(block_no), 0) + 1 FROM legacy.call_blocks")
    return LegacyPeers(address, rows[0][0], commands), missing


async def _run(command: list[str], order: dict[str, Any]) -> PeerTurn:
    process = await trio.run_process(
        [*command, msgspec.json.encode(order).decode()],
        capture_stdout=True,
        cwd=ROOT,
        env=environment({}),
        preexec_fn=tied(),
    )
    return msgspec.json.decode(process.stdout, type=PeerTurn)


async def _install_node(scratch: trio.Path) -> tuple[list[str], str | None]:
    """Return the command that runs the script beside `pg`, or None and the reason."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return [], "node: skipped, there is no node with npm on this machine"
    modules = scratch / "node_modules" / "pg"
    await scratch.mkdir(parents=True, exist_ok=True)
    if not await modules.is_dir() and (reason := await _npm_install(str(scratch))):
        return [], f"node: skipped, {reason}"
    shutil.copy(SCRIPTS / "commits.js", str(scratch))  # next to the modules that it loads
    return ["node", str(scratch / "commits.js")], None


async def _npm_install(directory: str) -> str | None:
    """Install `pg`. Return the reason if that failed, else None."""
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", directory, "pg@8"]
    with trio.move_on_after(INSTALL_SECONDS_MAX):
        done = await trio.run_process(
            command,
            check=False,
            capture_stdout=True,
            capture_stderr=True,
            stdin=subprocess.DEVNULL,
            preexec_fn=tied(),
        )
        return None if done.returncode == 0 else f"`npm install pg` failed: {done.stderr.decode()[-200:].strip()}"
    return f"`npm install pg` took more than {INSTALL_SECONDS_MAX} s"
