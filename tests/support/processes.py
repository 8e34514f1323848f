"""The command `halfminute` as a child process: start it, signal it, and read its output."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

import httpx

from tests.support.lifeline import tied

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-c", "from server.cli.main import main; main()")
PASSED_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
# All clients share one address here, and send more requests than a person would.
UNHURRIED = {
    f"HALFMINUTE_LIMITS_{name}": "50000"
    for who in ("ADDRESS", "USER", "MONEY", "HANDSHAKES", "JOINS", "OPENS")
    for name in (f"{who}_PER_SECOND", f"{who}_BURST")
} | {"HALFMINUTE_LIMITS_ADDRESS_PERCENT": "100"}
PORTS = range(20_000, 32_000)  # below those that the system gives to clients
# A free port is bound only later, by another process. So test processes that run side by side draw from disjoint parts.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
COMMAND_SECONDS_MAX = 120.0
LOG_LINES_SHOWN = 40  # of a server in whose test something failed
START_SECONDS_MAX = 120.0  # a first start makes a database, on a machine that may be busy
EXIT_SECONDS_MAX = 60.0
LOOK_SECONDS = 0.01  # between two looks


def eventually(
    holds: Callable[[], object], what: str, seconds: float = 60.0, look_seconds: float = LOOK_SECONDS
) -> None:
    """Poll until `holds()` is true. Raises AssertionError with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"it did not come within {seconds:.0f} s: {what}"
        time.sleep(look_seconds)  # another process's doings wake nobody here


class Finished(NamedTuple):
    """The result of a command that has ended."""

    exit_code: int
    out: str
    errors: list[str]


def run_command(*arguments: str, cwd: Path, settings: Mapping[str, str] | None = None) -> Finished:
    """Run `halfminute` with these arguments to its end. Raises TimeoutExpired after COMMAND_SECONDS_MAX."""
    with start_command(*arguments, cwd=cwd, settings=settings) as process:
        try:
            out, errors = process.communicate(timeout=COMMAND_SECONDS_MAX)
        finally:
            process.kill()
    return Finished(process.returncode, out, errors.splitlines())


def start_command(
    *arguments: str,
    cwd: Path,
    settings: Mapping[str, str] | None = None,
    out: int = subprocess.PIPE,
    errors: int = subprocess.PIPE,
    nohup: bool = False,
) -> "subprocess.Popen[str]":
    """Start `halfminute` in a process group of its own, so that a test can send SIGINT to that group alone."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment(settings or {}),
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=errors,
        text=True,
        process_group=0,
        preexec_fn=tied(partial(heed_signals, nohup)),
    )


def heed_signals(nohup: bool = False) -> None:
    """A `preexec_fn`: restore the default actions of SIGINT and SIGHUP.

    A shell's background job and nohup ignore these signals, and a child inherits that from the tests.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN if nohup else signal.SIG_DFL)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings and a few system variables; no other variable of the test run is inherited."""
    kept = {name: os.environ[name] for name in PASSED_VARIABLES if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), **settings}


def free_ports(count: int) -> list[int]:
    """Return ports without a listener, outside the range from which the system chooses ports for clients.

    No port is returned twice: the one who was given it may not have bound it yet. Raises StopIteration after all.
    """
    return [next(_free) for _ in range(count)]


def _draw_ports() -> Iterator[int]:
    ours = PORTS[WORKER::WORKERS]
    for port in random.sample(ours, len(ours)):
        with suppress(OSError):
            listen_on(port).close()
            yield port


_free = _draw_ports()


def listen_on(port: int) -> socket.socket:
    """Return a socket that listens on the port. The caller closes it. Raises OSError if the port is in use."""
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen()
    except OSError:
        sock.close()
        raise
    return sock


class ServerProcess:
    """`halfminute serve` on a data directory and two fixed ports.

    It can be started several times, and is killed on leaving.
    """

    def __init__(
        self, data_dir: Path, *options: str, settings: Mapping[str, str] | None = None, nohup: bool = False
    ) -> None:
        self.data_dir = data_dir
        self._nohup = nohup
        self.http_port, self.websocket_port = free_ports(2)
        self._options = options
        self._settings = {"HALFMINUTE_LOG_FORMAT": "json", **UNHURRIED, **(settings or {})}
        self._process: subprocess.Popen[str]
        self.out: Lines
        self.errors: Lines

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.running:
            self.kill()
        if kind is not None:
            self.show_log()

    def show_log(self) -> None:
        """Print the end of the log, for the report of a test that has failed."""
        print(*self.errors.all()[-LOG_LINES_SHOWN:], sep="\n")

    def launch(self) -> None:
        """Start the process without waiting until it is ready."""
        ports = "--http", f"127.0.0.1:{self.http_port}", "--ws", f"127.0.0.1:{self.websocket_port}"
        words = "serve", *ports, "--data", str(self.data_dir), *self._options
        self._process = start_command(*words, cwd=self.data_dir.parent, settings=self._settings, nohup=self._nohup)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.out, self.errors = Lines(self._process.stdout), Lines(self._process.stderr)

    def start(self) -> float:
        """Start the process and wait for its greeting.

        Return the seconds that it took. Raises AssertionError if it ends first.
        """
        began = time.monotonic()
        self.launch()
        eventually(lambda: self._greets() or not self.running, "the greeting", START_SECONDS_MAX)
        assert self._greets(), f"it ended with {self.wait_exit()}: {self.errors.all()}"
        return time.monotonic() - began

    def kill(self) -> None:
        """Send SIGKILL and wait for the end of the process."""
        self._process.kill()
        self.wait_exit()

    def terminate(self) -> None:
        self._process.terminate()

    def interrupt(self) -> None:
        """Send SIGINT to the whole process group, as a terminal does on Ctrl-C."""
        os.killpg(self._process.pid, signal.SIGINT)

    def hang_up(self) -> None:
        """Send SIGHUP to the process group, as the kernel does when a terminal is closed."""
        os.killpg(self._process.pid, signal.SIGHUP)

    def wait_exit(self) -> int:
        exit_code = self._process.wait(EXIT_SECONDS_MAX)
        self.out.wait_end()
        self.errors.wait_end()
        return exit_code

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return every log line so far with this event name."""
        lines = (json.loads(line) for line in self.errors.all() if line.startswith("{"))
        return [line for line in lines if line["event"] == event]

    def get(self, path: str, token: str | None = None) -> httpx.Response:
        return self._request("GET", path, token, None)

    def post(self, path: str, token: str, body: Any) -> httpx.Response:
        return self._request("POST", path, token, body)

    def put(self, path: str, token: str, body: Any) -> httpx.Response:
        return self._request("PUT", path, token, body)

    def _request(self, method: str, path: str, token: str | None, body: Any) -> httpx.Response:
        return httpx.request(
            method,
            f"http://127.0.0.1:{self.http_port}{path}",
            headers={} if token is None else {"Authorization": f"Bearer {token}"},
            json=body,
            timeout=COMMAND_SECONDS_MAX,
            verify=False,  # there is no TLS here, and to load its certificates takes longer than the request
        )

    def jwt_secret(self) -> str:
        """Return the JWT secret that the server generated."""
        return (self.data_dir / "secrets" / "jwt_secret").read_text()

    def _greets(self) -> bool:
        return any(line.startswith("halfminute serves ") for line in self.out.all())


class Lines:
    """The lines that a process writes. A thread reads them, so that the process never waits for its reader."""

    def __init__(self, stream: IO[str]) -> None:
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()

    def all(self) -> list[str]:
        return list(self._lines)

    def wait_end(self) -> None:
        """Wait until the process has closed its end."""
        self._reader.join(EXIT_SECONDS_MAX)
        assert not self._reader.is_alive(), "somebody else holds the output open"

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._lines.append(line.rstrip("\n"))
