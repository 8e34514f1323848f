"""A pytest plugin: keeps the run's temporary files, the databases among them, in memory where there is room.

Dropping a database makes PostgreSQL sync every changed file. On a busy disk that takes a second, and most tests have a
database of their own. No test depends on the disk: a killed process loses nothing that it has written to memory.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")  # the tmpfs of every Linux system; containers often limit it to 64 MB
FREE_BYTES_MIN = 6 * 2**30  # four test processes with a database cluster and a few server processes each


def pytest_configure(config: pytest.Config) -> None:
    """Let `tempfile`, pytest and the processes started by tests use memory, unless TMPDIR names another place."""
    if "TMPDIR" in os.environ or not _has_room():
        return
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def _has_room() -> bool:
    return os.access(MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(MEMORY).free >= FREE_BYTES_MIN
