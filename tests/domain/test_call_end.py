"""The end of a call: once, with every receipt in, and sent to both parties."""

import pytest

from domain.billing.meter import LedgerDisagrees
from domain.billing.posting import Outcome, Receipt
from domain.ids import UserId
from domain.protocol import commands as c
from domain.protocol import events as m
from domain.room import effects, inputs
from tests.domain.story import CREATOR, FAN, STRANGER, Story, code, device


@pytest.mark.parametrize(("who", "reason"), [(FAN, "hangup"), (CREATOR, "creator_ended")])
def test_either_party_ends_the_call(who: object, reason: str) -> None:
    story = Story().connect()
    story.wait(45)
    story.act(FAN if who == FAN else CREATOR, c.CallEnd)
    assert (story.end_reason, story.blocks, story.call.settled) == (reason, 2, True)
    ended = story.published()[-1]
    assert isinstance(ended, m.CallEnded)
    assert (ended.reason, ended.blocks, ended.tokens, ended.active_seconds) == (reason, 2, 60, 45.0)
    assert isinstance(story.done[-1], effects.Close)


def test_a_partys_silent_connection_gives_its_place_to_a_new_one() -> None:
    """Dead connections of a user never keep the same user out of a call."""
    story = Story().connect()
    for number in range(2, story.call.rules.connections_per_party + 1):
        story.join(FAN, number)
    assert code(story.join(FAN, 20)) == "OVERLOADED"
    story.fall_silent(FAN, 3)
    assert isinstance(story.join(FAN, 20), m.RoomJoined)
    assert [effect.member_id for effect in story.done if isinstance(effect, effects.Disconnect)] == [device(FAN, 3)]
    assert (story.status, story.holds) == ("active", set())


@pytest.mark.parametrize(("blocked", "reason"), [(FAN, "creator_ended"), (CREATOR, "hangup")])
def test_a_party_that_blocks_the_other_ends_the_call(blocked: UserId, reason: str) -> None:
    story = Story().connect()
    story.give(inputs.UserBlocked(STRANGER))
    story.give(inputs.UserBlocked(blocked, blocked=False))
    assert story.status != "ended"
    story.give(inputs.UserBlocked(blocked))
    assert (story.end_reason, story.call.settled) == (reason, True)


@pytest.mark.parametrize(("blocked", "reason"), [(FAN, "declined"), (CREATOR, "cancelled")])
def test_a_party_that_blocks_the_other_while_it_rings_declines_or_cancels(blocked: UserId, reason: str) -> None:
    story = Story()
    story.give(inputs.UserBlocked(blocked))
    assert (story.end_reason, story.blocks) == (reason, 0)


def test_an_operator_or_the_server_ends_the_call() -> None:
    for reason in ("admin", "server_fault"):
        story = Story().connect()
        story.give(inputs.EndNow(reason))
        assert (story.end_reason, story.call.settled) == (reason, True)


def test_sessions_outside_of_the_room_receive_the_end_and_members_only_once() -> None:
    story = Story().connect()
    story.join(FAN, 2)
    story.leave(FAN, 2)
    story.wait(45)
    story.act(FAN, c.CallEnd)
    received = [effect for effect in story.done if isinstance(effect, effects.Send)]
    outside = [(effect, effect.event) for effect in received if isinstance(effect.event, m.CallEndedOutside)]
    assert {effect.user_id for effect, _ in outside} == {FAN, CREATOR}
    assert {effect.but for effect, _ in outside} == {frozenset({device(FAN), device(CREATOR)})}
    assert {(event.reason, event.blocks, event.tokens, event.active_seconds) for _, event in outside} == {
        ("hangup", 2, 60, 45.0)
    }


def test_ending_twice_returns_the_call_and_changes_nothing() -> None:
    story = Story().connect()
    story.commit_seconds = 3
    story.act(FAN, c.CallEnd)
    story.wait(1)
    answer = story.act(CREATOR, c.CallEnd)
    assert answer["call"]["endReason"] == "hangup"
    story.wait(10)
    assert story.kinds().count("call:ended") == 1
    assert sum(isinstance(effect, effects.Close) for effect in story.done) == 1


def test_an_ended_call_refuses_every_command_but_an_end() -> None:
    story = Story().connect()
    story.storage_goes_away()
    story.act(FAN, c.CallEnd)
    for command in (c.CallAccept, c.CallDecline, c.CallCancel, c.CallPause, c.CallResume):
        assert code(story.act(CREATOR, command)) == "CALL_ENDED"
    assert code(story.act(STRANGER, c.CallEnd)) == "NOT_FOUND"
    assert code(story.join(FAN, 2)) == "CALL_ENDED"


def test_the_end_is_published_only_after_it_is_stored() -> None:
    story = Story().connect()
    story.storage_goes_away()
    story.act(FAN, c.CallEnd)
    assert "call:ended" not in story.kinds()
    story.storage_comes_back()
    assert story.kinds()[-1] == "call:ended"
    assert story.committer.stored.status == "ended"


def test_a_record_from_before_the_end_that_is_stored_late_is_not_the_end() -> None:
    story = Story().connect()
    story.commit_seconds = 5
    story.act(FAN, c.CallPause)
    story.wait(1)
    story.act(FAN, c.CallEnd)
    story.wait(4)
    assert (story.committer.stored.status, story.call.settled) == ("paused", False)
    assert "call:ended" not in story.kinds()
    story.wait(5)
    assert story.call.settled


def test_no_time_is_counted_while_the_end_waits_to_be_stored() -> None:
    story = Story().connect()
    story.wait(28)
    story.commit_seconds = 7
    story.wait(4)
    story.act(FAN, c.CallEnd)
    story.wait(20)
    ended = story.published()[-1]
    assert isinstance(ended, m.CallEnded)
    assert (ended.blocks, ended.active_seconds) == (2, 32.0)


def test_leaving_after_the_end_publishes_nothing() -> None:
    story = Story().connect()
    story.act(FAN, c.CallEnd)
    story.leave(FAN)
    story.leave(CREATOR)
    assert story.kinds()[-1] == "call:ended"


def test_an_ended_call_holds_nothing_and_charges_nothing_more() -> None:
    story = Story().connect()
    story.act(CREATOR, c.CallPause)
    story.act(FAN, c.CallEnd)
    assert story.committer.stored.holds == ()
    story.wait(1000)
    assert story.blocks == 1


def test_blocks_that_fell_due_before_the_end_are_charged_though_storage_was_away() -> None:
    story = Story().connect()
    story.storage_goes_away()
    story.wait(65)
    story.act(FAN, c.CallEnd)
    assert not story.call.settled
    story.wait(500)
    story.storage_comes_back()
    assert (story.call.settled, story.blocks, story.end_reason) == (True, 3, "hangup")


def test_the_figures_of_the_end_count_what_was_paid_alone() -> None:
    story = Story(balance=30).connect()
    story.commit_seconds = 8
    story.wait(38)
    ended = story.published()[-1]
    assert isinstance(ended, m.CallEnded) or not story.call.settled
    story.wait(20)
    ended = story.published()[-1]
    assert isinstance(ended, m.CallEnded)
    assert (ended.reason, ended.blocks, ended.tokens, ended.active_seconds) == ("insufficient_funds", 1, 30, 30.0)


def test_a_fenced_posting_closes_once_and_nothing_more_is_published() -> None:
    story = Story().connect()
    story.storage_goes_away()
    story.wait(61)
    story.ledger.claim(story.facts.id)
    received = len(story.published())
    story.storage_comes_back()
    assert story.call.settled
    assert len(story.published()) == received
    assert isinstance(story.done[-1], effects.Close)
    assert sum(isinstance(effect, effects.Close) for effect in story.done) == 1
    assert story.committer.stored.status == "active"


def test_a_fenced_record_closes_the_room() -> None:
    story = Story().connect()
    story.ledger.claim(story.facts.id)
    story.act(FAN, c.CallPause)
    assert story.call.settled
    assert story.end_reason is None
    assert story.done[-1] == effects.Close(moved=True), "its members are asked to join again"


def test_a_fenced_room_saves_nothing_and_answers_waiting_requests() -> None:
    story = Story().connect()
    story.commit_seconds = 1
    story.wait(30)
    reply = story.sweep()
    saves = sum(isinstance(effect, effects.Save) for effect in story.done)
    story.give(inputs.Fenced())
    assert reply.answer is not None
    assert sum(isinstance(effect, effects.Save) for effect in story.done) == saves


def test_an_impossible_receipt_makes_the_room_start_again() -> None:
    story = Story().connect()
    story.storage_goes_away()
    story.wait(31)
    [*_, posting] = [effect.posting for effect in story.done if isinstance(effect, effects.Post)]
    with pytest.raises(LedgerDisagrees, match="block 2"):
        story.give(inputs.Receipts((Receipt(posting, Outcome.GAP),)))


def test_a_call_that_moved_to_another_server_asks_for_another_try() -> None:
    story = Story().connect()
    story.give(inputs.Fenced())
    for refusal in (story.join(FAN, 2), story.act(FAN, c.CallPause)):
        assert code(refusal) == "ROOM_STARTING"
        assert refusal.details["retryAfterSeconds"] > 0
    assert story.sweep().answer is not None
