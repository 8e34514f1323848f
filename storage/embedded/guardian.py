"""The guardian process: keeps one PostgreSQL running for exactly as long as the server that started it lives.

Run as `python -m storage.embedded.guardian DATA_DIR BIN_DIR`. The server holds the other end of its standard input and
writes nothing to it: end of file means that the server has ended, for whatever reason. On standard output the guardian
reports, one line of JSON each, {"ready": SOCKET_DIR} at every start of PostgreSQL, and {"failed": REASON} before it
exits with an error. Standard error is the log of the guardian and of PostgreSQL.

A process of its own is needed because a server that is killed cannot stop anything: PostgreSQL would run on for ever.
It imports only the standard library and its own package, so that it starts quickly.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

from storage.embedded.cluster import (
    MAKE_SECONDS_MAX,
    SOCKET_NAME,
    CannotRun,
    choose_launch,
    prepare_cluster,
    start_postmaster,
)
from storage.embedded.data_directory import DataDir, try_lock
from storage.embedded.postmaster_pid import (
    CLEAR_SECONDS_MAX,
    clear_leftovers,
    read_postmaster,
    stop_by_steps,
)
from storage.embedded.socket_directory import private_socket_dir, remove_noted

# The guardian of a killed server stops its PostgreSQL within 20 s.
LOCK_SECONDS_MAX = 30.0
# Recovery replays about max_wal_size at most; a slow disk takes minutes for that.
START_SECONDS_MAX = 300.0
# The longest first start, for the server that waits for the first report.
FIRST_START_SECONDS_MAX = LOCK_SECONDS_MAX + CLEAR_SECONDS_MAX + MAKE_SECONDS_MAX + START_SECONDS_MAX
CHECK_SECONDS = 0.005  # between two checks of postmaster.pid or of a lock: a start takes tenths of a second
# A PostgreSQL that dies more often has a fault that another start does not repair.
RESTARTS_MAX, RESTARTS_SECONDS = 5, 60.0
FIRST_BACKOFF_SECONDS = 0.1  # doubled with each death, so that all five restarts together wait 3 s
LOG_BYTES_MAX = 8 * 1024 * 1024  # tens of thousands of messages; one older file of the same size is kept
LOG_CHECK_SECONDS = 10.0
LOG_READ_BYTES_MAX = 64 * 1024  # many times the output of a failed start

SERVER, REPORTS, LOG = 0, 1, 2  # descriptors


class ServerGone(Exception):
    """The server that started the guardian has closed the guardian's standard input, or died."""


def main(data_dir: Path, bin_dir: Path) -> int:
    """Run the guardian, and return its exit status: 0 if the server ended, 1 if PostgreSQL cannot be kept running.

    Either way PostgreSQL has stopped when it returns. The reason for 1 is reported to the server.
    """
    _ignore_signals_of_the_terminal()
    files, watch = DataDir(data_dir), ServerWatch()
    log = Log(files)
    try:
        _hold_lock(files, watch)
        guard(files, bin_dir, watch, log)
    except ServerGone:
        return 0
    except CannotRun as reason:
        _report(failed=": ".join(filter(None, (str(reason), log.first_error()))))
    except OSError as error:
        _report(failed=": ".join(filter(None, (error.filename, error.strerror or str(error)))))
    return 1


def guard(files: DataDir, bin_dir: Path, watch: ServerWatch, log: Log) -> None:
    """Keep PostgreSQL running, and stop it at the end. Never returns normally.

    First removes what a killed guardian left: its socket directory, its PostgreSQL and a partial cluster. A PostgreSQL
    that dies is started again after a pause, on the same socket directory.
    Raises ServerGone when the server ends, and CannotRun if PostgreSQL does not start or dies too often.
    """
    remove_noted(files.socket_note, SOCKET_NAME)
    launch = choose_launch(bin_dir, files.path)
    _clear_leftovers(files, watch)
    prepare_cluster(files, bin_dir, launch, watch.pause)
    deaths: deque[float] = deque()
    with private_socket_dir(files.socket_note, SOCKET_NAME) as socket_dir:
        if socket_dir is None:
            raise CannotRun("there is no room for the database's socket: /tmp cannot be written")
        while True:
            log.begin()
            postmaster = start_postmaster(files, bin_dir, launch, socket_dir)
            try:
                _wait_ready(postmaster, files, watch)
                _report(ready=str(socket_dir))
                _wait_dead(postmaster, watch, log)
            except CannotRun:
                if not deaths:  # after a failed first start, another start would fail too
                    raise
            finally:
                _stop(postmaster)
            _note_death(deaths)
            watch.sleep(FIRST_BACKOFF_SECONDS * 2 ** (len(deaths) - 1))
            _clear_leftovers(files, watch)


def _wait_ready(postmaster: subprocess.Popen[bytes], files: DataDir, watch: ServerWatch) -> None:
    """Wait until PostgreSQL accepts connections. Raises CannotRun if it ends or takes too long, and ServerGone."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while postmaster.poll() is None:
        found = read_postmaster(files.cluster)
        if found is not None and found.pid == postmaster.pid and found.status == "ready":
            return
        if time.monotonic() > deadline:
            raise CannotRun(f"PostgreSQL was not ready within {START_SECONDS_MAX:.0f} s")
        watch.pause(CHECK_SECONDS)
    raise CannotRun("PostgreSQL does not start")


def _wait_dead(postmaster: subprocess.Popen[bytes], watch: ServerWatch, log: Log) -> None:
    """Wait until PostgreSQL ends, and bound the log meanwhile. Raises ServerGone."""
    while postmaster.poll() is None:
        watch.pause(LOG_CHECK_SECONDS)
        log.bound()


def _stop(postmaster: subprocess.Popen[bytes]) -> None:
    """Stop PostgreSQL, at most within STOP_SECONDS_MAX of `postmaster_pid`; does nothing if it has ended."""

    def wait_gone(seconds: float) -> bool:
        with suppress(subprocess.TimeoutExpired):
            postmaster.wait(seconds)
        return postmaster.returncode is not None

    if postmaster.poll() is None:
        stop_by_steps(postmaster.send_signal, wait_gone)


def _note_death(deaths: deque[float]) -> None:
    """Count a death of PostgreSQL. Raises CannotRun after more than RESTARTS_MAX of them in RESTARTS_SECONDS."""
    now = time.monotonic()
    while deaths and now - deaths[0] > RESTARTS_SECONDS:
        deaths.popleft()
    deaths.append(now)
    if len(deaths) > RESTARTS_MAX:
        raise CannotRun(f"PostgreSQL died {len(deaths)} times within {RESTARTS_SECONDS:.0f} s")


def _clear_leftovers(files: DataDir, watch: ServerWatch) -> None:
    """Stop what still runs on the cluster. Raises CannotRun if a process cannot be stopped."""
    if not clear_leftovers(files.cluster, watch.pause):
        raise CannotRun(f"an earlier PostgreSQL on {files.cluster} cannot be stopped")


def _ignore_signals_of_the_terminal() -> None:
    """Keep signals of the terminal from ending the guardian, which must stop PostgreSQL first.

    Empty handlers, because PostgreSQL would inherit ignored signals.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)


def _hold_lock(files: DataDir, watch: ServerWatch) -> None:
    """Take the guardian's lock until the process ends; waits for the guardian of a killed server to finish.

    Raises CannotRun after LOCK_SECONDS_MAX.
    """
    deadline = time.monotonic() + LOCK_SECONDS_MAX
    while try_lock(files.guardian_lock) is None:
        if time.monotonic() > deadline:
            raise CannotRun(f"the PostgreSQL of an earlier server on {files.path} has not stopped")
        watch.pause(CHECK_SECONDS)


def _report(**fields: str) -> None:
    """Write one line of JSON to the server."""
    with suppress(BrokenPipeError):  # the server has ended, so the next pause raises ServerGone
        os.write(REPORTS, json.dumps(fields).encode() + b"\n")


class ServerWatch:
    """Waits that end early: when the server ends, which is end of file on standard input, or when a child ends.

    A handler for SIGCHLD is installed, so that the end of PostgreSQL interrupts a wait instead of being polled for.
    """

    def __init__(self) -> None:
        self._wakeup, wakeup_end = os.pipe()
        os.set_blocking(wakeup_end, False)
        signal.set_wakeup_fd(wakeup_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def pause(self, seconds: float) -> None:
        """Wait `seconds`, or until a child ends or a signal arrives. Raises ServerGone when the server has ended."""
        readable, _, _ = select.select([SERVER, self._wakeup], [], [], seconds)
        if SERVER in readable and not os.read(SERVER, select.PIPE_BUF):
            raise ServerGone
        if self._wakeup in readable:
            os.read(self._wakeup, select.PIPE_BUF)

    def sleep(self, seconds: float) -> None:
        """Wait at least `seconds`. Raises ServerGone when the server has ended."""
        deadline = time.monotonic() + seconds
        while (remaining := deadline - time.monotonic()) > 0:
            self.pause(remaining)


class Log:
    """The log on standard error, which all child processes share: bounds its size, and finds PostgreSQL's errors.

    It takes at most twice LOG_BYTES_MAX on disk, and what is written within LOG_CHECK_SECONDS.
    """

    def __init__(self, files: DataDir) -> None:
        self._files = files
        self.begin()

    def begin(self) -> None:
        """Start a new search range at the end of the log, so that errors before this start are not reported."""
        self.bound()
        self._begins_at = os.fstat(LOG).st_size

    def bound(self) -> None:
        """Copy a large log to the older file and truncate it.

        A rename would not do: PostgreSQL has the file open and would write on to the renamed one.
        """
        if os.fstat(LOG).st_size > LOG_BYTES_MAX:
            with suppress(OSError):  # on a full disk, the older lines are lost
                shutil.copyfile(self._files.log, self._files.older_log)
            os.ftruncate(LOG, 0)
            self._begins_at = 0

    def first_error(self) -> str:
        """Return the first error since the start, which causes the later ones.

        Without an error, the last line that is not informational, or "".
        """
        lines = [line.strip() for line in self._since_begin() if line.strip() and "LOG:" not in line]
        for line in lines:
            for word in ("PANIC:", "FATAL:", "error:"):
                if word in line:
                    return line.partition(word)[2].strip()
        return lines[-1] if lines else ""

    def _since_begin(self) -> list[str]:
        """Return the lines since the start; empty if the log cannot be read, so that a report is still possible."""
        with suppress(OSError), self._files.log.open("rb") as file:
            file.seek(self._begins_at)
            return file.read(LOG_READ_BYTES_MAX).decode(errors="replace").splitlines()
        return []


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
