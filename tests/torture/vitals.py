"""The resources of a server process: memory, files and sockets."""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
ORIGIN, INODE = 1, 9  # of the fields of a line of /proc/net/tcp


class Vitals(NamedTuple):
    """The memory of a process, its open files and sockets, and how many of these are on its websocket's port."""

    resident_mib: float
    open_files: int
    connections: int

    @classmethod
    def of(cls, pid: int, port: int) -> "Vitals":
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        files = _open_files(pid)
        return cls(pages * PAGE_BYTES / 2**20, len(files), len(_sockets_on(port) & set(files)))


def _open_files(pid: int) -> list[str]:
    """Return the kernel's name of each open file of the process."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since the directory was read
            found.append(os.readlink(link))
    return found


def _sockets_on(port: int) -> set[str]:
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {f"socket:[{fields[INODE]}]" for fields in lines if int(fields[ORIGIN].partition(":")[2], 16) == port}
