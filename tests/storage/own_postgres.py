"""A PostgreSQL for one test, which may stop and restart it; it has no guardian."""

import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.embedded.cluster import choose_launch, prepare_cluster, start_postmaster
from storage.embedded.data_directory import DataDir
from storage.embedded.launcher import Address
from storage.embedded.postmaster_pid import read_postmaster
from tests.storage.postgres_processes import bin_dir, processes_on
from tests.support.databases import SUPERUSER
from tests.support.processes import eventually

STOP_SECONDS_MAX = 20.0


class OwnPostgres:
    """A PostgreSQL that can be stopped, which breaks all connections, and started again."""

    def __init__(self, directory: Path) -> None:
        self._files = DataDir(directory)
        self._launch = choose_launch(bin_dir(), directory)
        self.socket_dir = Path(tempfile.mkdtemp(prefix="halfminute-", dir="/tmp"))
        self._process: subprocess.Popen[bytes]
        prepare_cluster(self._files, bin_dir(), self._launch, time.sleep)
        self.dsn = Address(self.socket_dir).dsn
        self.admin_dsn = Address(self.socket_dir, user=SUPERUSER).dsn

    def start(self) -> None:
        self._process = start_postmaster(self._files, bin_dir(), self._launch, self.socket_dir)
        eventually(self._ready, "a PostgreSQL that is ready")

    def stop(self) -> None:
        """Stop at once, like `pg_ctl stop -m immediate`, so that the next start needs a recovery."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(STOP_SECONDS_MAX)
        eventually(lambda: processes_on(self._files.path) == [], "the end of its children")

    def remove(self) -> None:
        if self._process.poll() is None:
            self.stop()
        self.socket_dir.rmdir()

    def _ready(self) -> bool:
        found = read_postmaster(self._files.cluster)
        return found is not None and found.pid == self._process.pid and found.status == "ready"


@contextmanager
def own_postgres(directory: Path) -> Iterator[OwnPostgres]:
    """Yield a running PostgreSQL in this new directory."""
    directory.mkdir()
    running = OwnPostgres(directory)
    running.start()
    try:
        yield running
    finally:
        running.remove()
