"""A benchmark or a load tool that is stopped, in whatever way, leaves no server and no PostgreSQL running."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.lifeline import tied
from tests.support.processes import ROOT, environment, eventually

BEGIN_SECONDS_MAX = 90.0  # until a benchmark's server is up, on a busy machine
END_SECONDS_MAX = 30.0  # PostgreSQL's own end included
LOOK_SECONDS = 0.1  # each look reads all of /proc
TOOLS = {
    "REST": "tests.bench.rest.mixed --seconds 60 --connections 2",
    "tips": "tests.bench.tips --quick",
    "calls": "tests.load.calls --calls 2 --seconds 60",
    "commits": "tests.bench.commits --quick",
    "fan-out": "tests.bench.fanout --quick --peers ours",
}
# A word of the command line of a process that shows that the bench has started it.
BEGUN = {"REST": "serve", "tips": "postgres", "calls": "serve", "commits": "postgres", "fan-out": "fanout.ours"}

EVERY_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL)
SERVER_PROGRAM = """
import os, pathlib, time
from tests.support.processes import ServerProcess
ServerProcess(pathlib.Path(os.environ["TMPDIR"]) / "data").start()
time.sleep(600)
"""


def processes_of(directory: Path) -> dict[int, str]:
    """Return the command line of every process that names this directory there or as its TMPDIR."""
    found = {}
    for process in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            words = (process / "cmdline").read_bytes()
            is_ours = str(directory).encode() in words or f"TMPDIR={directory}".encode() in _environment(process)
            if is_ours and _lives(process):
                found[int(process.name)] = words.replace(b"\0", b" ").decode(errors="replace")
    return found


def _environment(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""


def _lives(process: Path) -> bool:
    return (process / "stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")


@contextmanager
def tool(words: Sequence[str], directory: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """It runs with a TMPDIR of its own, by which all that it starts is known."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env=environment({"TMPDIR": str(directory)}),
        stdout=quiet,
        stderr=quiet,
        process_group=0,
        preexec_fn=tied(_heed_ctrl_c),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for left in processes_of(directory):
            with suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)


def _heed_ctrl_c() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _see_it_begin_and_end(words: Sequence[str], begun: str, stop: signal.Signals, directory: Path) -> None:
    with tool(words, directory) as process:
        eventually(
            lambda: process.poll() is not None or any(begun in line for line in processes_of(directory).values()),
            f"a process of it: {begun}",
            BEGIN_SECONDS_MAX,
            LOOK_SECONDS,
        )
        assert process.poll() is None
        process.send_signal(stop)
        process.wait(END_SECONDS_MAX)
        began = time.monotonic()
        eventually(lambda: not processes_of(directory), "the end of all that it started", END_SECONDS_MAX, LOOK_SECONDS)
        print(f"{stop.name}, and {time.monotonic() - began:.1f} s later nothing was left")


@pytest.mark.parametrize(
    "stop", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL], ids=lambda stop: stop.name
)
def test_a_server_ends_with_whoever_started_it(stop: signal.Signals, tmp_path: Path) -> None:
    _see_it_begin_and_end(["-c", SERVER_PROGRAM], "postgres", stop, tmp_path)


@pytest.mark.parametrize(
    "stop",
    [
        pytest.param(signal.SIGTERM, id="SIGTERM"),
        pytest.param(signal.SIGKILL, id="SIGKILL", marks=pytest.mark.long),  # the reaper's own test is above
    ],
)
@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_that_is_stopped_leaves_nothing_running(name: str, stop: signal.Signals, tmp_path: Path) -> None:
    _see_it_begin_and_end(["-m", *TOOLS[name].split()], BEGUN[name], stop, tmp_path)


def test_a_tool_under_timeout_leaves_nothing_running(tmp_path: Path) -> None:
    env = environment({"TMPDIR": str(tmp_path)})
    words = ["timeout", "8", sys.executable, "-c", SERVER_PROGRAM]
    stopped = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, check=False)
    assert stopped.returncode == 124
    eventually(lambda: not processes_of(tmp_path), "the end of its server", END_SECONDS_MAX)
