"""Measures the cost of one input to the server's thread: CPU, memory, and bytes of its answer and its log."""

import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from structlog.testing import capture_logs

ANSWER_SECONDS_MAX = 20.0


class Cost(NamedTuple):
    """The cost of one input."""

    cpu_ms: float
    held_kib: int
    answer_bytes: int
    log_bytes: int
    answer: bytes


class Meter:
    """Measures from another thread of the same process; make it in the server's thread."""

    def __init__(self) -> None:
        self._clock = time.pthread_getcpuclockid(threading.get_ident())

    def cost(self, exchange: Callable[[], bytes]) -> Cost:
        """Return the cost of `exchange`, which runs twice, the second time with Python's memory traced."""
        cpu_ms, answer, lines = self._timed(exchange)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            exchange()
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        log_bytes = sum(len(json.dumps(line, default=str)) for line in lines)
        return Cost(cpu_ms, (most - before) // 1024, len(answer), log_bytes, answer)

    def _timed(self, exchange: Callable[[], bytes]) -> tuple[float, bytes, list[Any]]:
        with capture_logs() as lines:
            began = time.clock_gettime(self._clock)
            answer = exchange()
            cpu_ms = (time.clock_gettime(self._clock) - began) * 1000
        return cpu_ms, answer, list(lines)


def ask(port: int, request: bytes) -> bytes:
    """Return the answer to a request that asks the server to close the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS_MAX) as sock:
        answer = bytearray()
        with suppress(ConnectionError):
            sock.sendall(request)
            while data := sock.recv(65_536):
                answer += data
        return bytes(answer)
