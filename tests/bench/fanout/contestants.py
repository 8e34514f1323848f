"""The contestants: the command of each, which is built or installed on demand, or the reason why it is skipped."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import trio

from server.broadcast.codec import Encoding
from tests.bench.fanout.ours import EVENT_BYTES, FRAME_BYTES, HEAD_BYTES, MIXED
from tests.support.lifeline import tied
from tests.support.npm import install_modules

SCRIPTS = Path(__file__).parent / "peers"
PEERS = ("ours", "mixed", "c", "ws", "socketio", "websockets", "awaiting")
NODE = ("ws", "socketio")
MODULES = ("ws@8", "socket.io@4")
BUILD_SECONDS_MAX = 20
SOCKETIO_PATH = "/socket.io/?EIO=4&transport=websocket"
SOCKETIO_ENVELOPE_BYTES = len('42["event",]')


class Peer(msgspec.Struct, frozen=True):
    """A server; its port, and for some the number of members, follow the command."""

    name: str
    command: tuple[str, ...]
    path: str = "/"
    envelope: bool = False  # events are packets of Socket.IO
    takes_members: bool = False

    def event_bytes(self, members: int) -> int:
        """Return the bytes of one event to all members, frame headers included."""
        if self.name == MIXED:
            return (members + 1) // 2 * FRAME_BYTES[Encoding.JSON] + members // 2 * FRAME_BYTES[Encoding.MSGPACK]
        return members * (HEAD_BYTES + EVENT_BYTES + (SOCKETIO_ENVELOPE_BYTES if self.envelope else 0))


async def build_drainer(scratch: Path) -> tuple[str, str | None]:
    """Build the program that runs all members. Return its path, or the reason if that failed."""
    return await _compile(SCRIPTS / "fanout_drain.c", scratch / "drain")


async def open_peers(scratch: Path, wanted: Sequence[str], install_seconds: float) -> tuple[list[Peer], list[str]]:
    """Return the contestants that can run here, in the order asked for, and the reasons for the others."""
    python = (sys.executable, str(SCRIPTS / "fanout.py"))
    found = {
        "ours": Peer("ours", (sys.executable, "-m", "tests.bench.fanout.ours")),
        MIXED: Peer(MIXED, (sys.executable, "-m", "tests.bench.fanout.ours", MIXED)),
        "websockets": Peer("websockets", (*python, "websockets")),
        "awaiting": Peer("awaiting", (*python, "awaiting")),
    }
    skipped = []
    if "c" in wanted:
        limit, missing = await _compile(SCRIPTS / "fanout.c", scratch / "limit")
        found["c"] = Peer("c", (limit,), takes_members=True)
        skipped += [("c", missing)] if missing else []
    if nodes := [name for name in NODE if name in wanted]:
        script, missing = await _install_node(scratch, install_seconds)
        found["ws"] = Peer("ws", ("node", script, "ws"))
        found["socketio"] = Peer("socketio", ("node", script, "socketio"), path=SOCKETIO_PATH, envelope=True)
        skipped += [(name, missing) for name in nodes if missing]
    left_out = dict(skipped)
    lines = [f"{name}: skipped, {reason}" for name, reason in left_out.items()]
    return [found[name] for name in wanted if name not in left_out], lines


async def _compile(source: Path, target: Path) -> tuple[str, str | None]:
    """Compile a program. Return its path, or the reason if that failed."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return "", "there is no C compiler (cc or gcc) on this machine"
    command = [compiler, "-O2", "-o", str(target), str(source)]
    return str(target), await _run(command, BUILD_SECONDS_MAX, f"compiling {source.name}")


async def _install_node(scratch: Path, install_seconds: float) -> tuple[str, str | None]:
    """Install the modules of a script and return its path, or the reason if that failed."""
    script = shutil.copy(SCRIPTS / "fanout.js", scratch)
    return str(script), await trio.to_thread.run_sync(install_modules, scratch, MODULES, install_seconds)


async def _run(command: list[str], seconds: float, what: str) -> str | None:
    """Run a command. Return the reason if it failed, else None."""
    with trio.move_on_after(seconds):
        done = await trio.run_process(
            command,
            check=False,
            capture_stdout=True,
            capture_stderr=True,
            stdin=subprocess.DEVNULL,
            preexec_fn=tied(),
        )
        return None if done.returncode == 0 else f"{what} failed: {done.stderr.decode()[-200:].strip()}"
    return f"{what} took more than {seconds:g} s"
