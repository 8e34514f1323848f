"""The members of a room, the sequence numbers of its events, and the limits of what a room carries."""

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

from domain.ids import MemberId, UserId
from domain.instant import Instant, rfc3339
from domain.protocol.events import RoomJoined, SequencedEvent
from domain.room.effects import Audience, Publish


class RoomRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The limits of chat, signals, tips and overlays; they are part of the section `[rooms]` of the settings."""

    presence_limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    chat_per_second: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 10
    chat_burst: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    user_chat_per_second: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 2
    user_chat_burst: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 10
    signal_bytes_per_second: Annotated[int, msgspec.Meta(ge=1, le=1_048_576)] = 8192
    signal_bytes_burst: Annotated[int, msgspec.Meta(ge=16_384, le=1_048_576)] = 65_536
    signals_per_second: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 10
    signals_burst: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    creator_signal_share: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 4
    recent_events: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 50
    overlays: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 16
    tips_under_way: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000


class Sequence:
    """Numbers the events of a room to one audience 1, 2, 3 … without gaps, per channel and epoch."""

    __slots__ = ("audience", "channel", "epoch", "last")

    def __init__(self, channel: str, epoch: int, audience: Audience = Audience.MEMBERS) -> None:
        self.channel = channel
        self.epoch = epoch
        self.audience = audience
        self.last = 0

    def publish(self, kind: type[SequencedEvent], at: Instant, **fields: Any) -> Publish:
        """Build the next event of the room and return the effect that publishes it."""
        self.last += 1
        return Publish(kind(channel=self.channel, seq=self.last, at=rfc3339(at), **fields), self.audience)

    def joined(
        self,
        member_id: MemberId,
        room: dict[str, Any],
        members: Iterable["Member"],
        history: Iterable[Any],
        you: dict[str, Any],
    ) -> RoomJoined:
        """Build the answer to a join; the member's events begin after its `seq`.

        `you` is what this member alone is sent. The reply adds the ICE servers.
        """
        return RoomJoined(
            channel=self.channel,
            room=room,
            member_id=member_id,
            members=list(members),
            history=list(history),
            epoch=self.epoch,
            seq=self.last,
            you=you,
            ice_servers=[],
        )


class Member(msgspec.Struct, frozen=True, rename="camel"):
    """One joined connection, as other members see it."""

    member_id: MemberId
    user_id: UserId


class RoomFull(Exception):
    """The room takes no more members, or no more connections of this user; the caller refuses the join."""


class Members:
    """The connections that joined a room, in the order of their joins, and which of them are silent."""

    def __init__(self, limit: int) -> None:
        self._limit = limit  # bounds the cost of one broadcast
        self._members: dict[MemberId, Member] = {}
        self._of_user: dict[UserId, list[Member]] = {}
        self._silent: dict[MemberId, None] = {}  # the longest silent first

    def __contains__(self, member_id: MemberId | None) -> bool:
        return member_id in self._members

    def __len__(self) -> int:
        return len(self._members)

    def add(self, member_id: MemberId, user_id: UserId, per_user: int) -> Member:
        """Add a connection.

        Raises RoomFull past the limit of the room, or past `per_user` connections of this user.
        """
        mine = self.of(user_id)
        if len(self._members) >= self._limit or len(mine) >= per_user:
            raise RoomFull
        member = self._members[member_id] = Member(member_id, user_id)
        self._of_user[user_id] = [*mine, member]
        return member

    def note_silence(self, member_id: MemberId, silent: bool) -> None:
        """Note that a member is silent, or that it is responsive again."""
        if silent and member_id in self._members:
            self._silent.setdefault(member_id)
        else:
            self._silent.pop(member_id, None)

    def is_silent(self, member_id: MemberId) -> bool:
        """Return whether nothing is received from this member any more."""
        return member_id in self._silent

    def yielding(self, member_id: MemberId, user_id: UserId, per_user: int) -> MemberId | None:
        """Return the connection that a new one of this user replaces: the one that has been silent for longest.

        None while the limit allows the new one as well, or if none of the user's connections is silent.
        """
        mine = self.of(user_id)
        if member_id in self._members or len(mine) < per_user:
            return None
        theirs = {member.member_id for member in mine}
        return next((silent for silent in self._silent if silent in theirs), None)

    def find(self, member_id: MemberId) -> Member | None:
        """Return the member, or None if the connection is no member."""
        return self._members.get(member_id)

    def of(self, user_id: UserId) -> list[Member]:
        """Return this user's connections, in the order of their joins."""
        return self._of_user.get(user_id, [])

    def remove(self, member_id: MemberId) -> Member | None:
        """Remove and return the member; None if it was none."""
        member = self._members.pop(member_id, None)
        self._silent.pop(member_id, None)
        if member is not None:
            left = [other for other in self._of_user.pop(member.user_id) if other is not member]
            if left:
                self._of_user[member.user_id] = left
        return member

    def listed(self) -> list[Member]:
        """Return all members, in the order of their joins."""
        return list(self._members.values())

    def clear(self) -> None:
        """Remove everybody: the room is closed."""
        self._members.clear()
        self._of_user.clear()
        self._silent.clear()
