"""What the members of a room were told lately, for those who lost their connection meanwhile."""

from collections import deque

import trio

from domain.protocol.events import SequencedEvent
from server.broadcast.codec import Encoding


class Broadcast:
    """One event of a room, encoded at most once a subprotocol, however many hear it and whenever."""

    __slots__ = ("_event", "_frames", "published_at", "seq")

    def __init__(self, event: SequencedEvent) -> None:
        self._event = event
        self._frames: dict[Encoding, bytes] = {}
        self.seq = event.seq
        self.published_at = trio.current_time()

    def frame(self, encoding: Encoding) -> bytes:
        frame = self._frames.get(encoding)
        if frame is None:
            frame = self._frames[encoding] = encoding.frame(self._event)
        return frame


class History:
    """A room's latest broadcasts: those of `keep_seconds`, and at most `limit`."""

    __slots__ = ("_epoch", "_keep_seconds", "_kept", "last_seq")

    def __init__(self, keep_seconds: float, limit: int) -> None:
        self._kept: deque[Broadcast] = deque(maxlen=limit)
        self._keep_seconds = keep_seconds
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Number anew."""
        self._kept.clear()
        self._epoch = epoch
        self.last_seq = 0

    def add(self, broadcast: Broadcast) -> None:
        too_old = broadcast.published_at - self._keep_seconds
        while self._kept and self._kept[0].published_at < too_old:
            self._kept.popleft()
        self._kept.append(broadcast)
        self.last_seq = broadcast.seq

    def forget(self, latest: list[Broadcast]) -> None:
        """The latest, which nobody was sent, never were; the next event has the number of the first of them."""
        for _ in range(min(len(latest), len(self._kept))):
            self._kept.pop()
        self.last_seq = latest[0].seq - 1

    def since(self, epoch: int, seq: int) -> list[Broadcast] | None:
        """All that came after number `seq` of an epoch; None if some of it is gone, or that number was never given."""
        missed = self.last_seq - seq
        if epoch != self._epoch or not 0 <= missed <= len(self._kept) or seq < 0:
            return None
        return list(self._kept)[len(self._kept) - missed :]
