"""The data directory of the private PostgreSQL: the paths in it, and the file locks of its server and guardian.

Two locks, because the guardian lives longer than its server: the next server may start while the guardian of a killed
one still stops PostgreSQL.
"""

import fcntl
import os
from pathlib import Path

UNFINISHED_PREFIX = "cluster.new-"


class DataDir:
    """The paths of all files under one data directory; none needs to exist. Creating it touches no file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.server_lock = path / "server.lock"
        self.guardian_lock = path / "guardian.lock"
        self.cluster = path / "cluster"
        self.socket_note = path / "socket_dir"
        self.log = path / "postgres.log"
        self.older_log = path / "postgres.log.1"

    def unfinished_clusters(self) -> list[Path]:
        """Return the partial clusters that killed guardians left."""
        return list(self.path.glob(f"{UNFINISHED_PREFIX}*"))

    def new_unfinished_cluster(self) -> Path:
        """Return a path that was never used: the initdb of a killed guardian may still remove its own directory."""
        return self.path / f"{UNFINISHED_PREFIX}{os.urandom(6).hex()}"


def try_lock(path: Path, kind: int = fcntl.LOCK_EX) -> int | None:
    """Lock the file, and return the descriptor that holds the lock; None if another process holds it.

    Creates the file if it is missing, and never waits. `kind` is LOCK_EX or LOCK_SH of `flock`.
    Closing the descriptor releases the lock; the kernel does so for a killed process. Raises OSError.
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
