"""Text streams that neither block nor raise: a bounded queue holds lines, and a daemon thread writes them.

A pipe whose reader has stopped would block a write, and with it the event loop and all calls; a reader that is gone
would raise. The log is worth less than the calls, so lines are dropped and counted instead. QueueHandler of the
standard library does this for log records alone. Warnings, tracebacks and printed lines use the same pipes, so the
streams themselves are replaced: see `replace_standard_error` and `replace_standard_output`.
"""

import io
import os
import queue
import select
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

MAX_WAITING_LINES = 2048  # a few seconds of a busy server's log; a writer that is further behind is stuck
MAX_LINE_CHARACTERS = 16_384  # a long traceback; with the bound above, at most 32 MiB of ASCII wait
# A write of at most PIPE_BUF bytes to a pipe is atomic, so that lines of several processes do not mix.
BATCH_BYTES = select.PIPE_BUF
GATHER_SECONDS = 0.01  # lines of this time are written together: each wake-up interrupts the thread of the event loop
RETRY_SECONDS = 0.1  # after a failed write, so that a closed pipe costs at most ten system calls a second
ENCODING = "utf-8"


class BackgroundStream(io.TextIOBase):
    """A text stream that writes to a file descriptor in the background; with None, it drops every line.

    A line is dropped and counted while MAX_WAITING_LINES are queued (the reader has stopped) or while writes fail (the
    reader is gone, the disk is full). Once writes succeed again, the text that `notice` returns for the number of
    dropped lines is written first. Lines longer than MAX_LINE_CHARACTERS are cut.

    Any thread may write. The daemon thread starts with the stream and ends with the process; if it cannot be started,
    every line is dropped. Characters that the encoding lacks are written as backslash escapes.
    """

    def __init__(
        self, descriptor: int | None, notice: Callable[[int], str], encoding: str = ENCODING, *, tty: bool = False
    ) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._notice = notice
        self._encoding = encoding
        self._tty = tty
        # A SimpleQueue may be used by a finalizer that interrupts its own `put`; a Queue would deadlock there.
        self._waiting: queue.SimpleQueue[bytes | threading.Event] = queue.SimpleQueue()
        self._unfinished = ""
        self._refused = 0  # lines, counted by the printing threads …
        self._failed = (
            0  # … and by the writer: a variable of its own, since two threads that add to one may lose a count
        )
        self._noticed = 0
        self._mid_line = False
        self._started = descriptor is not None and self._start()
        self._failing = not self._started

    @property
    def dropped(self) -> int:
        """Return how many lines were dropped."""
        return self._refused + self._failed

    @property
    def encoding(self) -> str:  # type: ignore[override]  # reason: typeshed has a plain attribute
        return self._encoding

    @property
    def errors(self) -> str:  # type: ignore[override]  # reason: as above
        return "backslashreplace"

    def set_notice(self, notice: Callable[[int], str]) -> None:
        """Replace the function that returns the line about the number of dropped lines. The writer thread calls it."""
        self._notice = notice

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._tty

    def fileno(self) -> int:
        """The descriptor that the stream writes to. Raises io.UnsupportedOperation if it has none."""
        if self._descriptor is None:
            raise io.UnsupportedOperation("fileno")
        return self._descriptor

    def write(self, text: str, /) -> int:
        """Queue the complete lines of this text, and keep an incomplete last line until it is complete.

        An incomplete line of more than MAX_LINE_CHARACTERS counts as complete. Returns the length of the text, whether
        or not its lines were dropped.
        """
        *lines, rest = (self._unfinished + text).split("\n")
        if len(rest) > MAX_LINE_CHARACTERS:
            lines, rest = [*lines, rest], ""
        self._unfinished = rest
        for line in lines:
            self.write_line(line)
        return len(text)

    def write_line(self, line: str) -> None:
        """Queue one line, given without its line break, or drop and count it. Never blocks and raises nothing."""
        if not self._started or self._waiting.qsize() >= MAX_WAITING_LINES:
            self._refused += 1
        else:
            self._waiting.put(self._encoded(line))

    def wait_written(self, seconds: float) -> bool:
        """Wait until all lines so far are written or dropped, and return whether they are, within `seconds`.

        Blocks the thread, so it is for the end of the process. Returns False at once while writes fail.
        """
        if self._unfinished:
            self.write("\n")
        if self._failing:
            return False
        written = threading.Event()
        self._waiting.put(written)
        return written.wait(seconds)

    def _encoded(self, line: str) -> bytes:
        return line[:MAX_LINE_CHARACTERS].encode(self._encoding, "backslashreplace") + b"\n"

    def _start(self) -> bool:
        thread = threading.Thread(target=self._write_forever, name="background-output", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system allows no more threads: serve without a log
            return False
        return True

    def _write_forever(self) -> None:
        """The body of the daemon thread: collect lines to at most BATCH_BYTES, and write them with one system call."""
        lines: list[bytes] = []
        size = 0
        while True:
            item = self._next(wait=not lines)
            if not lines and isinstance(item, bytes):
                time.sleep(GATHER_SECONDS)
            if isinstance(item, bytes) and (not lines or size + len(item) <= BATCH_BYTES):
                lines.append(item)
                size += len(item)
                continue
            self._write_lines(lines)
            lines, size = ([item], len(item)) if isinstance(item, bytes) else ([], 0)
            if isinstance(item, threading.Event):
                item.set()

    def _next(self, *, wait: bool) -> bytes | threading.Event | None:
        """The next line, or an event that `wait_written` queued; None if there is none and `wait` is False."""
        try:
            return self._waiting.get(block=wait)
        except queue.Empty:
            return None

    def _write_lines(self, lines: list[bytes]) -> None:
        """Write these lines, after a notice if lines were dropped since the last one; count them if that fails."""
        dropped = self.dropped
        if dropped > self._noticed:
            if not self._write_bytes(self._encoded(self._notice(dropped - self._noticed))):
                self._failed += len(lines)
                return
            self._noticed = dropped
        if not self._write_bytes(b"".join(lines)):
            self._failed += len(lines)

    def _write_bytes(self, data: bytes) -> bool:
        """Write all bytes; return False if the descriptor fails. Blocks while the reader does not read."""
        assert self._descriptor is not None
        if self._mid_line:
            data = b"\n" + data
        try:
            while data:
                data = data[_write_some(self._descriptor, data) :]
                self._mid_line = bool(data)
        except OSError:
            self._failing = True
            time.sleep(RETRY_SECONDS)
            return False
        self._failing = False
        return True


def _write_some(descriptor: int, data: bytes) -> int:
    """Write what the descriptor accepts, and return the number of bytes. Raises OSError."""
    try:
        return os.write(descriptor, data)
    except BlockingIOError:  # another process that shares the pipe has made it non-blocking
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        poll.poll()
        return 0


_streams: list[BackgroundStream] = []


def replace_standard_error() -> BackgroundStream:
    """Replace `sys.stderr` by a BackgroundStream, once, and return it. A later call returns the same stream."""
    sys.stderr = stream = _in_place_of(sys.stderr)
    return stream


def replace_standard_output() -> BackgroundStream:
    """Replace `sys.stdout` by a BackgroundStream, once, and return it.

    For the server alone: a command whose output is its result must fail if the output is lost.
    """
    sys.stdout = stream = _in_place_of(sys.stdout)
    return stream


def dropped_lines() -> int:
    """Return how many lines of both streams were dropped."""
    return sum(stream.dropped for stream in _streams)


def wait_all_written(seconds: float) -> None:
    """Wait until the lines of all streams are written, at most `seconds` in total."""
    deadline = time.monotonic() + seconds
    for stream in _streams:
        stream.wait_written(max(0.0, deadline - time.monotonic()))


def secure_standard_streams() -> None:
    """Open /dev/null for closed standard streams, and make standard output escape characters that it cannot encode.

    Call it before anything is opened or printed: otherwise a socket could get descriptor 0, 1 or 2, and printing a path
    could raise UnicodeEncodeError.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    elif sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # reason: it is open for as long as the process lives


def _in_place_of(replaced: TextIO | None) -> BackgroundStream:
    if isinstance(replaced, BackgroundStream):
        return replaced
    stream = BackgroundStream(
        _descriptor_of(replaced),
        lambda lines: f"halfminute: {lines} lines could not be written here",
        getattr(replaced, "encoding", None) or ENCODING,
        tty=replaced is not None and replaced.isatty(),
    )
    _streams.append(stream)
    return stream


def _descriptor_of(stream: TextIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):
        return None
