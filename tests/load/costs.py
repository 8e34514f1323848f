"""Measures the CPU time and the memory of running processes, as /proc reports them."""

import os
import resource
from pathlib import Path
from typing import NamedTuple

KIB_A_MIB = 1024
CPU_TICKS = os.sysconf("SC_CLK_TCK")  # a second


class Cost(NamedTuple):
    """CPU seconds used so far."""

    server: float
    postgres: float
    client: float
    machine: float  # all processes of the machine


def cost(server: int, postmaster: int, client: int) -> Cost:
    """Return the CPU seconds used so far by the server, by Postgres, by the client and by the whole machine."""
    postgres = sum(map(_cpu_seconds, _family(postmaster)))
    return Cost(_cpu_seconds(server), postgres, _cpu_seconds(client), _machine_seconds())


def memory_mib(pid: int) -> tuple[float, float]:
    """Return the resident memory now, and the maximum so far."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    now, most = (int(fields[name].split()[0]) / KIB_A_MIB for name in ("VmRSS", "VmHWM"))
    return now, most


def raise_file_limit() -> None:
    """Raise the limit of open files as far as the system allows; child processes inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _family(pid: int) -> list[int]:
    """Return the ids of a process and its children."""
    return [pid, *(int(process.name) for process in Path("/proc").glob("[0-9]*") if _parent(process) == pid)]


def _parent(process: Path) -> int | None:
    try:
        return int(_stat(process)[1])
    except OSError:  # the process has ended meanwhile
        return None


def _cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process and of its children that have ended."""
    return sum(int(ticks) for ticks in _stat(Path(f"/proc/{pid}"))[11:15]) / CPU_TICKS


def _stat(process: Path) -> list[str]:
    """Return the fields behind the name, which may contain anything: state, parent, …"""
    return (process / "stat").read_text().rpartition(")")[2].split()


def _machine_seconds() -> float:
    """Return the CPU seconds of the machine without idle and waiting time."""
    user, nice, system, _idle, _waiting, *interrupts = (
        int(ticks) for ticks in Path("/proc/stat").read_text().splitlines()[0].split()[1:8]
    )
    return (user + nice + system + sum(interrupts)) / CPU_TICKS
