"""postmaster.pid: which PostgreSQL runs on a cluster, and how one that nobody owns any more is stopped."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

# SIGINT ends sessions and writes a checkpoint; SIGQUIT leaves that to recovery; SIGKILL is for one that hears neither.
STOP_STEPS = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
STOP_SECONDS_MAX = 20.0  # the steps together
# The children of a killed postmaster notice by themselves within milliseconds, unless a query keeps one busy.
STRAGGLER_GRACE_SECONDS = 0.5
STRAGGLER_SECONDS_MAX = 5.0
CLEAR_SECONDS_MAX = STOP_SECONDS_MAX + STRAGGLER_SECONDS_MAX
LOOK_SECONDS = 0.01  # between two looks at a process that is to end: cheap, and not felt at a start


class Postmaster(NamedTuple):
    """A living PostgreSQL: its process, its socket's directory, and its status: "starting", "ready" or "stopping"."""

    pid: int
    socket_dir: Path
    status: str


def read_postmaster(cluster: Path) -> Postmaster | None:
    """The living PostgreSQL that the cluster's postmaster.pid names; None when there is no such file or it is stale."""
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
    """Stops what a killed guardian left running on the cluster and unlinks its postmaster.pid; False if it won't stop.

    PostgreSQL itself would refuse to start beside any living process that has the old pid, even an unrelated one.
    """
    orphan = read_postmaster(cluster)
    if orphan is not None and not _stop_orphan(orphan.pid, cluster, pause):
        return False
    if not _end_stragglers(cluster, pause):
        return False
    (cluster / "postmaster.pid").unlink(missing_ok=True)
    return True


def stop_by_steps(send: Callable[[int], None], wait_gone: Callable[[float], bool]) -> bool:
    """Signals a postmaster, ever more firmly, until it is gone; False if even the last step did not help."""
    for step, seconds in STOP_STEPS:
        send(step)
        if wait_gone(seconds):
            return True
    return False


def runs_on(pid: int, cluster: Path) -> bool:
    """Whether the process is a living PostgreSQL working in this cluster: a pid alone may belong to anything by now."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    name, state = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2]
    return name == "postgres" and state not in "ZX" and _works_in(pid, cluster)


def _works_in(pid: int, cluster: Path) -> bool:
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", cluster)
    except PermissionError:  # another user's, in a container without CAP_SYS_PTRACE: its arguments name the cluster
        return _has_argument(pid, os.fsencode(cluster))
    except OSError:
        return False


def _has_argument(pid: int, argument: bytes) -> bool:
    try:
        return argument in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _stop_orphan(pid: int, cluster: Path, pause: Callable[[float], None]) -> bool:
    def send(step: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, step)

    def wait_gone(seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while runs_on(pid, cluster) and time.monotonic() < deadline:
            pause(LOOK_SECONDS)
        return not runs_on(pid, cluster)

    return stop_by_steps(send, wait_gone)


def _end_stragglers(cluster: Path, pause: Callable[[float], None]) -> bool:
    """Waits for the children of a dead postmaster: while one holds the shared memory, no other PostgreSQL may start."""
    started = time.monotonic()
    while stragglers := list(_processes_on(cluster)):
        waited = time.monotonic() - started
        if waited > STRAGGLER_SECONDS_MAX:
            return False
        if waited > STRAGGLER_GRACE_SECONDS:
            for pid in stragglers:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        pause(LOOK_SECONDS)
    return True


def _processes_on(cluster: Path) -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal() and runs_on(int(name), cluster))
