"""Who is in a room of many, and how the others hear of it: by name while it is small, by number once it is not."""

from collections.abc import Callable

from domain.ids import MemberId, UserId
from domain.instant import Duration, Instant
from domain.protocol import events as m
from domain.room.effects import Effect, Publish
from domain.room.members import Member, Members

COUNT_EVERY: Duration = 1_000_000  # CONTRACT §7: at most once a second


class Presence:
    """The members of a stream's room, as its events tell of them."""

    def __init__(self, members: Members, publish: Callable[..., Publish], presence_limit: int) -> None:
        self._members = members
        self._publish = publish
        self._presence_limit = presence_limit
        self._changed_at: Instant = 0  # when somebody last came or went
        self._counted_at: Instant = 0  # when the last count was told
        self._told_count: int | None = None  # None while members are told by name

    def join(self, member_id: MemberId, user_id: UserId, per_user: int, at: Instant) -> list[Effect]:
        """Raises RoomFull."""
        if member_id in self._members:
            return []
        return self._tell(m.MemberJoined, self._members.add(member_id, user_id, per_user), at)

    def leave(self, member_id: MemberId, at: Instant) -> list[Effect]:
        member = self._members.remove(member_id)
        return [] if member is None else self._tell(m.MemberLeft, member, at)

    def listed(self, owner_id: UserId) -> list[Member]:
        """Everybody; in a room that is only counted, the owner's connections, which viewers send signals to."""
        return self._members.listed() if self._is_small else list(self._members.of(owner_id))

    def count_due_at(self) -> Instant | None:
        """When a count that changed may be told."""
        if self._told_count in (None, len(self._members)):
            return None
        return max(self._changed_at, self._counted_at + COUNT_EVERY)

    def tell_count(self, at: Instant) -> Publish:
        """The count, which is due; once the room is small again, the last one."""
        self._counted_at, self._told_count = at, None if self._is_small else len(self._members)
        return self._publish(m.RoomPresence, at, count=len(self._members))

    def _tell(self, kind: type[m.MemberJoined | m.MemberLeft], member: Member, at: Instant) -> list[Effect]:
        self._changed_at = at
        if self._told_count is None and self._is_small:
            return [self._publish(kind, at, member_id=member.member_id, user_id=member.user_id)]
        if self._told_count is None:
            self._told_count = 0  # from here on they are counted, and the first count is due at once
        return []

    @property
    def _is_small(self) -> bool:
        return len(self._members) <= self._presence_limit
