"""The pings of one client: when the next one is due, and for how long without a byte the client counts as present."""

from math import inf

from server.broadcast.codec import PING_FRAME
from server.broadcast.send_queue import SendQueue
from server.config.settings import WebsocketSettings
from server.observability.stall_detector import StallWatch


class Pings:
    """Pings a client, and judges its silence. All times are seconds of trio's clock; no method waits.

    A client that some room depends on (`presence_matters`) is pinged every `party_heartbeat_seconds`, and is silent
    `presence_seconds` after its last byte. Any other client is pinged every `heartbeat_seconds`, and is silent after
    both times together.
    """

    __slots__ = ("_asked_at", "_send_queue", "_settings", "_stalls", "presence_matters", "sent_at")

    def __init__(self, send_queue: SendQueue, settings: WebsocketSettings, stalls: StallWatch) -> None:
        self._send_queue, self._settings, self._stalls = send_queue, settings, stalls
        self.presence_matters = False
        self.sent_at = send_queue.received_at
        self._asked_at = -inf  # when the first ping was sent that followed the last byte received

    def send_if_due(self, now: float) -> bool:
        """Send a ping if the last one was long enough ago, and return whether it was sent."""
        due = now - self.sent_at >= self._seconds
        if due:
            self._send(now)
        return due

    def send_unless_unanswered(self, now: float) -> None:
        """Send a ping, unless one is unanswered."""
        if self.unanswered_since is None:
            self._send(now)

    def send_soon(self) -> None:
        """Let the next ping be due at once: after a stall every client gets the chance to answer."""
        self.sent_at = -inf

    def _send(self, now: float) -> None:
        """Send a ping, and note its time: any later byte of the client answers it."""
        if self.unanswered_since is None:
            self._asked_at = now
        self._send_queue.push(PING_FRAME)
        self.sent_at = now

    @property
    def unanswered_since(self) -> float | None:
        """When the first ping was sent that no byte of the client has followed; None without one."""
        return self._asked_at if self._send_queue.received_at < self._asked_at else None

    def is_silent(self, now: float) -> bool:
        """Whether nothing arrived from the client for so long that it counts as absent."""
        received_at = self._send_queue.received_at
        return now - received_at >= self._silence_seconds or received_at < self._stalls.silent_before

    def is_lost(self, now: float) -> bool:
        """Whether nothing arrived for so long that the connection must be closed; no ping is sent in a stall."""
        return now - max(self._send_queue.received_at, self._stalls.over_at) >= self._settings.ping_timeout_seconds

    def next_due(self) -> float:
        """Return when the next ping is due or the client may become silent or lost, whichever is earliest."""
        until_silence = min(self._silence_seconds, self._settings.ping_timeout_seconds)
        return min(self.sent_at + self._seconds, self._send_queue.received_at + until_silence)

    @property
    def _seconds(self) -> float:
        """The time between two pings."""
        settings = self._settings
        return settings.party_heartbeat_seconds if self.presence_matters else settings.heartbeat_seconds

    @property
    def _silence_seconds(self) -> float:
        """The time without a byte after which the client counts as absent."""
        return self._settings.presence_seconds + (0 if self.presence_matters else self._settings.heartbeat_seconds)
