"""What calls and streams share: the numbers of a room's events, and its members."""

from typing import Any

import msgspec

from domain.effects import Publish
from domain.ids import MemberId, UserId
from domain.instant import Instant, rfc3339
from domain.messages import SequencedEvent


class Sequence:
    """The numbers of a room's events: 1, 2, 3 … without holes, per channel and epoch."""

    __slots__ = ("channel", "epoch", "last")

    def __init__(self, channel: str, epoch: int) -> None:
        self.channel = channel
        self.epoch = epoch
        self.last = 0

    def publish(self, kind: type[SequencedEvent], at: Instant, **fields: Any) -> Publish:
        """The next event of the room."""
        self.last += 1
        return Publish(kind(channel=self.channel, seq=self.last, at=rfc3339(at), **fields))


class Member(msgspec.Struct, frozen=True, rename="camel"):
    """One joined connection, as other members see it."""

    member_id: MemberId
    user_id: UserId


class RoomFull(Exception):
    """A room takes no more members, or no more of this user; the caller refuses the join."""


class Members:
    """The connections that joined a room, in the order in which they came."""

    def __init__(self, limit: int, per_user: int) -> None:
        self._limit = limit  # what one broadcast, and one `members` list, may cost
        self._per_user = per_user  # so that one user cannot keep the others out
        self._members: dict[MemberId, Member] = {}

    def __contains__(self, member_id: MemberId) -> bool:
        return member_id in self._members

    def add(self, member_id: MemberId, user_id: UserId) -> Member:
        """Raises RoomFull past either limit."""
        of_user = sum(member.user_id == user_id for member in self._members.values())
        if len(self._members) >= self._limit or of_user >= self._per_user:
            raise RoomFull
        member = self._members[member_id] = Member(member_id, user_id)
        return member

    def remove(self, member_id: MemberId) -> Member | None:
        return self._members.pop(member_id, None)

    def listed(self) -> list[Member]:
        return list(self._members.values())

    def clear(self) -> None:
        self._members.clear()
