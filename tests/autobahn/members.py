"""The members who hear events from the same server, by the `websockets` package, while Autobahn tries its cases."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.autobahn.echo import CHANNEL, EVENTS_AT_ONCE, MEMBERS
from tests.support.clients import PATIENCE_SECONDS


class Members:
    """All its members."""

    def __init__(self, pool: ThreadPoolExecutor, port: int) -> None:
        self._ending = threading.Event()
        self._members: list[Future[int]] = [pool.submit(_listen, port, self._ending) for _ in range(MEMBERS)]

    def end(self) -> None:
        """From now on the server may hang up. Raises what ended a member before."""
        for member in self._members:
            if member.done():
                member.result()
        self._ending.set()

    def heard(self) -> list[int]:
        """How many events each member has heard, once the server has ended; none of them was out of order."""
        return [member.result(PATIENCE_SECONDS) for member in self._members]


@contextmanager
def connect_members(port: int) -> Iterator[Members]:
    """Until the server ends, which it must before this does."""
    with ThreadPoolExecutor(MEMBERS) as pool:
        yield Members(pool, port)


def _listen(port: int, ending: threading.Event) -> int:
    heard = 0
    with connect(f"ws://127.0.0.1:{port}/ws", additional_headers={"Authorization": CHANNEL}) as member:
        try:
            while True:
                member.send("more")
                for _ in range(EVENTS_AT_ONCE):
                    heard += 1
                    event = json.loads(member.recv(PATIENCE_SECONDS))
                    assert event["seq"] == heard, f"event {event['seq']} came instead of {heard}"
        except ConnectionClosed:
            if not ending.is_set():
                raise
    return heard - 1
