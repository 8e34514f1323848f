"""A payee is not paid for their absence, and refunds hardly used blocks when they end a call."""

import pytest

from domain.call.record import CallRules
from domain.ids import UserId
from domain.protocol import commands as c
from domain.protocol import events as m
from domain.room import inputs
from tests.domain.story import CREATOR, FAN, Story

MICROSECOND = 0.000001


def ended(story: Story) -> m.CallEnded:
    event = story.published()[-1]
    assert isinstance(event, m.CallEnded)
    return event


# Absence


def test_a_creator_who_leaves_stops_the_clock_at_once() -> None:
    story = Story().connect()
    story.wait(5)
    story.leave(CREATOR)
    assert (story.status, story.holds) == ("paused", {"absent:creator"})
    story.wait(50)
    story.join(CREATOR)
    story.wait(24.999999)
    assert story.blocks == 1
    story.wait(MICROSECOND)
    assert story.blocks == 2


def test_a_creator_who_is_away_but_for_a_moment_around_each_block_is_paid_for_the_moments_alone() -> None:
    story = Story().connect()
    for _ in range(20):
        story.wait(0.15)
        story.leave(CREATOR)
        story.wait(29.7)
        story.join(CREATOR)
        story.wait(0.15)
    assert story.blocks == 1


def test_time_since_the_last_byte_of_a_silent_creator_is_not_billed() -> None:
    story = Story().connect()
    story.wait(15)
    story.fall_silent(CREATOR, for_seconds=10)
    story.wait(30)
    story.be_responsive(CREATOR)
    story.wait(24.999999)
    assert story.blocks == 1
    story.wait(MICROSECOND)
    assert story.blocks == 2


def test_a_block_that_fell_due_in_the_creators_silence_pays_for_time_after_the_return() -> None:
    story = Story().connect()
    story.wait(36)
    story.fall_silent(CREATOR, for_seconds=10)
    assert story.blocks == 2
    story.wait(5)
    story.be_responsive(CREATOR)
    story.wait(33.999999)
    assert story.blocks == 2
    story.wait(MICROSECOND)
    assert story.blocks == 3


def test_time_that_was_taken_back_is_not_billed_after_a_crash() -> None:
    story = Story().connect()
    story.wait(36)
    story.fall_silent(CREATOR, for_seconds=10)
    story.crash(down_seconds=5)
    story.join(CREATOR)
    story.join(FAN)
    story.wait(33.999999)
    assert story.blocks == 2
    story.wait(MICROSECOND)
    assert story.blocks == 3


def test_a_creator_with_a_second_connection_is_not_away() -> None:
    story = Story().connect()
    story.join(CREATOR, 2)
    story.wait(15)
    story.fall_silent(CREATOR, 1, for_seconds=10)
    story.wait(15)
    assert (story.status, story.blocks) == ("active", 2)
    story.fall_silent(CREATOR, 2, for_seconds=3)
    story.be_responsive(CREATOR, 2)
    story.wait(32.999999)
    assert story.blocks == 2
    story.wait(MICROSECOND)
    assert story.blocks == 3


def test_a_silence_that_began_before_the_call_did_costs_nothing_of_it() -> None:
    story = Story().connect()
    story.fall_silent(CREATOR, for_seconds=10)
    assert (story.status, story.holds) == ("paused", {"absent:creator"})
    story.be_responsive(CREATOR)
    story.wait(30)
    assert story.blocks == 2


def test_a_pause_in_the_creators_silence_is_not_taken_back_twice() -> None:
    story = Story().connect()
    story.wait(8)
    story.act(FAN, c.CallPause)
    story.wait(4)
    story.act(FAN, c.CallResume)
    story.wait(3)
    story.fall_silent(CREATOR, for_seconds=10)  # three seconds before the pause, and three after it
    story.be_responsive(CREATOR)
    story.wait(24.999999)
    assert story.blocks == 1
    story.wait(MICROSECOND)
    assert story.blocks == 2


# The end


@pytest.mark.parametrize(("seconds", "blocks", "tokens"), [(0, 1, 0), (9.999999, 1, 0), (10, 1, 30), (30.005, 2, 30)])
def test_a_creator_who_ends_gives_back_a_block_of_which_less_than_ten_seconds_were_used(
    seconds: float, blocks: int, tokens: int
) -> None:
    story = Story(balance=100).connect()
    story.wait(seconds)
    story.act(CREATOR, c.CallEnd)
    assert story.end_reason == "creator_ended"
    assert (ended(story).blocks, ended(story).tokens) == (blocks, tokens)
    assert story.balance(FAN) == 100 - tokens
    assert story.balance(CREATOR) == tokens
    assert story.call.settled


def test_the_totals_of_the_view_are_net_and_say_what_was_given_back() -> None:
    story = Story().connect()
    story.wait(31)
    story.act(CREATOR, c.CallEnd)
    view = story.call.view(story.now)
    assert (view.blocks, view.tokens) == (2, 30)
    assert (view.refunded_blocks, view.refunded_tokens) == (1, 30)


def test_a_fan_who_hangs_up_gets_nothing_back() -> None:
    story = Story().connect()
    story.act(FAN, c.CallEnd)
    assert (ended(story).blocks, story.balance(CREATOR)) == (1, 30)


def test_a_creator_who_blocks_the_fan_ends_the_call() -> None:
    story = Story().connect()
    story.give(inputs.UserBlocked(FAN))
    assert (story.end_reason, ended(story).tokens) == ("creator_ended", 0)


def test_a_fan_who_blocks_the_creator_hangs_up() -> None:
    story = Story().connect()
    story.give(inputs.UserBlocked(CREATOR))
    assert (story.end_reason, ended(story).tokens) == ("hangup", 30)


@pytest.mark.parametrize(("who", "tokens"), [(CREATOR, 0), (FAN, 30)])
def test_a_party_that_does_not_come_back_has_ended_the_call(who: UserId, tokens: int) -> None:
    story = Story().connect()
    story.leave(who)
    story.wait(60)
    assert (story.end_reason, ended(story).tokens) == ("peer_lost", 0 if who == CREATOR else tokens)


@pytest.mark.parametrize(("who", "tokens"), [(CREATOR, 0), (FAN, 30)])
def test_a_party_that_pauses_for_too_long_has_ended_the_call(who: UserId, tokens: int) -> None:
    story = Story().connect()
    story.wait(1)
    story.act(who, c.CallPause)
    story.wait(600)
    assert (story.end_reason, ended(story).tokens) == ("pause_limit", tokens)


def test_a_block_that_fell_due_during_the_creators_absence_is_refunded_at_any_end() -> None:
    story = Story().connect()
    story.wait(36)
    story.fall_silent(CREATOR, for_seconds=10)
    story.act(FAN, c.CallEnd)
    assert (ended(story).blocks, ended(story).tokens) == (2, 30)
    assert story.balance(CREATOR) == 30


def test_several_short_blocks_that_fell_due_while_the_creator_was_away_are_given_back() -> None:
    story = Story(rules=CallRules(block_seconds=3)).connect()
    story.wait(13)
    story.fall_silent(CREATOR, for_seconds=10)
    assert story.blocks == 5
    story.act(FAN, c.CallEnd)
    assert ended(story).tokens == 6  # the second started at three seconds, with the creator's last byte
    assert story.balance(CREATOR) == 6


def test_a_block_that_is_refused_after_the_end_is_not_given_back() -> None:
    story = Story(balance=30).connect()
    story.wait(29.9)
    story.commit_seconds = 1
    story.wait(0.2)
    story.act(CREATOR, c.CallEnd)
    story.wait(2)
    assert (ended(story).blocks, ended(story).tokens) == (1, 30)
    assert story.balance(CREATOR) == 30


def test_a_block_whose_receipt_comes_after_the_end_is_given_back() -> None:
    story = Story(balance=100).connect()
    story.wait(29.9)
    story.commit_seconds = 1
    story.wait(0.2)
    story.act(CREATOR, c.CallEnd)
    story.wait(5)
    assert (ended(story).blocks, ended(story).tokens) == (2, 30)
    assert story.balance(FAN) == 70


def test_a_payee_who_cannot_refund_receives_what_was_paid() -> None:
    story = Story(balance=100).connect()
    story.spend_of_creator(30)
    story.act(CREATOR, c.CallEnd)
    assert (ended(story).blocks, ended(story).tokens) == (1, 30)
    assert story.committer.stored.given_back, "the record holds the refund, which is tried again"


# Pauses


def test_pauses_of_one_party_add_up_to_the_limit() -> None:
    story = Story().connect()
    for _ in range(2):
        story.act(CREATOR, c.CallPause)
        story.wait(299)
        story.act(CREATOR, c.CallResume)
        story.wait(1)
    story.act(CREATOR, c.CallPause)
    story.wait(1.999999)
    assert story.status == "paused"
    story.wait(MICROSECOND)
    assert story.end_reason == "pause_limit"


def test_a_pause_with_nothing_left_of_the_limit_ends_the_call_at_once() -> None:
    story = Story(rules=CallRules(pause_limit_seconds=0)).connect()
    story.act(FAN, c.CallPause)
    assert story.end_reason == "pause_limit"


def test_a_restart_forgets_no_pause() -> None:
    story = Story().connect()
    story.act(FAN, c.CallPause)
    story.wait(500)
    story.act(FAN, c.CallResume)
    story.crash(down_seconds=5)
    story.join(CREATOR)
    story.join(FAN)
    story.act(FAN, c.CallPause)
    story.wait(99.999999)
    assert story.status == "paused"
    story.wait(MICROSECOND)
    assert story.end_reason == "pause_limit"
