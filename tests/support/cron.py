"""A cron that requests billing sweeps without a pause, several at once, and ignores failures."""

import threading
import time
from typing import Any

import httpx

from tests.support.live_server import LiveServer

RETRY_SECONDS = 0.02  # a server that is down wakes nobody
STOP_SECONDS_MAX = 30.0


class Cron:
    """Requests sweeps from entering to leaving the context."""

    def __init__(self, live_server: LiveServer, at_once: int = 2) -> None:
        self.answers: list[dict[str, Any]] = []
        self.unanswered = 0
        self._live_server = live_server
        self._leave = threading.Event()
        self._faults: list[BaseException] = []
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(at_once)]

    def __enter__(self) -> "Cron":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.set()
        for thread in self._threads:
            thread.join(STOP_SECONDS_MAX)
        assert self._faults == [], self._faults

    def metered(self) -> int:
        """Return the number of blocks that sweeps have charged."""
        return sum(answer["metered"] for answer in self.answers)

    def _work(self) -> None:
        try:
            while not self._leave.is_set():
                self._sweep()
        except BaseException as fault:  # reason: shown by the test itself
            self._faults.append(fault)

    def _sweep(self) -> None:
        try:
            answer = self._live_server.sweep()
        except httpx.TransportError:
            answer = None
        if answer is None or answer.status_code == 503:  # it stops, or is not there
            self.unanswered += 1
            time.sleep(RETRY_SECONDS)  # as a cron does; a server that is down wakes nobody
            return
        assert answer.status_code == 200, answer.text
        self.answers.append(answer.json())
