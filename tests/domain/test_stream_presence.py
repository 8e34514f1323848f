"""Presence in a stream: each join and leave while it is small, else a count at most once a second."""

from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from domain.ids import UserId
from domain.instant import Instant, rfc3339
from domain.protocol import events as m
from domain.room.members import RoomRules
from tests.domain.story import CREATOR, FAN, START, STRANGER, device
from tests.domain.stream_story import OPERATOR, OTHER, StreamStory

SMALL = RoomRules(presence_limit=2)
VIEWERS = (FAN, OTHER, STRANGER, OPERATOR)


def large() -> StreamStory:
    """A room of three that publishes joins and leaves only up to two."""
    return StreamStory(rate=None, room_rules=SMALL).watch(FAN, OTHER)


def counts(story: StreamStory) -> list[tuple[str, int]]:
    return [(event.at, event.count) for event in story.published() if isinstance(event, m.RoomPresence)]


def at(seconds: float) -> str:
    return rfc3339(START + round(seconds * 1_000_000))


def test_up_to_the_limit_each_join_and_leave_is_published() -> None:
    story = StreamStory(rate=None, room_rules=SMALL).watch(FAN)
    story.leave(FAN)
    names = [event for event in story.published() if isinstance(event, m.MemberJoined | m.MemberLeft)]
    assert [(event.member_id, event.user_id) for event in names] == [
        (device(CREATOR), CREATOR),
        (device(FAN), FAN),
        (device(FAN), FAN),
    ]
    assert counts(story) == []


def test_past_the_limit_only_the_count_is_published_and_the_first_at_once() -> None:
    story = large()
    assert story.kinds() == ["stream:live", "member:joined", "member:joined", "room:presence"]
    assert counts(story) == [(at(0), 3)]


def test_the_count_is_published_at_most_once_a_second_and_is_the_latest() -> None:
    story = large()
    story.wait(0.25)
    story.join(STRANGER)
    story.wait(0.25)
    story.join(OPERATOR)
    assert counts(story) == [(at(0), 3)]
    story.wait(0.5)
    assert counts(story) == [(at(0), 3), (at(1), 5)]


def test_after_a_quiet_time_a_change_is_published_at_once_with_its_own_time() -> None:
    story = large()
    story.wait(60)
    story.join(STRANGER)
    assert counts(story)[-1] == (at(60), 4)
    story.wait(30)
    story.leave(STRANGER)
    assert counts(story)[-1] == (at(90), 3)
    story.join(STRANGER)
    assert counts(story)[-1] == (at(90), 3)


def test_a_join_and_leave_within_a_second_is_not_published() -> None:
    story = large()
    story.join(STRANGER)
    story.leave(STRANGER)
    story.wait(10)
    assert len(counts(story)) == 1


def test_a_room_that_is_small_again_publishes_a_last_count_and_then_each_join() -> None:
    story = large()
    story.wait(5)
    story.leave(OTHER)
    assert counts(story)[-1] == (at(5), 2)
    story.leave(FAN)
    assert story.kinds()[-1] == "member:left"


def test_a_join_of_a_large_room_lists_the_owners_connections_only() -> None:
    story = large()
    assert [member.user_id for member in story.join(STRANGER).members] == [CREATOR]


@given(st.lists(st.tuples(st.sampled_from(VIEWERS), st.integers(0, 2_500_000)), max_size=40))
def test_after_any_joins_and_leaves_the_last_count_is_right_and_none_is_published_too_early(
    moves: list[tuple[UserId, Instant]],
) -> None:
    story = StreamStory(rate=None, room_rules=SMALL).watch()
    for user_id, pause in moves:
        story.wait(pause / 1_000_000)
        (story.leave if story.is_in(user_id) else story.join)(user_id)
    story.wait(1)
    known: int = 0
    for event in story.published():
        match event:
            case m.MemberJoined():
                known += 1
            case m.MemberLeft():
                known -= 1
            case m.RoomPresence(count=count):
                known = count
    assert known == len(story.stream.members)
    assert [event.seq for event in story.published()] == list(range(1, len(story.published()) + 1))
    assert all(earlier.at <= later.at for earlier, later in pairwise(story.published()))
    received = [datetime.fromisoformat(moment) for moment, _ in counts(story)]
    assert all(later - earlier >= timedelta(seconds=1) for earlier, later in pairwise(received))
