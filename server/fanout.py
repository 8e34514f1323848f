"""One event, encoded once, to every member of a room."""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from domain.ids import MemberId
from domain.messages import SequencedEvent
from server.wire import Encoding


class Outlet(Protocol):
    """A connection, as far as a broadcast needs it."""

    encoding: Encoding

    def push(self, frame: bytes) -> None: ...


class Fanout:
    """The members of one room, and how to reach them; it outlives a crash of the room."""

    def __init__(self, outlets: Mapping[MemberId, Outlet]) -> None:
        self._outlets = outlets  # every live connection by its id
        self._members: dict[MemberId, Outlet] = {}
        self.last_seq = 0

    def add(self, member_id: MemberId) -> None:
        """From the next event on; a connection that is gone meanwhile is left out."""
        outlet = self._outlets.get(member_id)
        if outlet is not None:
            self._members[member_id] = outlet

    def remove(self, member_id: MemberId) -> None:
        self._members.pop(member_id, None)

    def clear(self) -> list[MemberId]:
        """Nobody is a member any more; returns who was."""
        members = list(self._members)
        self._members.clear()
        return members

    def publish(self, event: SequencedEvent) -> None:
        """To all, in one order, without waiting for any."""
        self.last_seq = event.seq
        send_to_all(list(self._members.values()), event)


def send_to_all(outlets: list[Outlet], event: msgspec.Struct) -> None:
    """Encode once a subprotocol that is spoken, and push."""
    frames: dict[Encoding, bytes] = {}
    for outlet in outlets:
        frame = frames.get(outlet.encoding)
        if frame is None:
            frame = frames[outlet.encoding] = outlet.encoding.frame(event)
        outlet.push(frame)
