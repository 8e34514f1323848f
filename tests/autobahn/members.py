"""Members of a fan-out, by the `websockets` package, that receive events while Autobahn runs its cases."""

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
    """The members of the fan-out, each in a thread."""

    def __init__(self, pool: ThreadPoolExecutor, port: int) -> None:
        self._ending = threading.Event()
        self._members: list[Future[int]] = [pool.submit(_listen, port, self._ending) for _ in range(MEMBERS)]

    def end(self) -> None:
        """Allow the server to close the connections from now on.

        Raises the exception of a member that ended earlier.
        """
        for member in self._members:
            if member.done():
                member.result()
        self._ending.set()

    def received(self) -> list[int]:
        """Return the number of events that each member received in order, once the server has ended."""
        return [member.result(PATIENCE_SECONDS) for member in self._members]


@contextmanager
def connect_members(port: int) -> Iterator[Members]:
    """Connect the members. The server must end before the context does."""
    with ThreadPoolExecutor(MEMBERS) as pool:
        yield Members(pool, port)


def _listen(port: int, ending: threading.Event) -> int:
    received = 0
    with connect(f"ws://127.0.0.1:{port}/ws", additional_headers={"Authorization": CHANNEL}) as member:
        try:
            while True:
                member.send("more")
                for _ in range(EVENTS_AT_ONCE):
                    received += 1
                    event = json.loads(member.recv(PATIENCE_SECONDS))
                    assert event["seq"] == received, f"event {event['seq']} came instead of {received}"
        except ConnectionClosed:
            if not ending.is_set():
                raise
    return received - 1
