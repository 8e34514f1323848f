"""A room's recent events, kept for members that lose their connection and resume their session.

The history is in memory only. After a crash of the room or a move to another server its epoch is new, and members get
the room's state instead of events (contract.md, Resume).
"""

from collections import deque

import trio

from domain.protocol.events import SequencedEvent
from server.broadcast.codec import Encoding


class Broadcast:
    """One sequenced event of a room. It is encoded at most once for each subprotocol.

    The frames stay with the event, so that members who resume later are sent the same bytes.
    """

    __slots__ = ("_event", "_frames", "published_at", "seq")

    def __init__(self, event: SequencedEvent) -> None:
        self._event = event
        self._frames: dict[Encoding, bytes] = {}
        self.seq = event.seq
        self.published_at = trio.current_time()

    def frame(self, encoding: Encoding) -> bytes:
        """The event as a websocket frame of this subprotocol; encoded at the first call."""
        frame = self._frames.get(encoding)
        if frame is None:
            frame = self._frames[encoding] = encoding.frame(self._event)
        return frame


class History:
    """The latest events of one audience: those of the last `keep_seconds`, and at most `limit` of them.

    Old events are dropped when a new one is added, so a quiet room may keep some for longer; they are still complete.
    """

    __slots__ = ("_epoch", "_keep_seconds", "_kept", "last_seq")

    def __init__(self, keep_seconds: float, limit: int) -> None:
        self._kept: deque[Broadcast] = deque(maxlen=limit)
        self._keep_seconds = keep_seconds
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Start a new epoch: drop all events; the next event has number 1."""
        self._kept.clear()
        self._epoch = epoch
        self.last_seq = 0

    def add(self, broadcast: Broadcast) -> None:
        """Keep an event, and drop those that are too old."""
        too_old = broadcast.published_at - self._keep_seconds
        while self._kept and self._kept[0].published_at < too_old:
            self._kept.popleft()
        self._kept.append(broadcast)
        self.last_seq = broadcast.seq

    def forget(self, latest: list[Broadcast]) -> None:
        """Remove the latest events, which were not sent; the next event takes the number of the first of them."""
        for _ in range(min(len(latest), len(self._kept))):
            self._kept.pop()
        self.last_seq = latest[0].seq - 1

    def since(self, epoch: int, seq: int) -> list[Broadcast] | None:
        """The events after number `seq` of this epoch.

        An empty list if `seq` is the latest number. None if some of the events are dropped already, if the epoch is
        another one, or if no event had the number `seq`: the numbers come from the client and may be invented.
        """
        missed = self.last_seq - seq
        if epoch != self._epoch or not 0 <= missed <= len(self._kept) or seq < 0:
            return None
        return list(self._kept)[len(self._kept) - missed :]
