"""Reads postmaster.pid, to find the PostgreSQL that runs on a cluster, and stops one that a killed guardian left."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

# SIGINT ends sessions and writes a checkpoint; SIGQUIT leaves that to recovery; SIGKILL is the last resort.
STOP_STEPS = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
STOP_SECONDS_MAX = 20.0  # the sum of the steps
# The children of a killed postmaster end by themselves within milliseconds, unless a query keeps one busy.
STRAGGLER_GRACE_SECONDS = 0.5
STRAGGLER_SECONDS_MAX = 5.0
CLEAR_SECONDS_MAX = STOP_SECONDS_MAX + STRAGGLER_SECONDS_MAX
CHECK_SECONDS = 0.01  # between two checks of a process that is to end: cheap, and short compared with a start


class Postmaster(NamedTuple):
    """A running PostgreSQL: process id, directory of the socket, and status "starting", "ready" or "stopping"."""

    pid: int
    socket_dir: Path
    status: str


def read_postmaster(cluster: Path) -> Postmaster | None:
    """Return the running PostgreSQL that the cluster's postmaster.pid names; None if the file is missing or stale.

    PostgreSQL writes the file while it starts, so the directory and the status may still be empty. Raises OSError.
    """
    try:
        lines = (cluster / "postmaster.pid").read_text(errors="replace").splitlines()
        pid = abs(int(lines[0]))  # single-user mode writes its pid negative
    except (FileNotFoundError, NotADirectoryError, ValueError, IndexError):
        return None
    if not runs_on(pid, cluster):
        return None
    socket_dir, status = lines[4:5] or [""], lines[7:8] or [""]  # the file grows line by line while PostgreSQL starts
    return Postmaster(pid, Path(socket_dir[0]), status[0].strip())


def clear_leftovers(cluster: Path, pause: Callable[[float], None]) -> bool:
    """Stop the processes that a killed guardian left on the cluster, and unlink postmaster.pid; False if one remains.

    PostgreSQL would refuse to start while any process, even an unrelated one, has the old process id.
    `pause` waits for the given seconds, and may raise to stop the work. Takes at most CLEAR_SECONDS_MAX.
    """
    orphan = read_postmaster(cluster)
    if orphan is not None and not _stop_orphan(orphan.pid, cluster, pause):
        return False
    if not _end_stragglers(cluster, pause):
        return False
    (cluster / "postmaster.pid").unlink(missing_ok=True)
    return True


def stop_by_steps(send: Callable[[int], None], wait_gone: Callable[[float], bool]) -> bool:
    """Send the signals of STOP_STEPS in turn until the postmaster has ended; False if the last one did not end it.

    `send` sends a signal; `wait_gone` waits for the end, at most the given seconds, and returns whether it came.
    """
    for step, seconds in STOP_STEPS:
        send(step)
        if wait_gone(seconds):
            return True
    return False


def runs_on(pid: int, cluster: Path) -> bool:
    """Return whether the process is a running PostgreSQL of this cluster; its id may have been reused for another."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    name, state = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2]
    return name == "postgres" and state not in "ZX" and _works_in(pid, cluster)


def _works_in(pid: int, cluster: Path) -> bool:
    """Return whether the working directory of the process is the cluster, as that of every PostgreSQL process is."""
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", cluster)
    except PermissionError:  # another user's process in a container without CAP_SYS_PTRACE: compare its arguments
        return _has_argument(pid, os.fsencode(cluster))
    except OSError:
        return False


def _has_argument(pid: int, argument: bytes) -> bool:
    try:
        return argument in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _stop_orphan(pid: int, cluster: Path, pause: Callable[[float], None]) -> bool:
    """Stop a postmaster that is no child of ours, so its end must be polled for; False if it does not end."""

    def send(step: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, step)

    def wait_gone(seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while runs_on(pid, cluster) and time.monotonic() < deadline:
            pause(CHECK_SECONDS)
        return not runs_on(pid, cluster)

    return stop_by_steps(send, wait_gone)


def _end_stragglers(cluster: Path, pause: Callable[[float], None]) -> bool:
    """Wait for the children of a dead postmaster, then kill them; False if one still runs after STRAGGLER_SECONDS_MAX.

    PostgreSQL cannot start while one of them holds the shared memory.
    """
    started = time.monotonic()
    while stragglers := list(_processes_on(cluster)):
        waited = time.monotonic() - started
        if waited > STRAGGLER_SECONDS_MAX:
            return False
        if waited > STRAGGLER_GRACE_SECONDS:
            for pid in stragglers:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        pause(CHECK_SECONDS)
    return True


def _processes_on(cluster: Path) -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal() and runs_on(int(name), cluster))
