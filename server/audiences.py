"""Who hears of what happens in a room: its members, and the overlays that look on, each with events of their own."""

from collections.abc import Callable, Iterator

from domain.effects import Audience
from domain.messages import SequencedEvent
from server.fanout import Fanout


class Audiences:
    """A fan-out for each audience of one room."""

    def __init__(self, make: Callable[[], Fanout]) -> None:
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
    def owed(self) -> bool:
        """Somebody has not been told yet what was published."""
        return any(fanout.owes for fanout in self)

    def flush(self) -> None:
        for fanout in self:
            fanout.flush()

    def discard(self) -> None:
        """Forget what was published and not flushed."""
        for fanout in self:
            fanout.discard()

    def clear(self) -> None:
        """Nobody is told anything more."""
        for fanout in self:
            fanout.clear()
