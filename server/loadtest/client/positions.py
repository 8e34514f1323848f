"""Read positions of a client in its rooms: checks that every event arrives once and in order.

The sequence numbers of a room count from 1 without holes for each epoch (contract.md, Messages), so a client needs no
list of the events to know that one is missing.
"""

from typing import Any


class ReadPosition:
    """The read position of one member in one room, with counts of lost and doubled events.

    `epoch` is 0 before the first join. `first_fault` describes the first event that was out of order.
    """

    __slots__ = ("doubled", "epoch", "first_fault", "lost", "received", "seq")

    def __init__(self) -> None:
        self.epoch = 0
        self.seq = 0  # of the last received event, or of the last one before the join
        self.received = 0
        self.lost = 0
        self.doubled = 0
        self.first_fault = ""

    def begin(self, epoch: int, seq: int) -> None:
        """Set the position after a join: the next event is `seq` + 1."""
        self.epoch, self.seq = epoch, seq

    def take(self, seq: int) -> None:
        """Count a sequenced event, and detect gaps and repeats. After a gap, the count continues behind it."""
        self.received += 1
        if seq == self.seq + 1:
            self.seq = seq
            return
        self.first_fault = self.first_fault or f"event {seq} came after {self.seq}"
        if seq <= self.seq:
            self.doubled += 1
        else:
            self.lost += seq - self.seq - 1
            self.seq = seq


class ReadPositions:
    """The read positions of one session; the counts of a room are kept after a leave."""

    def __init__(self) -> None:
        self.by_channel: dict[str, ReadPosition] = {}
        self._inside: set[str] = set()

    def take(self, event: dict[str, Any]) -> None:
        """Process any event; those with a sequence number are counted."""
        if event["type"] == "room:joined":
            self._inside.add(event["channel"])
            self._position_in(event["channel"]).begin(event["epoch"], event["seq"])
        elif "seq" in event:
            self._position_in(event["channel"]).take(event["seq"])

    def leave(self, channel: str) -> None:
        """Exclude a room from later resume points."""
        self._inside.discard(channel)

    def resume_points(self) -> list[dict[str, Any]]:
        """Return the position in each joined room, in the format of `session:open`."""
        positions = ((channel, self.by_channel[channel]) for channel in sorted(self._inside))
        return [{"channel": channel, "epoch": position.epoch, "seq": position.seq} for channel, position in positions]

    @property
    def faults(self) -> list[str]:
        """Return a sentence for each room with lost or doubled events."""
        return [
            f"{channel}: {position.first_fault}; {position.lost} lost, {position.doubled} doubled"
            for channel, position in self.by_channel.items()
            if position.lost or position.doubled
        ]

    def _position_in(self, channel: str) -> ReadPosition:
        return self.by_channel.setdefault(channel, ReadPosition())
