"""Runs inside a server that is started with this directory on PYTHONPATH: changes its wall clock and its log's disk.

A file of nine bytes, named by WORLD_FILE, holds the seconds by which the wall clock is wrong (a double), and whether
the disk of the log is full (a byte). A test can neither set the true clock nor fill a disk, since other processes
use them too.
"""

import errno
import mmap
import os
import struct
import time
from typing import Any

STANDARD_ERROR = 2

if "WORLD_FILE" in os.environ:
    _file = os.open(os.environ["WORLD_FILE"], os.O_RDONLY)
    _world = mmap.mmap(_file, struct.calcsize("<d?"), access=mmap.ACCESS_READ)
    os.close(_file)
    _time, _write = time.time, os.write

    def _read() -> Any:
        return struct.unpack("<d?", _world[:])

    def _set_time() -> float:
        return _time() + float(_read()[0])

    def _set_time_ns() -> int:
        return int(_set_time() * 1_000_000_000)

    def _write_unless_full(descriptor: int, data: bytes) -> int:
        if descriptor == STANDARD_ERROR and _read()[1]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return _write(descriptor, data)

    time.time, time.time_ns = _set_time, _set_time_ns
    os.write = _write_unless_full  # type: ignore[assignment]  # reason: any buffer is accepted, as by the original
