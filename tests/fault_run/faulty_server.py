"""A server process whose environment can be broken while it runs: its log, clock, keys and resource limits."""

import os
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.support.processes import LOG_LINES_SHOWN, ROOT, Lines, ServerProcess, eventually, start_command

READ_BYTES = 65_536
READ_PAUSE_SECONDS = 0.05


class FaultyServer(ServerProcess):
    """A server whose standard error is a named pipe, which can lose its reader and get another one."""

    def __init__(self, directory: Path, settings: Mapping[str, str]) -> None:
        self.log = LogPipe(directory / "log")
        self.world = World(directory / "world")
        inside = ROOT / "tests/fault_run/inside"
        surroundings = {"PYTHONPATH": f"{inside}:{ROOT}", "WORLD_FILE": str(self.world.path)}
        super().__init__(directory / "data", settings={**settings, **surroundings})

    def launch(self) -> None:
        ports = "--http", f"127.0.0.1:{self.http_port}", "--ws", f"127.0.0.1:{self.websocket_port}"
        words = "serve", *ports, "--data", str(self.data_dir)
        self.log.read()
        writing = os.open(self.log.path, os.O_WRONLY)
        try:
            self._process = start_command(*words, cwd=self.data_dir.parent, settings=self._settings, errors=writing)
        finally:
            os.close(writing)
        assert self._process.stdout is not None
        self.out = Lines(self._process.stdout)

    def show_log(self) -> None:
        print(*self.log.text().splitlines()[-LOG_LINES_SHOWN:], sep="\n")

    def wait_exit(self) -> int:
        exit_code = self._process.wait()
        self.log.lose_reader()
        return exit_code

    def start(self) -> float:
        self.launch()
        eventually(lambda: self._greets() or not self.running, "the greeting", 60.0)
        assert self._greets(), f"it ended with {self.wait_exit()}: {self.log.text()}"
        return 0.0


class LogPipe:
    """A named pipe: read, left unread, or without any reader."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: list[bytes] = []
        self._pauses = threading.Event()
        self._leaves = threading.Event()
        self._reader: threading.Thread | None = None
        os.mkfifo(path)

    def text(self) -> str:
        """Return everything that was read so far."""
        return b"".join(self._read).decode(errors="replace")

    def read(self) -> None:
        """Open the pipe for reading, if it has no reader, and read everything from it."""
        self._pauses.clear()
        if self._reader is None:
            self._leaves.clear()
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
            self._reader = threading.Thread(target=self._read_on, args=(descriptor,), daemon=True)
            self._reader.start()

    def stop_reading(self) -> None:
        """Keep the pipe open without reading from it."""
        self._pauses.set()

    def lose_reader(self) -> None:
        """Close the reading end, so that writes fail with EPIPE."""
        self._leaves.set()
        if self._reader is not None:
            self._reader.join()
            self._reader = None

    def _read_on(self, descriptor: int) -> None:
        try:
            while not self._leaves.wait(READ_PAUSE_SECONDS):
                while not self._pauses.is_set():
                    with suppress(BlockingIOError):
                        if data := os.read(descriptor, READ_BYTES):
                            self._read.append(data)
                            continue
                    break
        finally:
            os.close(descriptor)


class World:
    """Owns the file from which `inside/sitecustomize.py` reads the server's simulated clock and disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._clock_ahead, self._disk_full = 0.0, False
        self._write()

    def set_clock(self, ahead: float) -> None:
        """Set the server's wall clock by so many seconds ahead, or behind."""
        self._clock_ahead = ahead
        self._write()

    def fill_disk(self, full: bool) -> None:
        """Let every write to the log fail with ENOSPC."""
        self._disk_full = full
        self._write()

    def _write(self) -> None:
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.write(struct.pack("<d?", self._clock_ahead, self._disk_full))
