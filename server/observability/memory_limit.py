"""Whether this process may take on more: Python and trio do not survive a memory that is really exhausted.

Memory that is refused raises MemoryError anywhere, also in trio's own scheduler, which then ends the process with all
its calls. So new connections are refused while less than a reserve is left below the limit; those that are open are
bounded in what they may hold, and go on.
"""

import resource
import time
from collections.abc import Callable
from pathlib import Path

import structlog

RESERVE_SHARE = 0.1  # of the limit
RESERVE_BYTES_MIN = 32 * 2**20  # what the open connections of a small server may still gather, and a batch of postings
RESERVE_BYTES_MAX = 256 * 2**20
LOOK_SECONDS = 0.25  # between two looks, which cost 50 us: a crowd of 1,000 that connects meanwhile holds 20 MiB
PROC, CGROUPS = Path("/proc/self"), Path("/sys/fs/cgroup")
HELD = frozenset({"anon", "shmem", "sock", "kernel_stack"})  # of a cgroup: what the kernel cannot simply drop

log = structlog.get_logger(__name__)


class MemoryLimit:
    """The nearer of two limits: of the process's address space (RLIMIT_AS), and of its cgroup (version 2).

    Both may change while the process runs, as `prlimit` or a container's owner have it. Where the system tells neither,
    there is no limit.
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
        self._look_at = 0.0
        self._is_near = False

    @property
    def is_near(self) -> bool:
        """Less than the reserve is left, as of the last look. Logged when it begins and when it ends."""
        if self._now() >= self._look_at:
            self._look_at = self._now() + LOOK_SECONDS
            was, self._is_near = self._is_near, self._has_little_left()
            if self._is_near and not was:
                log.warning("memory.near_limit")
            elif was and not self._is_near:
                log.info("memory.below_limit")
        return self._is_near

    def _has_little_left(self) -> bool:
        return any(limit - used < _reserve(limit) for limit, used in (self._address_space(), self._held()) if limit)

    def _address_space(self) -> tuple[int, int]:
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit == resource.RLIM_INFINITY:
            return 0, 0
        try:
            pages = int((self._proc / "statm").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return 0, 0
        return limit, pages * resource.getpagesize()

    def _held(self) -> tuple[int, int]:
        try:
            limit = int((self._cgroup / "memory.max").read_text())  # "max" where there is none
            lines = [line.split() for line in (self._cgroup / "memory.stat").read_text().splitlines()]
            return limit, sum(int(value) for name, value in lines if name in HELD)
        except (OSError, ValueError):
            return 0, 0


def _reserve(limit: int) -> int:
    return max(RESERVE_BYTES_MIN, min(RESERVE_BYTES_MAX, int(limit * RESERVE_SHARE)))


def _own_cgroup(proc: Path) -> Path:
    """Relative to where cgroups are mounted; in a container it is the root."""
    try:
        lines = (proc / "cgroup").read_text().splitlines()
    except OSError:
        return Path()
    return next((Path(line[3:].lstrip("/")) for line in lines if line.startswith("0::")), Path())
