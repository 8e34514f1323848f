"""A user's device whose websocket is another project's client, which takes orders and reports its events."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol
from uuid import UUID

from server.config.settings import WebsocketSettings
from server.context import Context
from server.gateway.connection import first_message_bytes
from tests.support.clients import PATIENCE_SECONDS, Phone

JSON, MSGPACK = "halfminute.v1.json", "halfminute.v1.msgpack"
FIRST_BYTES_MAX = first_message_bytes(WebsocketSettings())


class PeerEvents:
    """The events of a websocket in order: `open`, `message`, `close` (or `shut`, by its tab), and those of its kind."""

    def __init__(self) -> None:
        self._queue: queue.Queue[dict[str, Any]] = queue.Queue()

    def put(self, event: dict[str, Any]) -> None:
        self._queue.put(event)

    def next(self, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        return self._queue.get(timeout=seconds)

    def wait_for(self, kind: str) -> dict[str, Any]:
        """Return the next event of this kind, and discard those before it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = self.next(max(0.01, deadline - time.monotonic()))
            if found["event"] == kind:
                return found


class PeerSocket(Protocol):
    """One websocket, from its handshake on."""

    events: PeerEvents

    def order(self, order: str, argument: Any = None) -> None:
        """`send` a message, send a `text`, `close` with a code, or another order of its kind."""

    def vanish(self) -> None:
        """Disconnect without a close frame."""

    def clean_up(self) -> None:
        """Release every resource; a second call does nothing."""


class PeerPhone(Phone):
    """A device whose every connection is dialled by a peer."""

    def __init__(self, context: Context, user_id: UUID, dial: Callable[[], PeerSocket], protocol: str = JSON) -> None:
        super().__init__(context.http_port, context.websocket_port, user_id)
        self._dial = dial
        self._protocol = protocol
        self._peer: PeerSocket
        self._listener: threading.Thread

    def open(self, resume: bool = False) -> "PeerPhone":
        self._peer = self._dial()
        assert self._peer.events.wait_for("open")["protocol"] == self._protocol
        self._listener = threading.Thread(target=self._listen, args=(self._peer.events,), daemon=True)
        self._listener.start()
        self.send({"type": "session:open", "token": self.token, **(self._resume() if resume else {})})
        self.ready = self.wait_for("session:ready")
        return self

    def lose_network(self) -> None:
        self._peer.vanish()
        self._end()

    def hang_up_network(self) -> None:
        if self._listener.is_alive():  # it may have ended already
            self._peer.order("close", 1000)
        self._end()

    def send(self, message: dict[str, Any]) -> None:
        self._peer.order("send", message)

    def _end(self) -> None:
        self._listener.join(PATIENCE_SECONDS)
        self._peer.clean_up()
        assert not self._listener.is_alive(), "still open"

    def _listen(self, events: PeerEvents) -> None:
        while (event := events.next(seconds=threading.TIMEOUT_MAX))["event"] not in ("close", "shut"):
            if event["event"] == "message":
                self._note_position(event["message"])
                self._arrived.put(event["message"])
        self.close_code = event.get("code")


def close_code_after(peer: PeerSocket, order: str, argument: Any) -> int:
    """Return the close code of a connection on which this order comes first."""
    try:
        peer.events.wait_for("open")
        peer.order(order, argument)
        return int(peer.events.wait_for("close")["code"])
    finally:
        peer.clean_up()
