"""Call setup, from the first ring until both parties have joined: it is free."""

import pytest

from domain.billing.posting import Posting
from domain.protocol import commands as c
from domain.room import effects, inputs
from tests.domain.call_committer import CALL
from tests.domain.story import CREATOR, FAN, STRANGER, Story, code


def received_types(story: Story, user_id: object) -> list[str]:
    sent = [effect for effect in story.done if isinstance(effect, effects.Send) and effect.user_id == user_id]
    return [str(effect.event.__struct_config__.tag) for effect in sent]


def test_a_call_nobody_answers_is_missed_after_thirty_seconds_and_costs_nothing() -> None:
    story = Story()
    story.join(FAN)
    story.wait(29.999999)
    assert story.status == "ringing"
    story.wait(0.000001)
    assert (story.status, story.end_reason, story.blocks) == ("ended", "missed", 0)
    assert received_types(story, FAN) == received_types(story, CREATOR) == ["call:missed"]
    assert story.call.settled


def test_the_creator_declines() -> None:
    story = Story()
    story.act(CREATOR, c.CallDecline)
    assert (story.end_reason, story.blocks) == ("declined", 0)
    assert received_types(story, FAN) == ["call:declined"]


def test_the_fan_cancels() -> None:
    story = Story()
    story.act(FAN, c.CallCancel)
    assert (story.end_reason, story.blocks) == ("cancelled", 0)
    assert received_types(story, CREATOR) == ["call:cancelled"]


@pytest.mark.parametrize(("who", "reason"), [(FAN, "cancelled"), (CREATOR, "declined")])
def test_ending_a_call_that_rings_is_a_cancel_or_a_decline(who: object, reason: str) -> None:
    story = Story()
    story.act(FAN if who == FAN else CREATOR, c.CallEnd)
    assert story.end_reason == reason


def test_pausing_a_call_that_rings_or_waits_for_both_is_refused() -> None:
    story = Story()
    assert code(story.act(FAN, c.CallPause)) == "CALL_NOT_ACTIVE"
    assert code(story.act(FAN, c.CallResume)) == "CALL_NOT_ACTIVE"
    story.act(CREATOR, c.CallAccept)
    assert code(story.act(CREATOR, c.CallPause)) == "CALL_NOT_ACTIVE"


def test_only_the_creator_accepts_and_declines_and_only_the_fan_cancels() -> None:
    story = Story()
    assert code(story.act(FAN, c.CallAccept)) == "FORBIDDEN"
    assert code(story.act(FAN, c.CallDecline)) == "FORBIDDEN"
    assert code(story.act(CREATOR, c.CallCancel)) == "FORBIDDEN"
    assert story.status == "ringing"


def test_a_stranger_finds_no_call_and_no_room() -> None:
    story = Story()
    for command in (c.CallAccept, c.CallDecline, c.CallCancel, c.CallPause, c.CallResume, c.CallEnd):
        assert code(story.act(STRANGER, command)) == "NOT_FOUND"
    assert code(story.join(STRANGER)) == "NOT_FOUND"
    assert story.published() == []


def test_accepting_is_sent_to_both_and_nothing_is_charged_until_both_join() -> None:
    story = Story()
    story.act(CREATOR, c.CallAccept)
    story.join(CREATOR)
    assert received_types(story, FAN) == received_types(story, CREATOR) == ["call:accepted"]
    assert (story.status, story.call.setup.started_at, story.blocks) == ("active", None, 0)
    story.wait(19)
    story.join(FAN)
    assert story.call.setup.started_at == story.now
    assert story.blocks == 1


def test_accepting_twice_is_refused_and_moves_no_deadline() -> None:
    story = Story()
    story.act(CREATOR, c.CallAccept)
    story.wait(10)
    assert code(story.act(CREATOR, c.CallAccept)) == "CALL_NOT_ACTIVE"
    story.wait(10)
    assert story.end_reason == "peer_lost"


def test_an_accepted_call_can_be_neither_declined_nor_cancelled_but_ended() -> None:
    story = Story()
    story.act(CREATOR, c.CallAccept)
    assert code(story.act(CREATOR, c.CallDecline)) == "CALL_NOT_ACTIVE"
    assert code(story.act(FAN, c.CallCancel)) == "CALL_NOT_ACTIVE"
    story.act(FAN, c.CallEnd)
    assert (story.end_reason, story.blocks) == ("hangup", 0)


@pytest.mark.parametrize("present", [(), (FAN,), (CREATOR,)])
def test_a_call_ends_if_a_party_does_not_join_within_twenty_seconds_of_the_accept(present: tuple[object, ...]) -> None:
    story = Story()
    for who in present:
        story.join(FAN if who == FAN else CREATOR)
    story.act(CREATOR, c.CallAccept)
    story.wait(19.999999)
    assert story.status == "active"
    story.wait(0.000001)
    assert (story.end_reason, story.blocks, story.balance(FAN)) == ("peer_lost", 0, 10_000)


def test_both_may_join_while_it_rings_and_the_accept_starts_the_clock() -> None:
    story = Story()
    story.join(FAN)
    story.join(CREATOR)
    story.wait(12)
    assert (story.status, story.blocks) == ("ringing", 0)
    story.act(CREATOR, c.CallAccept)
    assert story.call.setup.started_at == story.now
    assert story.blocks == 1


def test_both_must_be_here_at_the_same_time() -> None:
    story = Story()
    story.act(CREATOR, c.CallAccept)
    story.join(FAN)
    story.leave(FAN)
    story.join(CREATOR)
    assert story.blocks == 0
    story.join(FAN)
    assert story.blocks == 1


def test_an_accept_as_the_ringing_ends_comes_too_late_and_one_before_it_does_not() -> None:
    in_time, too_late = Story(), Story()
    in_time.wait(29.999999)
    in_time.act(CREATOR, c.CallAccept)
    assert in_time.status == "active"
    too_late.now += 30_000_000
    assert code(too_late.act(CREATOR, c.CallAccept)) == "CALL_ENDED"
    assert too_late.end_reason == "missed"


def test_ringing_for_ever_is_free_and_impossible() -> None:
    story = Story()
    for _ in range(40):
        story.act(FAN, c.CallPause)
        story.join(FAN)
        story.leave(FAN)
        story.wait(1)
    assert (story.end_reason, story.balance(FAN)) == ("missed", 10_000)


def test_no_posting_is_made_for_a_call_that_never_began() -> None:
    story = Story()
    story.join(FAN)
    story.join(CREATOR)
    story.wait(40)
    assert not [effect for effect in story.done if isinstance(effect, effects.Post)]


def test_an_operator_may_end_a_call_that_rings() -> None:
    story = Story()
    story.give(inputs.EndNow("admin"))
    assert (story.end_reason, story.blocks) == ("admin", 0)


def test_the_answer_to_a_command_is_the_call() -> None:
    story = Story()
    answer = story.act(CREATOR, c.CallAccept)
    assert answer["call"]["id"] == str(CALL)
    assert answer["call"]["acceptedAt"] == "2027-01-15T08:00:00.000Z"
    assert answer["call"]["startedAt"] is None


def test_the_invitation_reaches_all_sessions_of_both_parties() -> None:
    story = Story()
    invitations = story.call.events.ringing()
    assert [effect.user_id for effect in invitations if isinstance(effect, effects.Send)] == [FAN, CREATOR]


def test_postings_name_the_fan_as_payer_and_the_creator_as_payee() -> None:
    story = Story().connect()
    [posting] = [effect.posting for effect in story.done if isinstance(effect, effects.Post)]
    assert isinstance(posting, Posting)
    assert (posting.debit, posting.credit) == (FAN, CREATOR)
