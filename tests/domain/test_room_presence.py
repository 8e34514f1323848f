"""Presence in a room: each join and leave while it is small, then a count at most once a second."""

from typing import Any
from uuid import UUID

from domain.ids import MemberId, UserId
from domain.instant import Instant
from domain.protocol import events as m
from domain.room.effects import Publish
from domain.room.members import Members
from domain.room.presence import COUNT_EVERY, Presence

BEGIN: Instant = 1_800_000_000_000_000
MILLISECOND = 1000


class Room:
    """A room whose members join and leave, with each count that is published when it is due."""

    def __init__(self, presence_limit: int) -> None:
        self.counts: list[tuple[Instant, int]] = []
        self._presence = Presence(Members(1000), self._publish, presence_limit)

    def join(self, number: int, at: Instant) -> None:
        self.publish_due(at)
        self._presence.join(MemberId(UUID(int=number)), UserId(UUID(int=number)), 1, at)
        self.publish_due(at)

    def publish_due(self, at: Instant) -> None:
        while (due_at := self._presence.count_due_at()) is not None and due_at <= at:
            self._presence.publish_count(due_at)

    def _publish(self, kind: type[m.SequencedEvent], at: Instant, **fields: Any) -> Publish:
        if kind is m.RoomPresence:
            self.counts.append((at, fields["count"]))
        return Publish(kind(channel="c", seq=1, at="", **fields))


def test_many_joins_at_once_are_counted_once_a_second() -> None:
    room = Room(presence_limit=2)
    for number in range(1, 1001):
        room.join(number, BEGIN + number * MILLISECOND)
    room.publish_due(BEGIN + 5 * COUNT_EVERY)
    first = BEGIN + 3 * MILLISECOND
    assert room.counts == [(first, 3), (first + COUNT_EVERY, 1000)]


def test_after_a_pause_the_next_join_is_counted_at_once_and_only_once() -> None:
    room = Room(presence_limit=0)
    room.join(1, BEGIN)
    later = BEGIN + 600 * COUNT_EVERY
    for number in (2, 3, 4):
        room.join(number, later + number * MILLISECOND)
    room.publish_due(later + 5 * COUNT_EVERY)
    first = later + 2 * MILLISECOND
    assert room.counts == [(BEGIN, 1), (first, 2), (first + COUNT_EVERY, 4)]
