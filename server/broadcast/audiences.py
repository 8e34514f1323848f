"""Who hears of what happens in a room: its members, and the overlays that look on, each with events of their own."""

from collections.abc import Callable, Iterator

from domain.instant import Instant, rfc3339
from domain.protocol.events import RoomClosed, SequencedEvent
from domain.room.effects import Audience
from server.broadcast.fanout import Fanout

MOVED, SERVER_FAULT = "moved", "server_fault"  # why a room closed that its rules did not end


class Audiences:
    """A fan-out for each audience of one room."""

    def __init__(self, channel: str, make: Callable[[], Fanout]) -> None:
        self._channel = channel
        self._fanouts = {audience: make() for audience in Audience}

    def __getitem__(self, audience: Audience) -> Fanout:
        return self._fanouts[audience]

    def __iter__(self) -> Iterator[Fanout]:
        return iter(self._fanouts.values())

    def begin(self, epoch: int) -> None:
        """The room has a new epoch: all events are numbered anew."""
        for fanout in self:
            fanout.begin(epoch)

    def publish(self, event: SequencedEvent, audience: Audience) -> None:
        """With the next flush."""
        self._fanouts[audience].publish(event)

    @property
    def has_unflushed(self) -> bool:
        """Somebody has not been told yet what was published."""
        return any(fanout.has_unflushed for fanout in self)

    def flush(self) -> None:
        for fanout in self:
            fanout.flush()

    def discard(self) -> None:
        """Forget what was published and not flushed."""
        for fanout in self:
            fanout.discard()

    def close(self, at: Instant, reason: str) -> None:
        """Tell everybody that the room is over here, by no decision of its rules; they may join again."""
        for fanout in self:
            seq = fanout.last_seq + 1
            fanout.publish(RoomClosed(channel=self._channel, seq=seq, at=rfc3339(at), reason=reason))
            fanout.clear()

    def clear(self) -> None:
        """Nobody is told anything more."""
        for fanout in self:
            fanout.clear()
