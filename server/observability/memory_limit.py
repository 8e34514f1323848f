"""Detects that the process is near its memory limit, so that it refuses new connections.

Exhausted memory raises MemoryError anywhere, also in trio's scheduler, which then ends the process with all its calls.
Therefore a reserve is kept: open connections, whose memory is bounded, continue while new ones are refused.
"""

import resource
import time
from collections.abc import Callable
from pathlib import Path

import structlog

RESERVE_SHARE = 0.1  # of the limit
RESERVE_BYTES_MIN = 32 * 2**20  # growth of the open connections of a small server, and a batch of postings
RESERVE_BYTES_MAX = 256 * 2**20
CHECK_SECONDS = 0.25  # between two checks of 50 us; 1,000 new connections take 20 MiB meanwhile
PROC, CGROUPS = Path("/proc/self"), Path("/sys/fs/cgroup")
HELD = frozenset({"anon", "shmem", "sock", "kernel_stack"})  # memory of a cgroup that the kernel cannot reclaim at will

log = structlog.get_logger(__name__)


class MemoryLimit:
    """The nearer of two limits: of the address space of the process (RLIMIT_AS), and of its cgroup (version 2).

    Both may change at run time. There is no limit if the system reports neither.
    The websocket listener asks it before it serves a connection. `proc`, `cgroups` and `now` are parameters for tests.
    """

    def __init__(
        self,
        proc: Path = PROC,
        cgroups: Path = CGROUPS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._proc = proc
        self._cgroup = cgroups / _own_cgroup(proc)
        self._now = now
        self._check_at = 0.0
        self._is_near = False

    @property
    def is_near(self) -> bool:
        """Return whether less than the reserve is left; checked every CHECK_SECONDS, and changes are logged."""
        if self._now() >= self._check_at:
            self._check_at = self._now() + CHECK_SECONDS
            was_near, self._is_near = self._is_near, self._has_little_left()
            if self._is_near and not was_near:
                log.warning("memory.near_limit")
            elif was_near and not self._is_near:
                log.info("memory.below_limit")
        return self._is_near

    def _has_little_left(self) -> bool:
        return any(limit - used < _reserve(limit) for limit, used in (self._address_space(), self._held()) if limit)

    def _address_space(self) -> tuple[int, int]:
        """The limit of the address space and its present size, in bytes; a limit of 0 means that there is none."""
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit == resource.RLIM_INFINITY:
            return 0, 0
        try:
            pages = int((self._proc / "statm").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return 0, 0
        return limit, pages * resource.getpagesize()

    def _held(self) -> tuple[int, int]:
        """The limit of the cgroup and its memory of the kinds in HELD, in bytes; 0 means no limit.

        `memory.current` would not do: it includes the page cache, which grows to the limit and is reclaimed at need.
        """
        try:
            limit = int((self._cgroup / "memory.max").read_text())  # "max" where there is none
            lines = [line.split() for line in (self._cgroup / "memory.stat").read_text().splitlines()]
            return limit, sum(int(value) for name, value in lines if name in HELD)
        except (OSError, ValueError):
            return 0, 0


def _reserve(limit: int) -> int:
    """The bytes that new connections may not use."""
    return max(RESERVE_BYTES_MIN, min(RESERVE_BYTES_MAX, int(limit * RESERVE_SHARE)))


def _own_cgroup(proc: Path) -> Path:
    """Return the path of this process's cgroup, relative to the mount of cgroups; in a container it is the root."""
    try:
        lines = (proc / "cgroup").read_text().splitlines()
    except OSError:
        return Path()
    return next((Path(line[3:].lstrip("/")) for line in lines if line.startswith("0::")), Path())
