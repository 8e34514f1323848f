"""Measures how long the disk takes to store a page, for which every commit waits."""

import os
import tempfile
import time
from pathlib import Path

import msgspec

from tests.bench.turn import percentile

FSYNCS = 100
PAGE = b"\0" * 8192


class Fsync(msgspec.Struct):
    """Milliseconds from writing a page to its being stored."""

    p50_ms: float
    p99_ms: float


def measure_fsync(directory: Path) -> Fsync:
    took = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(FSYNCS):
            os.write(file.fileno(), PAGE)
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - started) * 1000)
    return Fsync(round(percentile(took, 0.5), 3), round(percentile(took, 0.99), 3))
