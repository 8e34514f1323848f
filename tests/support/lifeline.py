"""Ties the processes that tests, benchmarks and load tools start to their own life, however that ends.

    tool  --pipe-->  reaper  --SIGKILL-->  servers and clients that are left

Each child writes its process id into the pipe before it becomes another program. The reaper, a process of its own,
reads the pipe to its end, which comes when the tool is gone, and kills what is left. A killed server's PostgreSQL is
stopped by its guardian. PR_SET_PDEATHSIG would not do: it reports the end of the thread that started the child.
"""

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

STARTED_AT = 19  # of the fields of /proc/PID/stat, counted from the one after the program's name
STOPPING = (signal.SIGTERM, signal.SIGHUP)


def tied(also: Callable[[], object] = lambda: None) -> Callable[[], None]:
    """Return a `preexec_fn` for a child process that must end with this one. It calls `also` in the child, too."""
    pipe = _pipe_to_reaper()

    def introduce() -> None:
        os.write(pipe, f"{os.getpid()}\n".encode())
        also()

    return introduce


@functools.cache
def _pipe_to_reaper() -> int:
    """The pipe's end that closes with us. No child keeps it: it is closed when another program begins."""
    read_end, write_end = os.pipe()
    words = [sys.executable, "-S", __file__]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(words, stdin=read_end, stdout=quiet, stderr=quiet, cwd="/", start_new_session=True)
    process.returncode = 0  # it outlives us: nobody waits for it, and its Popen need not warn of that
    os.close(read_end)
    _clean_up_when_stopped()
    return write_end


def _clean_up_when_stopped() -> None:
    """Let SIGTERM and SIGHUP end us as Ctrl-C does, so that our `finally` blocks run; not where they are ignored."""
    with suppress(ValueError):  # in another thread than the main one, which alone may; the reaper is there
        for number in STOPPING:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _end_as_on_ctrl_c)
                if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell
                    signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_as_on_ctrl_c(*_: object) -> None:
    signal.raise_signal(signal.SIGINT)


def _reap() -> None:
    """The reaper: read process ids to the end of standard input, then kill those that live, with their groups."""
    for number in (signal.SIGINT, *STOPPING):
        signal.signal(number, signal.SIG_IGN)
    children = {pid: _started_at(pid) for pid in map(int, sys.stdin.buffer)}
    for pid, started_at in children.items():
        if started_at and _started_at(pid) == started_at:  # else its number may be another process's by now
            with suppress(ProcessLookupError):
                if os.getpgid(pid) == pid:
                    os.killpg(pid, signal.SIGKILL)
                else:
                    os.kill(pid, signal.SIGKILL)


def _started_at(pid: int) -> str:
    """When the process was started, in the kernel's ticks; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[STARTED_AT]
    except (OSError, IndexError):
        return ""


if __name__ == "__main__":
    _reap()
