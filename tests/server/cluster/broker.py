"""A broker of the tests: a real `nats-server` on loopback, which can be killed and started again."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.lifeline import tied
from tests.support.processes import eventually, free_ports

PROGRAM = Path(sys.executable).with_name("nats-server")
USER, PASSWORD = "halfminute", "only-for-tests"


class Broker:
    """The process, on a port that stays the same. With `certificates`, a directory, it wants TLS."""

    def __init__(self, certificates: Path | None = None) -> None:
        (self.port,) = free_ports(1)
        self.url = f"nats://{USER}:{PASSWORD}@127.0.0.1:{self.port}"
        self._options: list[str] = []
        if certificates is not None:
            files = "--tlscert", f"{certificates}/certificate.pem", "--tlskey", f"{certificates}/key.pem"
            self._options = ["--tls", *files]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        words = [f"{PROGRAM}", "-a", "127.0.0.1", "-p", f"{self.port}", "--user", USER, "--pass", PASSWORD]
        words += self._options
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(words, stdin=quiet, stdout=quiet, stderr=quiet, preexec_fn=tied())
        eventually(self._accepts, "a broker that accepts connections")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Let it hang: its connections stay, and nothing is read or written."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def running_broker(certificates: Path | None = None) -> Iterator[Broker]:
    broker = Broker(certificates)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()
