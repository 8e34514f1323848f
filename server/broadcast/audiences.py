"""The audiences of a room, its members and its overlays; each has its own events with its own sequence numbers.

An overlay is a browser page that a creator's streaming software shows over the video. It receives only tips and the
start and end of the room, so it cannot share the members' sequence: numbers without events would look like losses.
"""

from collections.abc import Callable, Iterator

from domain.instant import Instant, rfc3339
from domain.protocol.events import RoomClosed, SequencedEvent
from domain.room.effects import Audience
from server.broadcast.fanout import Fanout

MOVED, SERVER_FAULT = "moved", "server_fault"  # reasons of `room:closed` for a room that its rules did not end


class Audiences:
    """Holds the fan-out of each audience of one room, and applies an operation to one or to all of them.

    It lives as long as the room on this server, restarts after crashes included.
    """

    def __init__(self, channel: str, make: Callable[[], Fanout]) -> None:
        self._channel = channel
        self._fanouts = {audience: make() for audience in Audience}

    def __getitem__(self, audience: Audience) -> Fanout:
        return self._fanouts[audience]

    def __iter__(self) -> Iterator[Fanout]:
        return iter(self._fanouts.values())

    def begin(self, epoch: int) -> None:
        """Start a new epoch: sequence numbers begin at 1 again, in all audiences."""
        for fanout in self:
            fanout.begin(epoch)

    def publish(self, event: SequencedEvent, audience: Audience) -> None:
        """Queue an event for one audience; the next `flush` sends it."""
        self._fanouts[audience].publish(event)

    @property
    def has_unflushed(self) -> bool:
        """Whether an event was published and not flushed yet."""
        return any(fanout.has_unflushed for fanout in self)

    def flush(self) -> None:
        """Send everything that was published, in all audiences."""
        for fanout in self:
            fanout.flush()

    def discard(self) -> None:
        """Drop what was published and not flushed, as if it had never been published."""
        for fanout in self:
            fanout.discard()

    def close(self, at: Instant, reason: str) -> None:
        """Send `room:closed` to everybody and remove all members; they may join the room again.

        `reason` is MOVED if another server owns the room by now, or SERVER_FAULT if the room failed too often.
        """
        for fanout in self:
            seq = fanout.last_seq + 1
            fanout.publish(RoomClosed(channel=self._channel, seq=seq, at=rfc3339(at), reason=reason))
            fanout.clear()

    def clear(self) -> None:
        """Remove all members of all audiences; nobody receives later events."""
        for fanout in self:
            fanout.clear()
