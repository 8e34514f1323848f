"""The background stream of log and output: a reader that stops or closes loses lines, and delays nobody."""

import fcntl
import os
import queue
import select
import threading
import time
from collections.abc import Iterator

import pytest

from server.observability.background_output import MAX_LINE_CHARACTERS, MAX_WAITING_LINES, BackgroundStream
from tests.support.processes import eventually

PATIENCE_SECONDS = 60.0
PIPE_BYTES = 4096  # the smallest that Linux allows
FULL = "a line that is longer than nothing, so that a small pipe is soon full of it"


class Pipe:
    """Both ends of a small pipe, and a stream that writes to it."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.stream = BackgroundStream(self.write_end, lambda lines: f"dropped {lines}")

    def read_until(self, wanted: str) -> list[str]:
        return _read_until(wanted, self.read_end)

    def read_until_reported(self, dropped: int) -> list[str]:
        """Read all lines up to and including the notice that completes this number of dropped lines."""
        lines: list[str] = []
        while sum(map(_reported, lines)) < dropped:
            lines += _read_lines(self.read_end)
        return lines

    def stop_reading(self) -> None:
        os.close(self.read_end)
        self.read_end = -1


def _read_until(wanted: str, descriptor: int) -> list[str]:
    """Read all lines up to and including this one."""
    lines: list[str] = []
    while wanted not in lines:
        lines += _read_lines(descriptor)
    return lines


def _read_lines(descriptor: int) -> list[str]:
    """Read whole lines, at least one. Raises AssertionError if none comes."""
    text = b""
    while not text.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], PATIENCE_SECONDS)
        assert ready, f"no line came after {text[-200:]!r}"
        text += os.read(descriptor, 1 << 16)
    return text.decode().splitlines()


def _reported(line: str) -> int:
    """Return the number of dropped lines that this line reports, 0 for any other line."""
    return int(line.removeprefix("dropped ")) if line.startswith("dropped ") else 0


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Yield a pipe whose write end stays open: the stream's thread lives as long as the process."""
    opened = Pipe()
    yield opened
    if opened.read_end >= 0:
        opened.stop_reading()


def test_lines_arrive_whole_and_in_order(pipe: Pipe) -> None:
    print("one", file=pipe.stream)
    pipe.stream.write("tw")
    pipe.stream.write("o\nthree\n")
    assert pipe.read_until("three") == ["one", "two", "three"]
    assert pipe.stream.wait_written(5)
    assert pipe.stream.dropped == 0


def test_while_nobody_reads_lines_are_dropped_and_counted_and_the_writer_never_waits(pipe: Pipe) -> None:
    began = time.monotonic()
    for _ in range(3 * MAX_WAITING_LINES):
        pipe.stream.write_line(FULL)
    assert time.monotonic() - began < 2
    dropped = pipe.stream.dropped
    in_the_pipe = PIPE_BYTES // len(FULL)
    assert 2 * MAX_WAITING_LINES - 3 * in_the_pipe <= dropped <= 2 * MAX_WAITING_LINES
    assert not pipe.stream.wait_written(0.05)
    lines = pipe.read_until_reported(dropped)  # in several notices, if the thread wrote before the last line came
    assert sum(map(_reported, lines)) == dropped and {line for line in lines if not _reported(line)} == {FULL}
    pipe.stream.write_line("again")
    rest = pipe.read_until("again")
    assert len([line for line in lines + rest if line == FULL]) + dropped == 3 * MAX_WAITING_LINES
    assert [line for line in rest if line.startswith("dropped")] == []


def test_without_any_reader_lines_are_dropped_and_counted(pipe: Pipe) -> None:
    pipe.stop_reading()
    for _ in range(10):
        pipe.stream.write_line("for nobody")
    eventually(lambda: pipe.stream.dropped == 10, "ten dropped lines")
    began = time.monotonic()
    assert not pipe.stream.wait_written(5)
    assert time.monotonic() - began < 1


def test_a_full_disk_is_reported_when_it_has_space_again() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    read_end, write_end = os.pipe()
    stream = BackgroundStream(descriptor, lambda lines: f"dropped {lines}")
    stream.write_line("lost")
    eventually(lambda: stream.dropped == 1, "a dropped line")
    os.dup2(write_end, descriptor)
    stream.write_line("kept")
    assert _read_until("kept", read_end) == ["dropped 1", "kept"]
    os.close(read_end)


def test_a_pipe_that_another_process_made_non_blocking_is_waited_for(pipe: Pipe) -> None:
    os.set_blocking(pipe.write_end, False)
    for _ in range(3 * PIPE_BYTES // len(FULL)):
        pipe.stream.write_line(FULL)
    pipe.stream.write_line("last")
    assert len(pipe.read_until("last")) == 3 * PIPE_BYTES // len(FULL) + 1
    assert pipe.stream.dropped == 0


def test_a_stream_without_a_descriptor_drops_every_line() -> None:
    stream = BackgroundStream(None, str)
    print("for nobody", file=stream)
    assert stream.dropped == 1
    assert not stream.wait_written(5)


def test_unencodable_characters_are_escaped_and_a_line_has_a_bound() -> None:
    read_end, write_end = os.pipe()
    stream = BackgroundStream(write_end, str, "ascii")
    stream.write_line("Märchen \ud800 日本")
    stream.write_line("x" * (2 * MAX_LINE_CHARACTERS))
    assert stream.wait_written(5)
    first, second = os.read(read_end, 1 << 16).splitlines()
    assert first == b"M\\xe4rchen \\ud800 \\u65e5\\u672c"
    assert len(second) == MAX_LINE_CHARACTERS
    os.close(read_end)


def test_threads_that_print_at_once_lose_no_line(pipe: Pipe) -> None:
    def print_many(name: str) -> None:
        for number in range(200):
            pipe.stream.write_line(f"{name} {number}")

    threads = [threading.Thread(target=print_many, args=(name,)) for name in "abcd"]
    arrived: queue.Queue[list[str]] = queue.Queue()
    reader = threading.Thread(target=lambda: arrived.put(pipe.read_until("end")))
    for thread in (reader, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    pipe.stream.write_line("end")
    lines = arrived.get(timeout=PATIENCE_SECONDS)
    reader.join()
    for name in "abcd":
        assert [line for line in lines if line.startswith(name)] == [f"{name} {number}" for number in range(200)]
