"""How far a client has read in its rooms: every event once and in order, or it says what was not."""

from typing import Any


class ReadPosition:
    """One room, as one of its members reads it."""

    __slots__ = ("doubled", "epoch", "first_fault", "heard", "lost", "seq")

    def __init__(self) -> None:
        self.epoch = 0
        self.seq = 0  # of the last event that was read, or that came before the join
        self.heard = 0
        self.lost = 0
        self.doubled = 0
        self.first_fault = ""

    def begin(self, epoch: int, seq: int) -> None:
        """Joined, or joined anew: the next event is `seq` + 1."""
        self.epoch, self.seq = epoch, seq

    def take(self, seq: int) -> None:
        """A sequenced event."""
        self.heard += 1
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
    """Every room of one session; what was counted stays when a room is left."""

    def __init__(self) -> None:
        self.by_channel: dict[str, ReadPosition] = {}
        self._inside: set[str] = set()

    def take(self, event: dict[str, Any]) -> None:
        """Any event; those that number a room count."""
        if event["type"] == "room:joined":
            self._inside.add(event["channel"])
            self._position_in(event["channel"]).begin(event["epoch"], event["seq"])
        elif "seq" in event:
            self._position_in(event["channel"]).take(event["seq"])

    def leave(self, channel: str) -> None:
        self._inside.discard(channel)

    def resume_points(self) -> list[dict[str, Any]]:
        """The last event of each room that was not left, as `session:open` wants it."""
        positions = ((channel, self.by_channel[channel]) for channel in sorted(self._inside))
        return [{"channel": channel, "epoch": position.epoch, "seq": position.seq} for channel, position in positions]

    @property
    def faults(self) -> list[str]:
        """A sentence for each room where an event was missing or came twice."""
        return [
            f"{channel}: {position.first_fault}; {position.lost} lost, {position.doubled} doubled"
            for channel, position in self.by_channel.items()
            if position.lost or position.doubled
        ]

    def _position_in(self, channel: str) -> ReadPosition:
        return self.by_channel.setdefault(channel, ReadPosition())
