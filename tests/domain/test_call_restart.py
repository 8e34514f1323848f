"""Crashes and drains: downtime is never charged, and a call continues as it was stored."""

from domain.protocol import commands as c
from domain.protocol import events as m
from domain.room import effects, inputs
from tests.domain.story import CREATOR, FAN, Story, code

MICROSECOND = 0.000001


def test_a_drained_call_continues_where_it_stopped_when_both_are_back() -> None:
    story = Story().connect()
    story.wait(40)
    story.drain(down_seconds=300)
    assert (story.status, story.holds, story.blocks) == ("paused", {"restart"}, 2)
    story.join(FAN)
    assert story.holds == {"restart"}
    story.wait(5)
    story.join(CREATOR)
    assert story.status == "active"
    story.wait(19.999999)
    assert story.blocks == 2
    story.wait(MICROSECOND)
    assert story.blocks == 3


def test_after_a_crash_the_call_goes_on_from_the_last_stored_time() -> None:
    story = Story().connect()
    story.wait(12)
    story.act(FAN, c.CallPause)
    story.act(FAN, c.CallResume)
    story.wait(10)
    story.crash(down_seconds=20)
    story.join(FAN)
    story.join(CREATOR)
    story.wait(17.999999)
    assert story.blocks == 1
    story.wait(MICROSECOND)
    assert story.blocks == 2


def test_a_crash_never_makes_a_block_shorter_than_it_was_paid_for() -> None:
    story = Story().connect()
    story.wait(35)  # block 2 is paid; the stored time is older
    story.crash()
    story.join(FAN)
    story.join(CREATOR)
    story.wait(29.999999)
    assert story.blocks == 2
    story.wait(MICROSECOND)
    assert story.blocks == 3


def test_blocks_that_only_waited_in_memory_are_not_charged_after_a_crash() -> None:
    story = Story().connect()
    story.storage_goes_away()
    story.wait(75)
    story.crash()
    assert story.blocks == 1
    story.join(FAN)
    story.join(CREATOR)
    story.wait(29.999999)
    assert (story.blocks, story.call.meter.posted) == (1, 1)


def test_a_block_whose_receipt_was_lost_in_a_crash_is_charged_once() -> None:
    story = Story().connect()
    story.storage_goes_away()
    story.wait(31)
    story.crash(committed=True)
    assert story.blocks == 2
    story.join(FAN)
    story.join(CREATOR)
    story.wait(29.999999)
    assert (story.blocks, story.balance(FAN)) == (2, 10_000 - 60)


def test_a_party_that_is_absent_for_a_minute_after_the_restart_ends_the_call() -> None:
    story = Story().connect()
    story.crash(down_seconds=1000)
    story.join(FAN)
    story.wait(59.999999)
    assert story.status == "paused"
    story.wait(MICROSECOND)
    assert (story.end_reason, story.blocks) == ("peer_lost", 1)


def test_a_pause_by_hand_stands_through_a_restart_with_its_limit() -> None:
    story = Story().connect()
    story.wait(10)
    story.act(CREATOR, c.CallPause)
    story.wait(100)
    story.drain(down_seconds=50)
    story.join(FAN)
    story.join(CREATOR)
    assert story.holds == {"creator"}
    story.wait(449.999999)
    assert story.status == "paused"
    story.wait(MICROSECOND)
    assert story.end_reason == "pause_limit"


def test_a_resume_by_hand_does_not_lift_the_hold_of_a_restart() -> None:
    story = Story().connect()
    story.act(FAN, c.CallPause)
    story.drain()
    story.act(FAN, c.CallResume)
    assert story.holds == {"restart"}


def test_an_absence_after_a_restart_becomes_a_hold_of_its_own() -> None:
    story = Story().connect()
    story.drain()
    story.wait(10)
    assert story.holds == {"restart", "absent:fan", "absent:creator"}
    story.join(CREATOR)
    assert story.holds == {"restart", "absent:fan"}
    story.join(FAN)
    assert story.status == "active"


def test_a_call_that_rings_rings_on_after_a_restart() -> None:
    story = Story()
    story.wait(10)
    story.drain(down_seconds=10)
    assert story.status == "ringing"
    story.wait(9.999999)
    assert story.status == "ringing"
    story.wait(MICROSECOND)
    assert (story.end_reason, story.blocks) == ("missed", 0)


def test_a_call_whose_ringing_ended_while_the_server_was_down_is_missed() -> None:
    story = Story()
    story.crash(down_seconds=100)
    assert code(story.act(CREATOR, c.CallAccept)) == "CALL_ENDED"
    assert story.end_reason == "missed"


def test_an_accepted_call_gives_both_their_time_to_join_anew_after_a_restart() -> None:
    story = Story()
    story.act(CREATOR, c.CallAccept)
    story.wait(15)
    story.drain(down_seconds=100)
    story.join(FAN)
    story.wait(19)
    story.join(CREATOR)
    assert (story.status, story.blocks) == ("active", 1)


def test_a_paid_block_proves_that_the_call_began_though_its_record_is_older() -> None:
    story = Story().connect()
    story.committer.stored = type(story.committer.stored)()  # as it was while ringing
    story.wait(10)
    story.crash()
    assert (story.status, story.holds) == ("paused", {"restart"})
    story.wait(45)
    story.join(FAN)
    story.join(CREATOR)
    assert story.kinds()[-1] == "call:resumed"
    story.wait(29.999999)
    assert story.blocks == 1


def test_a_restarted_room_numbers_its_events_anew_in_its_new_epoch() -> None:
    story = Story().connect()
    story.drain()
    story.done.clear()
    welcome = story.join(FAN)
    assert isinstance(welcome, m.RoomJoined)
    assert (welcome.epoch, welcome.seq) == (2, 1)


def test_the_start_is_not_published_twice() -> None:
    story = Story().connect()
    story.crash()
    story.join(FAN)
    story.join(CREATOR)
    story.wait(60)
    assert story.kinds().count("call:started") == 1


def test_a_fan_who_ran_low_is_warned_again_after_a_restart() -> None:
    story = Story(balance=59).connect()
    story.wait(10)
    story.drain(down_seconds=5)
    story.done.clear()
    story.join(FAN)
    story.join(CREATOR)
    lows = [event for event in story.received(FAN) if isinstance(event, m.BalanceLow)]
    assert [low.ends_at is None for low in lows] == [True, False]


def test_a_drain_withdraws_postings_that_were_not_sent_to_the_ledger() -> None:
    story = Story().connect()
    story.storage_goes_away()
    story.wait(65)  # block 2 is in flight, block 3 waits
    story.give(inputs.Drain())
    assert not story.call.settled
    story.storage_comes_back()
    assert story.call.settled
    assert (story.blocks, story.committer.stored.status, story.committer.stored.active) == (2, "active", 60_000_000)


def test_a_block_refused_while_draining_leaves_the_end_to_the_next_server() -> None:
    story = Story(balance=30).connect()
    story.storage_goes_away()
    story.wait(65)
    story.give(inputs.Drain())
    story.storage_comes_back()
    assert (story.call.settled, story.end_reason) == (True, None)
    story.crash()
    story.join(FAN)
    story.join(CREATOR)
    assert (story.end_reason, story.blocks) == ("insufficient_funds", 1)


def test_a_draining_call_refuses_commands_and_publishes_no_end() -> None:
    story = Story().connect()
    story.storage_goes_away()
    story.give(inputs.Drain())
    assert code(story.act(FAN, c.CallEnd)) == "DRAINING"
    story.wait(500)
    story.storage_comes_back()
    assert "call:ended" not in story.kinds()
    assert isinstance(story.done[-1], effects.Close)


def test_no_time_passes_while_draining() -> None:
    story = Story().connect()
    story.storage_goes_away()
    story.wait(35)
    story.give(inputs.Drain())
    story.wait(20)
    story.storage_comes_back()
    assert (story.blocks, story.committer.stored.active) == (2, 35_000_000)
