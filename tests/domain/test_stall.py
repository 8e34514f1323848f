"""A stall of the server costs no user anything that they could not prevent, in calls and in metered streams."""

import pytest

from domain.call.record import CallRules
from domain.instant import duration, rfc3339
from domain.protocol import commands as c
from domain.protocol import events as m
from domain.room import inputs
from tests.domain.story import CREATOR, FAN, START, Story, code
from tests.domain.stream_story import OTHER, StreamStory

PRESENCE_SECONDS = 10
SECOND_BLOCKS = CallRules(block_seconds=1)


def stall(story: Story | StreamStory, seconds: float) -> None:
    """The server stalls for so long and then notices it; no input is left unread."""
    until = story.now + duration(seconds)
    story.give(inputs.Stalled(until, seconds >= PRESENCE_SECONDS))
    story.now = until


def wake(story: Story | StreamStory) -> None:
    story.give(inputs.Elapsed())


def test_a_call_that_its_fan_ended_in_a_stall_costs_what_was_due_before() -> None:
    story = Story(rules=SECOND_BLOCKS).connect()
    story.wait(2.5)
    assert story.act(FAN, c.CallEnd)["call"]["status"] == "ended"  # stamped with the start of the stall
    stall(story, 20)
    wake(story)
    assert (story.blocks, story.end_reason) == (3, "hangup")


def test_a_short_stall_in_which_both_parties_remain_is_charged_once_and_moves_no_block() -> None:
    story = Story(rules=SECOND_BLOCKS).connect()
    story.wait(2.5)
    stall(story, 3)
    wake(story)
    assert (story.blocks, story.holds) == (6, set())
    story.wait(0.5)
    assert story.blocks == 7


def test_in_a_long_stall_nobody_pays_and_the_paid_rest_is_kept() -> None:
    story = Story(rules=SECOND_BLOCKS).connect()
    story.wait(2.5)
    stall(story, 20)
    wake(story)
    assert (story.blocks, story.holds) == (3, {"absent:fan", "absent:creator"})
    story.be_responsive(CREATOR)
    story.be_responsive(FAN)
    assert (story.blocks, story.holds) == (3, set())
    story.wait(0.499999)
    assert story.blocks == 3
    story.wait(0.000001)
    assert story.blocks == 4


def test_clients_receive_the_times_that_a_long_stall_has_moved() -> None:
    story = Story().connect()
    story.wait(20)
    stall(story, 15)
    story.be_responsive(CREATOR)
    story.be_responsive(FAN)
    states = [event for event in story.published() if isinstance(event, m.CallStateChanged)]
    assert [event.holds for event in states[1:]] == [
        ["absent:fan"],
        ["absent:creator", "absent:fan"],
        ["absent:fan"],
        [],
    ]
    assert states[-1].paid_through == rfc3339(START + duration(20 + 15 + 10))


def test_a_call_paused_in_a_short_stall_is_paused_from_its_beginning_and_resumed_at_its_end() -> None:
    story = Story(rules=SECOND_BLOCKS).connect()
    story.wait(2.5)
    story.act(FAN, c.CallPause)
    stall(story, 5)
    story.act(FAN, c.CallResume)
    assert story.blocks == 3
    story.wait(0.5)
    assert story.blocks == 4


def test_a_call_rings_longer_by_a_stall_in_which_the_server_could_not_receive_its_accept() -> None:
    story = Story()
    story.wait(28)
    stall(story, 25)
    wake(story)
    story.wait(1)
    assert story.status == "ringing"
    story.act(CREATOR, c.CallAccept)
    stall(story, 30)
    story.join(CREATOR)
    story.join(FAN)
    assert (story.status, story.blocks) == ("active", 1)


def test_ringing_that_was_over_before_the_stall_is_over() -> None:
    story = Story()
    story.wait(29)
    story.now += duration(1)
    stall(story, 25)
    assert story.end_reason == "missed"


@pytest.mark.parametrize("seconds", [8, 70])
def test_a_party_that_was_away_has_its_whole_time_to_come_back(seconds: float) -> None:
    story = Story().connect()
    story.fall_silent(FAN)
    story.wait(55)
    stall(story, seconds)
    wake(story)
    assert story.end_reason is None
    story.wait(4.9)
    assert story.end_reason is None
    story.wait(0.1)
    assert story.end_reason == "peer_lost"


def test_parties_that_do_not_return_after_a_stall_are_lost_after_the_usual_time() -> None:
    story = Story().connect()
    story.wait(5)
    stall(story, 100)
    wake(story)
    story.wait(59.9)
    assert story.end_reason is None
    story.wait(0.1)
    assert story.end_reason == "peer_lost"
    assert story.blocks == 1


def test_the_excuse_of_an_earlier_drop_does_not_count_for_a_later_one() -> None:
    story = Story().connect()
    story.fall_silent(FAN)
    stall(story, 8)
    story.be_responsive(FAN)
    story.fall_silent(FAN)
    story.wait(60)
    assert story.end_reason == "peer_lost"


def test_a_hand_pause_is_not_over_its_limit_for_a_stall() -> None:
    story = Story().connect()
    story.act(FAN, c.CallPause)
    story.wait(595)
    stall(story, 9)
    assert code(story.act(FAN, c.CallResume)) is None
    assert story.status == "active"


def test_a_stall_of_the_server_does_not_count_as_missing_storage() -> None:
    story = Story()
    story.storage_goes_away()
    story.connect()
    stall(story, 9)
    story.wait(52)
    assert "storage" not in story.holds
    story.wait(9)
    assert "storage" in story.holds


def test_a_stall_while_a_call_rings_holds_nothing_and_parties_count_once_they_respond() -> None:
    story = Story()
    story.join(FAN)
    stall(story, 15)
    story.act(CREATOR, c.CallAccept)
    story.join(CREATOR)
    assert story.holds == set()
    assert story.blocks == 0
    story.be_responsive(FAN)
    assert story.blocks == 1


def test_viewers_of_a_metered_stream_pay_nothing_for_a_long_stall() -> None:
    story = StreamStory(block_seconds=1).watch(FAN, OTHER)
    story.wait(2.5)
    stall(story, 20)
    wake(story)
    for user_id in (CREATOR, FAN, OTHER):
        story.be_responsive(user_id)
    assert [story.blocks(user_id) for user_id in (FAN, OTHER)] == [3, 3]
    story.wait(0.5)
    assert [story.blocks(user_id) for user_id in (FAN, OTHER)] == [4, 4]


def test_a_viewer_who_left_in_a_short_stall_pays_nothing_for_it_and_others_do() -> None:
    story = StreamStory(block_seconds=1).watch(FAN, OTHER)
    story.wait(2.5)
    story.leave(FAN)
    stall(story, 3)
    wake(story)
    assert [story.blocks(user_id) for user_id in (FAN, OTHER)] == [3, 6]


def test_a_viewer_who_remains_silent_after_a_long_stall_pays_nothing_more() -> None:
    story = StreamStory().watch(FAN, OTHER)
    stall(story, 20)
    story.be_responsive(CREATOR)
    story.be_responsive(OTHER)
    story.wait(30)
    assert [story.blocks(user_id) for user_id in (FAN, OTHER)] == [1, 2]


@pytest.mark.parametrize("absent_before", [False, True])
def test_a_stream_does_not_end_because_a_stalled_server_received_nothing_from_its_owner(absent_before: bool) -> None:
    story = StreamStory().watch(FAN)
    if absent_before:
        story.leave(CREATOR)
    stall(story, 400)
    wake(story)
    story.wait(299)
    assert not story.stream.termination.over
    story.wait(1)
    assert story.stream.termination.reason == "owner_lost"


def test_a_stall_after_the_owners_last_byte_does_not_count_as_absence() -> None:
    story = StreamStory().watch(FAN)
    story.wait(1)
    stall(story, 8)
    story.fall_silent(CREATOR, for_seconds=9)
    story.wait(298)
    assert not story.stream.termination.over
    story.wait(1)
    assert story.stream.termination.reason == "owner_lost"


def test_active_time_that_is_stored_after_a_long_stall_does_not_include_it() -> None:
    story = StreamStory().watch(FAN)
    story.wait(5)
    stall(story, 20)
    assert story.committer.active[FAN] == duration(5)
