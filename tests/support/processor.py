"""The processor time of a process or a function: a measure that a busy neighbour changes little."""

import time
from collections.abc import Callable
from pathlib import Path


def processor_seconds(pid: int) -> float:
    """Return the processor time so far of all threads of a process."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def least_seconds(work: Callable[[], object], times: int = 3) -> float:
    """Return the processor time of the quickest of several calls.

    A garbage collection of the whole test process may fall into one of them.
    """
    return min(_seconds(work) for _ in range(times))


def _seconds(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began
