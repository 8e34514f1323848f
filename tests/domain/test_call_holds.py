"""Holds: what stops the clock, for how long, and what lifts it: pauses by hand, absences, storage."""

import pytest

from domain.call.record import CallRules
from domain.instant import rfc3339
from domain.protocol import commands as c
from domain.protocol import events as m
from domain.room import inputs
from tests.domain.story import CREATOR, FAN, START, Story, code, device

MICROSECOND = 0.000001
BOTH = pytest.mark.parametrize(("who", "other"), [(FAN, CREATOR), (CREATOR, FAN)], ids=["fan", "creator"])


def states(story: Story) -> list[tuple[str, list[str]]]:
    return [
        (str(event.__struct_config__.tag), event.holds)
        for event in story.published()
        if isinstance(event, m.CallStateChanged)
    ]


# By hand


@BOTH
def test_a_pause_stops_the_clock_and_keeps_the_rest_of_the_paid_block(who: object, other: object) -> None:
    story, name = Story().connect(), "fan" if who == FAN else "creator"
    user = FAN if who == FAN else CREATOR
    story.wait(20)
    story.act(user, c.CallPause)
    assert (story.status, story.holds) == ("paused", {name})
    story.wait(500)
    assert story.blocks == 1
    story.act(user, c.CallResume)
    assert story.status == "active"
    story.wait(9.999999)
    assert story.blocks == 1
    story.wait(MICROSECOND)
    assert story.blocks == 2
    assert states(story) == [("call:started", []), ("call:paused", [name]), ("call:resumed", [])]


def test_a_paused_call_says_no_end_of_the_paid_time_and_a_resumed_one_a_later_end() -> None:
    story = Story().connect()
    story.wait(20)
    story.act(FAN, c.CallPause)
    story.wait(100)
    story.act(FAN, c.CallResume)
    through = [event.paid_through for event in story.published() if isinstance(event, m.CallStateChanged)]
    assert through == [rfc3339(START + 30_000_000), None, rfc3339(START + 130_000_000)]


@BOTH
def test_ends_of_pauses_are_limited_and_no_pause_is_refused(who: object, other: object) -> None:
    story, user = Story(rules=CallRules(resumes_per_second=0.5, resumes_burst=3)).connect(), FAN
    if who == CREATOR:
        user = CREATOR
    for _ in range(3):
        assert [code(story.act(user, command)) for command in (c.CallPause, c.CallResume)] == [None, None]
    for _ in range(5):
        assert code(story.act(user, c.CallPause)) is None
        refused = story.act(user, c.CallResume)
        assert (code(refused), refused.details) == ("RATE_LIMITED", {"retryAfterSeconds": 2.0})
    assert (story.status, len(states(story))) == ("paused", 1 + 3 * 2 + 1)
    story.wait(1.999999)
    assert code(story.act(user, c.CallResume)) == "RATE_LIMITED"
    story.wait(MICROSECOND)
    assert code(story.act(user, c.CallResume)) is None
    assert story.status == "active"


@BOTH
def test_nobody_can_lift_the_others_pause(who: object, other: object) -> None:
    story = Story().connect()
    first, second = (FAN, CREATOR) if who == FAN else (CREATOR, FAN)
    story.act(first, c.CallPause)
    assert code(story.act(second, c.CallResume)) == "FORBIDDEN"
    assert story.status == "paused"


def test_each_of_two_pauses_is_lifted_by_the_party_that_set_it() -> None:
    story = Story().connect()
    story.act(FAN, c.CallPause)
    story.act(CREATOR, c.CallPause)
    assert story.holds == {"fan", "creator"}
    story.act(FAN, c.CallResume)
    assert story.holds == {"creator"}
    assert code(story.act(FAN, c.CallResume)) == "FORBIDDEN"
    story.act(CREATOR, c.CallResume)
    assert story.status == "active"


def test_pausing_twice_or_resuming_a_running_call_changes_nothing() -> None:
    story = Story().connect()
    assert code(story.act(FAN, c.CallResume)) is None
    story.act(FAN, c.CallPause)
    story.wait(599)
    assert code(story.act(FAN, c.CallPause)) is None
    story.wait(1)
    assert story.end_reason == "pause_limit"


def test_a_pause_of_ten_minutes_ends_the_call() -> None:
    story = Story().connect()
    story.wait(10)
    story.act(CREATOR, c.CallPause)
    story.wait(599.999999)
    assert story.status == "paused"
    story.wait(MICROSECOND)
    assert (story.end_reason, story.blocks) == ("pause_limit", 1)


def test_the_limit_counts_for_each_party() -> None:
    story = Story().connect()
    story.act(FAN, c.CallPause)
    story.wait(400)
    story.act(CREATOR, c.CallPause)
    story.act(FAN, c.CallResume)
    story.wait(400)
    assert story.status == "paused"
    story.wait(200)
    assert story.end_reason == "pause_limit"


# Absence


def test_a_drop_lets_time_run_for_ten_seconds_and_then_stops_it() -> None:
    story = Story().connect()
    story.wait(5)
    story.leave(FAN)
    assert story.status == "active"
    story.wait(9.999999)
    assert story.status == "active"
    story.wait(MICROSECOND)
    assert (story.status, story.holds) == ("paused", {"absent:fan"})
    story.wait(40)
    story.join(FAN)
    assert story.status == "active"
    story.wait(14.999999)
    assert story.blocks == 1
    story.wait(MICROSECOND)
    assert story.blocks == 2


def test_a_block_that_falls_due_while_the_fan_is_absent_is_charged_on_return() -> None:
    story, user = Story().connect(), FAN
    story.wait(27)
    story.leave(user)
    story.wait(3)
    assert (story.blocks, story.status) == (1, "paused")
    story.wait(20)
    assert story.blocks == 1
    story.join(user)
    assert (story.blocks, story.status) == (2, "active")
    story.wait(29.999999)
    assert story.blocks == 2
    story.wait(MICROSECOND)
    assert story.blocks == 3


def test_a_return_within_the_grace_and_before_the_block_is_no_event_at_all() -> None:
    story = Story().connect()
    story.wait(15)
    story.leave(FAN)
    story.wait(9)
    story.join(FAN)
    story.wait(6)
    assert story.blocks == 2
    assert [name for name, _ in states(story)] == ["call:started"]


@BOTH
def test_a_party_gone_for_a_minute_is_lost(who: object, other: object) -> None:
    story, user = Story().connect(), FAN if who == FAN else CREATOR
    story.wait(5)
    story.leave(user)
    story.wait(59.999999)
    assert story.status == "paused"
    story.wait(MICROSECOND)
    assert (story.end_reason, story.blocks) == ("peer_lost", 1)


def test_the_minute_runs_through_hand_pauses() -> None:
    story = Story().connect()
    story.act(CREATOR, c.CallPause)
    story.leave(FAN)
    story.wait(30)
    story.act(CREATOR, c.CallResume)
    story.act(CREATOR, c.CallPause)
    story.wait(30)
    assert story.end_reason == "peer_lost"


def test_the_minute_counts_for_each_party_from_its_own_drop() -> None:
    story = Story().connect()
    story.leave(FAN)
    story.wait(50)
    story.leave(CREATOR)
    story.join(FAN)
    story.wait(59)
    assert story.holds == {"absent:creator"}
    story.wait(1)
    assert story.end_reason == "peer_lost"


def test_both_must_be_back_before_the_clock_runs() -> None:
    story = Story().connect()
    story.leave(FAN)
    story.leave(CREATOR)
    story.wait(20)
    assert story.holds == {"absent:fan", "absent:creator"}
    story.join(FAN)
    assert story.holds == {"absent:creator"}
    story.join(CREATOR)
    assert story.status == "active"
    story.wait(29.999999)
    assert story.blocks == 1  # the clock stood as soon as the creator was gone
    story.wait(MICROSECOND)
    assert story.blocks == 2


def test_silence_is_an_absence_and_a_sound_is_a_return() -> None:
    story = Story().connect()
    story.wait(25)
    story.fall_silent(FAN)
    story.wait(10)
    assert (story.status, story.blocks) == ("paused", 1)
    story.be_responsive(FAN)
    assert (story.status, story.blocks) == ("active", 2)


def test_a_second_device_keeps_a_party_present() -> None:
    story = Story().connect()
    story.join(FAN, 2)
    story.leave(FAN, 1)
    story.wait(100)
    assert (story.status, story.blocks) == ("active", 4)


def test_an_absence_is_not_lifted_by_the_other_partys_return() -> None:
    story = Story().connect()
    story.leave(FAN)
    story.wait(15)
    story.join(CREATOR, 2)
    story.act(CREATOR, c.CallResume)
    assert story.holds == {"absent:fan"}


def test_a_return_does_not_lift_a_pause_by_hand() -> None:
    story = Story().connect()
    story.act(FAN, c.CallPause)
    story.leave(FAN)
    story.wait(20)
    assert story.holds == {"fan", "absent:fan"}
    story.join(FAN)
    assert story.holds == {"fan"}


def test_a_party_may_resume_while_it_is_absent_and_the_absence_still_holds() -> None:
    story = Story().connect()
    story.act(FAN, c.CallPause)
    story.leave(FAN)
    story.wait(20)
    story.act(FAN, c.CallResume)
    assert story.holds == {"absent:fan"}


def test_a_connection_that_leaves_is_no_member_any_more() -> None:
    story = Story().connect()
    story.leave(FAN)
    story.leave(FAN)
    assert story.kinds().count("member:left") == 1
    assert device(FAN) not in story.call.members


# Storage


def test_with_storage_away_blocks_wait_in_order_for_a_minute_and_then_the_clock_stands() -> None:
    story = Story().connect()
    story.storage_goes_away()
    story.wait(89.999999)
    assert (story.status, story.blocks, story.call.meter.posted) == ("active", 1, 3)
    story.wait(MICROSECOND)  # block 2 has waited for a minute; block 4 would fall due now
    assert (story.holds, story.call.meter.posted) == ({"storage"}, 3)
    story.wait(300)
    assert story.call.meter.posted == 3
    story.storage_comes_back()
    assert story.status == "active"
    assert story.blocks == 4
    assert story.ledger.total() == 0


def test_an_outage_shorter_than_the_grace_is_not_noticed_by_the_parties() -> None:
    story = Story().connect()
    story.storage_goes_away()
    story.wait(80)
    story.storage_comes_back()
    assert [name for name, _ in states(story)] == ["call:started"]
    assert story.blocks == 3
    story.wait(10)
    assert story.blocks == 4


def test_the_hold_is_lifted_only_when_every_waiting_block_has_its_receipt() -> None:
    story = Story().connect()
    story.storage_goes_away()
    story.wait(100)
    story.committer.queue, kept = [], story.committer.queue
    story.storage_comes_back()  # block 2 alone
    story.committer.queue = kept + story.committer.queue
    assert story.holds == {"storage"}
    story.give(inputs.Elapsed())
    assert story.status == "active"


def test_nobody_resumes_a_call_that_storage_holds() -> None:
    story = Story().connect()
    story.storage_goes_away()
    story.wait(95)
    story.act(FAN, c.CallResume)
    story.act(CREATOR, c.CallResume)
    assert story.holds == {"storage"}


def test_no_money_event_is_sent_before_it_is_booked() -> None:
    story = Story().connect()
    story.storage_goes_away()
    story.wait(80)
    assert story.kinds().count("block:charged") == 1
    assert len(story.received(FAN)) == 2  # accepted, and the wallet after block 1


def test_a_pause_before_block_one_is_paid_is_published_with_the_start() -> None:
    story = Story()
    story.act(CREATOR, c.CallAccept)
    story.join(CREATOR)
    story.storage_goes_away()
    story.join(FAN)
    story.wait(3)
    story.act(FAN, c.CallPause)
    assert states(story) == []
    story.storage_comes_back()
    assert states(story) == [("call:started", ["fan"])]
