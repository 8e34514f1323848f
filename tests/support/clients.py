"""Clients that share no code with the server: blocking ones, by the `websockets` package and httpx."""

import json
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from server.access.tokens import issue_token

SECRET = "only-for-tests-0123456789-0123456789"
PATIENCE_SECONDS = 60  # how long a test waits for what must come
LOOK_SECONDS = 0.2  # between two looks whether the connection is still open


def token_of(
    user_id: UUID, *, role: str | None = None, ttl_seconds: int = 3600, audience: str = "authenticated"
) -> str:
    """Return an access token as Supabase issues it."""
    return issue_token(SECRET, user_id, role=role, ttl_seconds=ttl_seconds, now=time.time(), audience=audience)


class Phone:
    """A user's device: a websocket that a thread reads, and an HTTP client.

    Its methods block, so call it from a thread.
    """

    def __init__(
        self,
        http_port: int,
        websocket_port: int,
        user_id: UUID | None = None,
        *,
        role: str | None = None,
        packs: bool = False,
    ) -> None:
        """`packs`: use MessagePack over the websocket instead of JSON."""
        self._packs = packs
        self.user_id = user_id or uuid4()
        self.token = token_of(self.user_id, role=role)
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{http_port}/api",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=PATIENCE_SECONDS,
            verify=False,  # to load certificates would take longer than most tests' requests
        )
        self._websocket_port = websocket_port
        self._socket: ClientConnection | None = None
        self._reader: threading.Thread | None = None
        self._arrived: queue.Queue[dict[str, Any]] = queue.Queue()
        self.events: list[dict[str, Any]] = []
        self.close_code: int | None = None
        self.ready: dict[str, Any] = {}  # the latest session:ready
        self.positions: dict[str, tuple[int, int]] = {}  # of each channel: its epoch, and the last event that was read
        self._refs = 0

    def __enter__(self) -> "Phone":
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.hang_up_network()
        self.http.close()

    def open(self, resume: bool = False) -> "Phone":
        """Connect and open a session, or with `resume` resume the lost one.

        Raises AssertionError without `session:ready`.
        """
        address = f"ws://127.0.0.1:{self._websocket_port}/ws"
        subprotocol = Subprotocol("halfminute.v1.msgpack" if self._packs else "halfminute.v1.json")
        self._socket = connect(address, subprotocols=[subprotocol], ping_interval=None).__enter__()
        self._reader = threading.Thread(target=self._read, args=(self._socket,), daemon=True)
        self._reader.start()
        self.send({"type": "session:open", "token": self.token, **(self._resume() if resume else {})})
        self.ready = self.wait_for("session:ready")
        return self

    def lose_network(self) -> None:
        """Break the connection without a Close frame."""
        assert self._socket is not None and self._reader is not None
        self._socket.socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(PATIENCE_SECONDS)
        self._socket = None

    def wait_closed(self) -> None:
        """Wait until the server or the network has ended the connection."""
        assert self._reader is not None
        self._reader.join(PATIENCE_SECONDS)
        assert not self._reader.is_alive(), "still open"

    def _resume(self) -> dict[str, Any]:
        channels = [
            {"channel": channel, "epoch": epoch, "seq": seq} for channel, (epoch, seq) in self.positions.items()
        ]
        return {"resume": {"sessionId": self.ready["sessionId"], "channels": channels}}

    def hang_up_network(self) -> None:
        """Close the websocket, if it is open."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(self, message: dict[str, Any]) -> None:
        self.send_text(msgspec.msgpack.encode(message) if self._packs else json.dumps(message))

    def send_text(self, message: str | bytes) -> None:
        """Send a message without encoding or checking it."""
        assert self._socket is not None
        self._socket.send(message)

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a command and return the event with its `ref`."""
        self._refs += 1
        ref = f"r{self._refs}"
        self.send({**message, "ref": ref})
        return self.wait_until(lambda event: event.get("ref") == ref)

    def ask_ok(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a command and return its `ok`. Raises AssertionError for any other answer."""
        answer = self.ask(message)
        assert answer["type"] == "ok", answer
        return answer

    def join(self, channel: str) -> dict[str, Any]:
        return self.ask({"type": "room:join", "channel": channel})

    def wait_for(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Wait for an event of this kind with these fields that no earlier call returned, and return it."""
        return self.wait_until(
            lambda event: event["type"] == kind and all(event.get(name) == value for name, value in fields.items())
        )

    def wait_until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        for event in self.events:
            if not event.get("_seen") and wanted(event):
                event["_seen"] = True
                return event
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            closed = self._reader is not None and not self._reader.is_alive()
            try:
                event = self._arrived.get(timeout=0 if closed else LOOK_SECONDS)
            except queue.Empty:
                assert not closed, f"closed with {self.close_code}; what came: {[e['type'] for e in self.events]}"
                assert time.monotonic() < deadline, f"it did not come; what came: {[e['type'] for e in self.events]}"
                continue
            self.events.append(event)
            if wanted(event):
                event["_seen"] = True
                return event

    def all_events(self, kind: str) -> list[dict[str, Any]]:
        """Return every event of this kind so far, also those that an earlier call returned."""
        while not self._arrived.empty():
            self.events.append(self._arrived.get())
        return [event for event in self.events if event["type"] == kind]

    def balance(self) -> int:
        return int(self.http.get("/wallet").json()["balance"])

    def _read(self, connection: ClientConnection) -> None:
        try:
            for message in connection:
                event = msgspec.msgpack.decode(message) if isinstance(message, bytes) else json.loads(message)
                self._note_position(event)
                self._arrived.put(event)
        except ConnectionClosed:
            pass
        self.close_code = connection.close_code

    def _note_position(self, event: dict[str, Any]) -> None:
        if event["type"] == "room:joined":
            self.positions[event["channel"]] = (event["epoch"], event["seq"])
        elif "seq" in event:
            epoch, seq = self.positions[event["channel"]]
            assert event["seq"] == seq + 1, f"event {event['seq']} came after event {seq}"
            self.positions[event["channel"]] = (epoch, event["seq"])


def ring_and_join(fans: Phone, creators: Phone, **terms: Any) -> dict[str, Any]:
    """Start a call, let the creator accept and both parties join its room. Return the `call:ringing` event."""
    answer = fans.http.post("/calls/init", json={"creatorId": str(creators.user_id), **terms})
    assert answer.status_code == 201, answer.text
    ring = creators.wait_for("call:ringing", callId=answer.json()["callId"])
    creators.ask_ok({"type": "call:accept", "callId": ring["callId"]})
    for phone in (creators, fans):
        assert phone.join(ring["channel"])["type"] == "room:joined"
    return ring


def go_live(creators: Phone, **terms: Any) -> dict[str, Any]:
    """Create and start a stream of this creator, public by default. Return its REST body."""
    announced = creators.http.post("/streams", json={"title": "Live from the kitchen", "type": "public", **terms})
    assert announced.status_code == 201, announced.text
    started = creators.http.post(f"/streams/{announced.json()['stream']['id']}/start")
    assert started.status_code == 200, started.text
    stream: dict[str, Any] = started.json()["stream"]
    assert stream["status"] == "live"
    return stream


def send_tip(phone: Phone, channel: str, tokens: int, key: str | None = None, **more: Any) -> dict[str, Any]:
    """Send a tip and return its answer."""
    tip = {"type": "tip:send", "channel": channel, "amountTokens": tokens, "key": key or str(uuid4())}
    return phone.ask({**tip, **more})
