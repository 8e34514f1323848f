"""The data directory of the private PostgreSQL: what lies where in it, and the locks that say who uses it."""

import fcntl
import os
from pathlib import Path

UNFINISHED_PREFIX = "cluster.new-"


class DataDir:
    """Where everything lies under one data directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.server_lock = path / "server.lock"
        self.guardian_lock = path / "guardian.lock"
        self.cluster = path / "cluster"
        self.socket_note = path / "socket_dir"
        self.log = path / "postgres.log"
        self.older_log = path / "postgres.log.1"

    def unfinished_clusters(self) -> list[Path]:
        """What killed guardians left of clusters they were making."""
        return list(self.path.glob(f"{UNFINISHED_PREFIX}*"))

    def new_unfinished_cluster(self) -> Path:
        """Never a name used before: a killed guardian's initdb may be about to remove its own directory."""
        return self.path / f"{UNFINISHED_PREFIX}{os.urandom(6).hex()}"


def try_lock(path: Path, kind: int = fcntl.LOCK_EX) -> int | None:
    """The descriptor that holds a lock on the file, or None while another process holds it.

    Closing the descriptor gives the lock back; the kernel does it for a killed process, so no lock outlives its owner.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
