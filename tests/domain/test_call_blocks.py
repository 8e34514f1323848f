"""Blocks: thirty seconds of active time, each charged once, at its start."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.billing.block import Rounding
from domain.instant import rfc3339
from domain.protocol import commands as c
from domain.protocol import events as m
from domain.room import effects
from tests.domain.call_committer import CALL
from tests.domain.story import CREATOR, FAN, START, STRANGER, Story, code, device

MICROSECOND = 0.000001


def charged(story: Story) -> list[m.CallBlockCharged]:
    return [event for event in story.published() if isinstance(event, m.CallBlockCharged)]


def test_block_one_is_charged_at_the_start_and_one_more_every_thirty_seconds() -> None:
    story = Story().connect()
    assert story.blocks == 1
    story.wait(29.999999)
    assert story.blocks == 1
    story.wait(MICROSECOND)
    assert story.blocks == 2
    story.wait(90)
    assert story.blocks == 5
    assert (story.balance(FAN), story.balance(CREATOR)) == (10_000 - 150, 150)


def test_a_charged_block_is_published_with_the_time_of_the_next_one() -> None:
    story = Story().connect()
    story.wait(30)
    second = charged(story)[1]
    assert (second.block_no, second.tokens) == (2, 30)
    assert second.at == rfc3339(START + 30_000_000)
    assert second.paid_through == second.next_at == rfc3339(START + 60_000_000)


def test_the_call_has_started_once_block_one_is_paid_and_not_before() -> None:
    story = Story()
    story.storage_goes_away()
    story.connect()
    assert "call:started" not in story.kinds()
    story.storage_comes_back()
    assert story.kinds()[-2:] == ["call:started", "block:charged"]


def test_each_party_receives_the_change_of_its_own_wallet_only() -> None:
    story = Story().connect()
    [spent] = [event for event in story.received(FAN) if isinstance(event, m.WalletChanged)]
    [earned] = [event for event in story.received(CREATOR) if isinstance(event, m.WalletChanged)]
    assert (spent.balance, spent.tokens, spent.cause) == (9_970, -30, "block")
    assert spent.seconds_left == (1 + 9_970 // 30) * 30
    assert (earned.balance, earned.tokens, earned.earned) == (30, 30, 30)


def test_a_late_wake_up_delays_no_block() -> None:
    story = Story().connect()
    story.oversleep(37)
    story.wait(22.999999)
    assert story.blocks == 2
    story.wait(MICROSECOND)
    assert story.blocks == 3


def test_receipts_that_take_five_seconds_do_not_shift_the_blocks() -> None:
    story = Story()
    story.act(CREATOR, c.CallAccept)
    story.join(CREATOR)
    story.commit_seconds = 5
    story.join(FAN)
    story.wait(100)
    posted = [effect.posting.block_no for effect in story.done if isinstance(effect, effects.Post)]
    assert posted == [1, 2, 3, 4]
    assert [event.at for event in charged(story)] == [rfc3339(START + s * 1_000_000) for s in (5, 35, 65, 95)]
    assert [event.next_at for event in charged(story)] == [rfc3339(START + s * 1_000_000) for s in (30, 60, 90, 120)]


def test_a_command_just_before_a_block_is_due_comes_before_the_block() -> None:
    story = Story().connect()
    story.wait(29.999999)
    story.act(FAN, c.CallEnd)
    story.wait(60)
    assert story.blocks == 1


def test_a_command_as_a_block_falls_due_comes_after_the_block() -> None:
    story = Story().connect()
    story.now += 30_000_000
    story.act(FAN, c.CallEnd)
    assert (story.blocks, story.end_reason) == (2, "hangup")


def test_a_pause_as_a_block_falls_due_keeps_all_of_the_block_that_was_paid() -> None:
    story = Story().connect()
    story.now += 30_000_000
    story.act(FAN, c.CallPause)
    assert story.blocks == 2
    story.wait(100)
    story.act(FAN, c.CallResume)
    story.wait(29.999999)
    assert story.blocks == 2
    story.wait(MICROSECOND)
    assert story.blocks == 3


def test_a_leave_as_a_block_falls_due_comes_after_the_block_and_one_just_before_it_does_not() -> None:
    at_due, before_due = Story().connect(), Story().connect()
    at_due.now += 30_000_000
    at_due.leave(FAN)
    assert at_due.blocks == 2
    before_due.wait(29.999999)
    before_due.leave(FAN)
    before_due.wait(30)
    assert before_due.blocks == 1


def test_an_end_as_a_block_falls_due_while_storage_is_slow_still_charges_the_block() -> None:
    story = Story().connect()
    story.commit_seconds = 40
    story.wait(60)  # block 2 is in flight, block 3 waits behind it
    story.act(FAN, c.CallEnd)
    story.wait(100)
    assert (story.call.settled, story.end_reason, story.blocks) == (True, "hangup", 3)


def test_a_block_found_booked_already_counts_like_any_other() -> None:
    story = Story()
    story.storage_goes_away()
    story.connect()
    [posting] = [effect.posting for effect in story.done if isinstance(effect, effects.Post)]
    story.ledger.apply([posting])  # the connection broke after the commit: it is sent again under its key
    story.storage_comes_back()
    assert (story.blocks, story.balance(FAN), len(charged(story))) == (1, 9_970, 1)


def test_a_free_block_is_booked_with_no_tokens() -> None:
    story = Story(rate=1, rounding="exact", balance=1).connect()
    story.wait(30)
    assert (story.blocks, story.balance(FAN)) == (2, 0)
    assert [event.tokens for event in charged(story)] == [1, 0]


def test_sequence_numbers_have_no_holes() -> None:
    story = Story().connect()
    story.join(STRANGER)
    story.join(FAN, 2)
    story.act(CREATOR, c.CallPause)
    story.act(CREATOR, c.CallResume)
    story.wait(65)
    story.leave(FAN, 2)
    story.act(CREATOR, c.CallEnd)
    assert [event.seq for event in story.published()] == list(range(1, len(story.published()) + 1))


def test_a_join_is_answered_with_the_present_state() -> None:
    story = Story().connect()
    story.wait(10)
    welcome = story.join(FAN, 2)
    assert isinstance(welcome, m.RoomJoined)
    assert welcome.member_id == device(FAN, 2)
    assert len(welcome.members) == 3
    assert welcome.seq == story.published()[-1].seq
    assert welcome.you == {
        "role": "fan",
        "paidThrough": rfc3339(START + 30_000_000),
        "balance": 9_970,
        "secondsLeft": 20.0 + 9_970 // 30 * 30,
    }


def test_the_creator_does_not_receive_how_long_the_fans_tokens_last() -> None:
    story = Story().connect()
    welcome = story.join(CREATOR, 2)
    assert isinstance(welcome, m.RoomJoined)
    assert welcome.you.keys() == {"role", "paidThrough"}


def test_a_call_takes_only_so_many_connections_of_one_party_and_has_room_for_the_other() -> None:
    story = Story()
    answers = [story.join(FAN, number) for number in range(1, 20)]
    assert [code(answer) for answer in answers].count("OVERLOADED") == 11
    assert code(story.join(CREATOR)) is None


def test_a_connection_that_joins_again_is_welcomed_again_and_counted_once() -> None:
    story = Story().connect()
    welcome = story.join(FAN)
    assert isinstance(welcome, m.RoomJoined)
    assert len(welcome.members) == 2
    assert story.kinds().count("member:joined") == 2


def test_a_sweep_answers_once_every_due_block_has_its_receipt() -> None:
    story = Story().connect()
    story.commit_seconds = 2
    story.now += 30_000_000
    reply = story.sweep()
    assert reply.answer is None
    story.wait(2)
    assert reply.answer == {
        "callId": str(CALL),
        "success": True,
        "metered": 1,
        "platformFee": 0,
        "blockCost": 30,
        "creatorCut": 30,
    }


def test_a_sweep_of_a_call_that_is_current_meters_nothing() -> None:
    story = Story().connect()
    answer = story.sweep().answer
    assert (answer["success"], answer["metered"], story.blocks) == (True, 0, 1)


def test_two_sweeps_at_once_charge_nothing_twice_and_only_the_first_says_that_it_did() -> None:
    story = Story().connect()
    story.commit_seconds = 1
    story.now += 30_000_000
    first, second = story.sweep(), story.sweep()
    story.wait(1)
    assert (first.answer["metered"], second.answer["metered"], story.blocks) == (1, 0, 2)


def test_a_sweep_that_finds_the_fan_out_of_tokens_says_that_the_call_ended() -> None:
    story = Story(balance=30).connect()
    story.now += 30_000_000
    assert story.sweep().answer == {
        "callId": str(CALL),
        "success": False,
        "metered": 0,
        "platformFee": 0,
        "reason": "insufficient_funds",
        "callEnded": True,
    }


@pytest.mark.parametrize("rounding", ["up", "exact"])
def test_an_hour_costs_its_blocks(rounding: Rounding) -> None:
    story = Story(rate=61, rounding=rounding).connect()
    story.wait(3600 - MICROSECOND)
    assert story.blocks == 120
    assert story.balance(CREATOR) == (120 * 31 if rounding == "up" else 61 * 60)


@given(st.lists(st.integers(1, 45_000_000), max_size=12))
def test_blocks_depend_on_active_time_alone_however_it_is_cut_into_pauses(spans: list[int]) -> None:
    story = Story().connect()
    for span in spans:
        story.wait_until(story.now + span)
        story.act(FAN, c.CallPause)
        story.wait(40)
        story.act(FAN, c.CallResume)
    assert story.blocks == sum(spans) // 30_000_000 + 1
