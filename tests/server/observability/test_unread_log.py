"""The log or output is unread or cannot be written: calls, tips and the drain go on as always."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from storage.embedded.launcher import postmaster_pid
from tests.support.clients import SECRET, Phone, ring_and_join, send_tip
from tests.support.live_server import LiveServer
from tests.support.processes import (
    START_SECONDS_MAX,
    Lines,
    ServerProcess,
    environment,
    eventually,
    run_command,
    start_command,
)

PIPE_BYTES = 4096  # the smallest that Linux allows: full after a dozen lines
REQUESTS = 400
ANSWER_SECONDS_MAX = 5.0  # on a busy machine; when the log blocked, an answer took until the log was read
EXIT_SECONDS_MAX = 10.0
SETTINGS = {"HALFMINUTE_JWT_SECRET": SECRET, "HALFMINUTE_CALLS_BLOCK_SECONDS": "1"}
DROPPED = "halfminute_log_lines_dropped_total"


class Output(NamedTuple):
    """Where the server's two streams lead, and how to break them once it serves."""

    out: int
    errors: int
    spoil: Callable[[], None] = lambda: None


class UnreadServer(ServerProcess):
    """A server that prints no greeting, so its readiness is polled."""

    def __init__(self, data_dir: Path, output: Output) -> None:
        super().__init__(data_dir, settings=SETTINGS)
        self._output = output

    def __enter__(self) -> "UnreadServer":
        self.start()
        return self

    def launch(self) -> None:
        ports = "--http", f"127.0.0.1:{self.http_port}", "--ws", f"127.0.0.1:{self.websocket_port}"
        words = "serve", *ports, "--data", str(self.data_dir)
        self._process = start_command(
            *words, cwd=self.data_dir.parent, settings=self._settings, out=self._output.out, errors=self._output.errors
        )

    def show_log(self) -> None:
        """Show nothing: nobody reads the log."""

    def wait_exit(self) -> int:
        return self._process.wait(EXIT_SECONDS_MAX)

    def start(self) -> float:
        self.launch()
        eventually(lambda: self._is_ready() or not self.running, "a server that is ready", START_SECONDS_MAX)
        assert self.running, f"it ended with {self.wait_exit()}"
        self._output.spoil()
        return 0.0

    def dropped(self) -> float:
        families = text_string_to_metric_families(self.get("/metrics").text)
        (value,) = [sample.value for family in families for sample in family.samples if sample.name == DROPPED]
        return value

    def _is_ready(self) -> bool:
        with suppress(httpx.TransportError):
            return self.get("/readyz").status_code == 200
        return False


@contextmanager
def small_pipe() -> Iterator[tuple[FileIO, FileIO]]:
    read_number, write_number = os.pipe()
    with FileIO(read_number) as read_end, FileIO(write_number, "w") as write_end:
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        yield read_end, write_end


@contextmanager
def not_read() -> Iterator[Output]:
    """Pipes that are full before the server starts and stay full, so that the start cannot print anything."""
    with small_pipe() as (_, out), small_pipe() as (_, errors):
        for end in (out, errors):
            end.write(b"." * PIPE_BYTES)
        yield Output(out.fileno(), errors.fileno())


@contextmanager
def reader_gone() -> Iterator[Output]:
    """Pipes whose reader closes after the start."""
    with small_pipe() as (out_read, out), small_pipe() as (errors_read, errors):

        def close_both() -> None:
            out_read.close()
            errors_read.close()

        yield Output(out.fileno(), errors.fileno(), close_both)


@contextmanager
def full_disk() -> Iterator[Output]:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    yield Output(descriptor, descriptor)
    os.close(descriptor)


OUTPUTS = {"nobody reads": not_read, "the reader is gone": reader_gone, "the disk is full": full_disk}


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_log_that_is_not_written_costs_no_answer_no_block_and_no_tip(name: str, data_dir: Path) -> None:
    with OUTPUTS[name]() as output, UnreadServer(data_dir, output) as server, ExitStack() as stack:
        live_server = LiveServer(server, stack)
        fan, creator = live_server.fan(1000), live_server.creator()
        ring = ring_and_join(fan, creator)
        fan.wait_for("block:charged", blockNo=1)
        slowest = _ask_many(fan, REQUESTS)
        print(f"{name}: the slowest of {REQUESTS} answers took {slowest:.2f} s")
        assert slowest < ANSWER_SECONDS_MAX
        answer = send_tip(fan, ring["channel"], 7)
        assert answer["type"] == "ok", answer
        tip = {"toCreatorId": str(creator.user_id), "amountTokens": 5}
        booked = fan.http.post("/tips/send", json=tip)
        assert booked.status_code < 300, booked.text
        charged = fan.all_events("block:charged")
        fan.wait_for("block:charged", blockNo=charged[-1]["blockNo"] + 1)
        if name != "nobody reads":  # there, these few lines still wait
            eventually(lambda: server.dropped() > REQUESTS / 2, "the lines that could not be written, as dropped")
        _kill_postgres(server)
        eventually(lambda: server.get("/readyz").status_code == 200, "a database that is back")
        fan.ask_ok({"type": "call:end", "callId": ring["callId"]})
        live_server.check_ledger()
        began = time.monotonic()
        server.terminate()
        assert server.wait_exit() == 0
        assert time.monotonic() - began < EXIT_SECONDS_MAX


def _ask_many(fan: Phone, requests: int) -> float:
    """Return how long the slowest answer took."""
    slowest = 0.0
    for _ in range(requests):
        began = time.monotonic()
        assert fan.http.get("/me").status_code == 200
        slowest = max(slowest, time.monotonic() - began)
    return slowest


def _kill_postgres(server: ServerProcess) -> None:
    """Kill PostgreSQL, so that the standard library's log has lines to write as well."""
    pid = postmaster_pid(server.data_dir)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: postmaster_pid(server.data_dir) not in (None, pid), "another PostgreSQL")


def test_a_log_that_is_read_again_says_how_much_is_missing(data_dir: Path) -> None:
    with ExitStack() as stack, reader_gone() as output, UnreadServer(data_dir, output) as server:
        fifo = f"/proc/{server.pid}/fd/2"
        for _ in range(20):
            server.get("/readyz")
        eventually(lambda: server.dropped() > 0, "a dropped line")
        reader = stack.enter_context(Path(fifo).open())  # a pipe in /proc can be opened again, and has a reader then
        reading = Lines(reader)
        for _ in range(5):
            server.get("/readyz")
        eventually(lambda: any("log.lines_dropped" in line for line in reading.all()), "the number of dropped lines")
        (entry,) = [json.loads(line) for line in reading.all() if "log.lines_dropped" in line]
        assert entry["lines"] > 0
        assert entry["level"] == "warning"
        server.terminate()
        assert server.wait_exit() == 0


@pytest.mark.parametrize("closed", [(1, 2), (0, 1, 2), (2,)], ids=str)
def test_a_server_starts_and_stops_without_standard_streams(closed: tuple[int, ...], data_dir: Path) -> None:
    silent = "".join(f" {descriptor}>&-" for descriptor in closed)
    program = f'exec "$@"{silent}'
    server = UnreadServer(data_dir, Output(subprocess.DEVNULL, subprocess.DEVNULL))
    ports = "--http", f"127.0.0.1:{server.http_port}", "--ws", f"127.0.0.1:{server.websocket_port}"
    command = [
        sys.executable,
        "-c",
        "from server.cli.main import main; main()",
        "serve",
        *ports,
        "--data",
        str(data_dir),
    ]
    with subprocess.Popen(["/bin/sh", "-c", program, "sh", *command], env=environment(SETTINGS)) as process:
        try:
            server._process = process  # type: ignore[assignment]
            eventually(lambda: server._is_ready() or not server.running, "a server that is ready", START_SECONDS_MAX)
            assert server.running
            for descriptor in closed:
                assert os.readlink(f"/proc/{process.pid}/fd/{descriptor}") == os.devnull
            process.terminate()
            assert process.wait(EXIT_SECONDS_MAX) == 0
        finally:
            process.kill()


def test_a_path_that_the_terminal_cannot_show_is_escaped(data_dir: Path, tmp_path: Path) -> None:
    strange = tmp_path / "Märchen-日本"
    shutil.copytree(data_dir, strange)
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1", **SETTINGS}
    ascii_only.pop("HALFMINUTE_JWT_SECRET")
    with ServerProcess(strange, settings=ascii_only) as server:
        eventually(lambda: any("M\\xe4rchen" in line for line in server.out.all()), "the path of its secrets")
        server.terminate()
        assert server.wait_exit() == 0
    finished = run_command("audit", "--data", str(tmp_path / "日本"), cwd=tmp_path, settings=ascii_only)
    assert (finished.exit_code, len(finished.errors)) == (1, 1)
    assert "\\u65e5" in finished.errors[0]


@pytest.mark.parametrize("command", ["audit", "token --sub 0190a000-0000-7000-8000-00000000abcd"])
def test_a_command_whose_result_cannot_be_written_fails_with_one_line(command: str, data_dir: Path) -> None:
    with full_disk() as output:
        words = [*command.split(), "--data", str(data_dir)]
        settings = {"HALFMINUTE_JWT_SECRET": SECRET}
        with start_command(*words, cwd=data_dir.parent, settings=settings, out=output.out) as process:
            _, errors = process.communicate(timeout=60)
    assert errors.splitlines() == ["halfminute: cannot write the output: No space left on device"]
    assert process.returncode == 1
