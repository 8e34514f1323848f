"""Tells a room who is in it: each join and leave while the room is small, a count once it is large."""

from collections.abc import Callable

from domain.ids import MemberId, UserId
from domain.instant import Duration, Instant
from domain.protocol import events as m
from domain.room.effects import Effect, Publish
from domain.room.members import Member, Members

COUNT_EVERY: Duration = 1_000_000  # contract.md, Messages: at most once a second


class Presence:
    """Publishes joins and leaves of a stream's members, or their number above `presence_limit` members."""

    def __init__(self, members: Members, publish: Callable[..., Publish], presence_limit: int) -> None:
        self._members = members
        self._publish = publish
        self._presence_limit = presence_limit
        self._changed_at: Instant = 0  # when the last member joined or left
        self._counted_at: Instant = 0  # when the last count was published
        self._published_count: int | None = None  # the last count; None while each join and leave is published

    def join(self, member_id: MemberId, user_id: UserId, per_user: int, at: Instant) -> list[Effect]:
        """Add a member and publish it. Nothing for a connection that is a member already.

        Raises RoomFull as `Members.add` does.
        """
        if member_id in self._members:
            return []
        return self._publish_change(m.MemberJoined, self._members.add(member_id, user_id, per_user), at)

    def leave(self, member_id: MemberId, at: Instant) -> list[Effect]:
        """Remove a member and publish it; nothing for a connection that is none."""
        member = self._members.remove(member_id)
        return [] if member is None else self._publish_change(m.MemberLeft, member, at)

    def listed(self, owner_id: UserId) -> list[Member]:
        """Return all members; in a large room only the owner's connections, to which viewers send signals."""
        return self._members.listed() if self._is_small else list(self._members.of(owner_id))

    def count_due_at(self) -> Instant | None:
        """Return when a changed count may be published, at most once a second; None if there is none."""
        if self._published_count in (None, len(self._members)):
            return None
        return max(self._changed_at, self._counted_at + COUNT_EVERY)

    def publish_count(self, at: Instant) -> Publish:
        """Publish the count. Once the room is small again, this is the last count before joins and leaves."""
        self._counted_at, self._published_count = at, None if self._is_small else len(self._members)
        return self._publish(m.RoomPresence, at, count=len(self._members))

    def _publish_change(self, kind: type[m.MemberJoined | m.MemberLeft], member: Member, at: Instant) -> list[Effect]:
        self._changed_at = at
        if self._published_count is None and self._is_small:
            return [self._publish(kind, at, member_id=member.member_id, user_id=member.user_id)]
        if self._published_count is None:
            self._published_count = 0  # the room has just become large: the first count is due at once
        return []

    @property
    def _is_small(self) -> bool:
        return len(self._members) <= self._presence_limit
