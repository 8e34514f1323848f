"""Nobody watches a metered stream unbilled: a payer's grace, the owner's viewer events, and absent owners."""

from typing import Any

import pytest

from domain.billing.posting import Kind
from domain.ids import UserId, block_key
from domain.protocol import events as m
from domain.room import effects, inputs
from domain.stream.record import StreamRules
from tests.domain.story import CREATOR, FAN, STRANGER, code, device
from tests.domain.stream_rows import STREAM
from tests.domain.stream_story import OPERATOR, OTHER, StreamStory
from tests.model.rows import Wallet

MICROSECOND = 0.000001


def received_types(story: StreamStory) -> list[tuple[str, UserId]]:
    """Return the type and user of every viewer event to the owner."""
    received = [event for event in story.received(CREATOR) if isinstance(event, m.ViewerChanged)]
    return [(_kind(event), UserId(event.user_id)) for event in received]


def received_by_one(story: StreamStory, number: int = 1) -> list[tuple[str, UserId]]:
    """Return the viewer events sent to one session of the owner only."""
    only = [effect for effect in story.done if isinstance(effect, effects.SendToMember)]
    events = [effect.event for effect in only if effect.member_id == device(CREATOR, number)]
    return [(_kind(event), UserId(event.user_id)) for event in events if isinstance(event, m.ViewerChanged)]


def connect_owner(story: StreamStory, number: int = 1) -> None:
    story.give(inputs.OwnerConnected(device(CREATOR, number)))


def refunds(story: StreamStory) -> list[Any]:
    return [receipt.posting for receipt in story.ledger.journal.values() if receipt.posting.kind is Kind.REFUND]


def _kind(event: Any) -> str:
    return str(event.__struct_config__.tag)


# The payer's grace


def test_the_clock_of_a_payer_who_drops_runs_on_for_the_grace_and_then_stands() -> None:
    story = StreamStory().watch(FAN)
    story.wait(5)
    story.fall_silent(FAN)
    story.wait(60)
    story.be_responsive(FAN)
    story.wait(14.999999)
    assert story.blocks(FAN) == 1
    story.wait(MICROSECOND)
    assert story.blocks(FAN) == 2


def test_a_block_that_falls_due_in_the_grace_is_not_charged_before_its_payer_is_back() -> None:
    story = StreamStory().watch(FAN)
    story.wait(25)
    story.fall_silent(FAN)
    story.wait(60)
    assert (story.blocks(FAN), received_types(story)[-1]) == (1, ("viewer:paused", FAN))
    story.be_responsive(FAN)
    assert story.blocks(FAN) == 2


def test_a_viewer_who_hides_between_resumes_is_billed_for_the_grace_each_time() -> None:
    """Each time they are responsive for 5 ms and silent for 110 s: media could flow until somebody stops them."""
    story = StreamStory().watch(FAN)
    for _ in range(6):
        story.wait(0.005)
        story.fall_silent(FAN)
        story.wait(110)
        story.be_responsive(FAN)
    viewing = story.stream.viewing_sessions.find(FAN)
    assert viewing is not None
    assert viewing.meter.clock.active(story.now) == 60_000_000, "up to 10.005 s each time, and never past a paid block"
    assert story.blocks(FAN) == 3
    assert received_types(story)[1:] == [("viewer:paused", FAN), ("viewer:resumed", FAN)] * 6


def test_a_clean_leave_stops_the_clock_at_once_though_another_connection_has_dropped() -> None:
    story = StreamStory().watch(FAN)
    story.join(FAN, 2)
    story.fall_silent(FAN, 2)
    story.leave(FAN)
    viewing = story.stream.viewing_sessions.find(FAN)
    assert viewing is not None and not viewing.meter.clock.running


def test_a_dropped_payer_whose_session_ends_pays_no_more() -> None:
    story = StreamStory().watch(FAN)
    story.fall_silent(FAN)
    story.wait(3)
    story.leave(FAN)
    story.wait(100)
    assert story.join(FAN).you["secondsLeft"] == 27 + 9_970 // 30 * 30
    assert received_types(story) == [("viewer:joined", FAN), ("viewer:left", FAN), ("viewer:joined", FAN)]


# Viewer events of the owner


@pytest.mark.parametrize("many_viewers", [0, 150])
def test_the_owner_receives_each_viewer_in_a_room_of_any_size(many_viewers: int) -> None:
    story = StreamStory(rules=StreamRules(viewer_events_burst=1000))
    story.watch(OPERATOR)
    others = [UserId(device(STRANGER, 1000 + number)) for number in range(many_viewers)]
    story.ledger.wallets.update((user_id, Wallet(balance=100)) for user_id in others)
    for user_id in others:
        story.join(user_id)
    story.watch(FAN)
    story.fall_silent(FAN)
    story.wait(10)
    story.be_responsive(FAN)
    story.leave(FAN)
    of_fan = [kind for kind, user_id in received_types(story) if user_id == FAN]
    assert of_fan == ["viewer:joined", "viewer:paused", "viewer:resumed", "viewer:left"]
    assert all(user_id != CREATOR for _, user_id in received_types(story))


def test_an_evicted_viewer_has_left() -> None:
    story = StreamStory(balance=30).watch(FAN)
    story.wait(30)
    assert received_types(story) == [("viewer:joined", FAN), ("viewer:left", FAN)]


def test_in_a_free_stream_the_owner_receives_no_viewer_events() -> None:
    story = StreamStory(rate=None).watch(FAN)
    connect_owner(story)
    story.leave(FAN)
    assert (received_types(story), received_by_one(story)) == ([], [])


def test_a_connecting_session_of_the_owner_receives_all_viewers_and_others_nothing() -> None:
    story = StreamStory().watch(FAN, OTHER)
    story.fall_silent(OTHER)
    story.wait(10)
    before = received_types(story)
    connect_owner(story, 2)
    assert received_by_one(story, 2) == [("viewer:joined", FAN), ("viewer:joined", OTHER), ("viewer:paused", OTHER)]
    assert (received_by_one(story, 1), received_types(story)) == ([], before)


def test_a_flood_of_comings_and_goings_costs_the_owner_so_many_events_a_second_and_no_more() -> None:
    story = StreamStory(rules=StreamRules(viewer_events_per_second=10, viewer_events_burst=20)).watch()
    for _ in range(300):
        story.join(FAN)
        story.leave(FAN)
        story.wait(0.01)
    assert len(received_types(story)) <= 20 + 3 * 10
    story.join(FAN)
    story.wait(1)
    events = received_types(story)
    assert events[-1] == ("viewer:joined", FAN), "the last state is sent"
    assert [kind for kind, _ in events] == ["viewer:joined", "viewer:left"] * (len(events) // 2) + ["viewer:joined"]


def test_the_list_for_a_new_session_of_the_owner_goes_out_in_portions_and_later_changes_reach_it() -> None:
    rules = StreamRules(viewer_events_per_second=10, viewer_events_burst=2)
    story = StreamStory(rules=rules).watch(FAN, OTHER, STRANGER, OPERATOR)
    story.wait(1)
    connect_owner(story, 2)
    assert len(received_by_one(story, 2)) == 2
    story.leave(OPERATOR)
    story.wait(1)
    assert received_by_one(story, 2) == [("viewer:joined", user_id) for user_id in (FAN, OTHER, STRANGER)]
    assert received_types(story)[-1] == ("viewer:left", OPERATOR)


# Signals


def test_signals_to_or_from_a_viewer_whose_clock_stands_are_refused() -> None:
    story = StreamStory().watch(FAN)
    assert (story.signal(FAN, CREATOR), story.signal(CREATOR, FAN)) == ({}, {})
    story.fall_silent(FAN)
    assert code(story.signal(CREATOR, FAN)) == "NOT_PRESENT"
    story.be_responsive(FAN)
    assert story.signal(CREATOR, FAN) == {}
    story.storage_goes_away()
    story.wait(91)
    assert code(story.signal(FAN, CREATOR)) == code(story.signal(CREATOR, FAN)) == "NOT_PRESENT"
    assert received_types(story)[-1] == ("viewer:paused", FAN)


def test_a_viewer_who_has_left_is_no_longer_a_member() -> None:
    story = StreamStory().watch(FAN)
    story.leave(FAN)
    assert code(story.signal(CREATOR, FAN)) == code(story.signal(FAN, CREATOR)) == "NOT_FOUND"


def test_signals_to_a_silent_owner_are_refused_also_where_nobody_pays() -> None:
    story = StreamStory(rate=None).watch(FAN)
    story.fall_silent(CREATOR)
    assert code(story.signal(FAN, CREATOR)) == "NOT_PRESENT"


def test_a_viewers_signals_never_fill_the_owners_queue() -> None:
    story = StreamStory(rate=None).watch(FAN, OTHER)
    for number in (2, 3, 4):
        story.join(FAN, number)
    data = "x" * 16_000
    answers = [story.signal(FAN, CREATOR, data) for _ in range(200)]
    passed = sum(answer == {} for answer in answers)
    assert passed == 4
    assert {code(answer) for answer in answers[passed:]} == {"RATE_LIMITED"}
    assert 0 < answers[-1].details["retryAfterSeconds"] < 2
    assert story.signal(OTHER, CREATOR, data) == {}, "others are not kept from negotiating"
    story.wait(answers[-1].details["retryAfterSeconds"])
    assert story.signal(FAN, CREATOR, data) == {}


def test_small_signals_are_counted_too() -> None:
    story = StreamStory(rate=None).watch(FAN)
    assert [code(story.signal(FAN, CREATOR, 1)) for _ in range(102)] == [None] * 100 + ["RATE_LIMITED"] * 2


def test_events_of_many_viewers_keep_to_the_rate_for_the_owner() -> None:
    story = StreamStory(rate=None).watch()
    viewers = [UserId(device(STRANGER, 1000 + number)) for number in range(50)]
    for user_id in viewers:
        story.join(user_id)
    data = "x" * 16_000
    passed = sum(story.signal(user_id, CREATOR, data) == {} for user_id in viewers for _ in range(4))
    assert passed * 16_002 <= 4 * 65_536


def test_an_owner_negotiates_with_many_at_once_and_floods_none() -> None:
    story = StreamStory(rate=None).watch(FAN, OTHER)
    data = "x" * 16_000
    for user_id in (FAN, OTHER):
        assert [code(story.signal(CREATOR, user_id, data)) for _ in range(5)] == [None] * 4 + ["RATE_LIMITED"]


# The payee's absence and end


def test_an_owner_who_fell_silent_is_paid_for_nothing_after_their_last_byte() -> None:
    story = StreamStory().watch(FAN)
    story.wait(38)
    assert story.blocks(FAN) == 2
    story.fall_silent(CREATOR, for_seconds=10)
    story.wait(100)
    story.be_responsive(CREATOR)
    story.wait(31.999999)
    assert story.blocks(FAN) == 2, "28 s were watched, and two blocks are paid"
    story.wait(MICROSECOND)
    assert story.blocks(FAN) == 3


def test_the_last_byte_of_an_owner_is_the_last_of_any_connection() -> None:
    story = StreamStory().watch(FAN)
    story.join(CREATOR, 2)
    story.wait(20)
    story.fall_silent(CREATOR, 2, for_seconds=3)
    story.fall_silent(CREATOR, for_seconds=10)
    story.be_responsive(CREATOR)
    viewing = story.stream.viewing_sessions.find(FAN)
    assert viewing is not None and viewing.meter.clock.active(story.now) == 17_000_000


@pytest.mark.parametrize(("seconds", "given_back"), [(0, 1), (9.999999, 1), (10, 0), (30.005, 1), (45, 0)])
@pytest.mark.parametrize("how", ["end", "remove", "block"])
def test_a_block_of_which_little_was_used_is_given_back_if_the_owner_ends_it(
    how: str, seconds: float, given_back: int
) -> None:
    story = StreamStory().watch(FAN)
    story.wait(seconds)
    blocks = story.blocks(FAN)
    if how == "end":
        story.end("ended")
    else:
        (story.remove if how == "remove" else story.block)(FAN)
    assert [(posting.credit, posting.tokens) for posting in refunds(story)] == [(FAN, 30)] * given_back
    assert story.balance(FAN) == 10_000 - 30 * (blocks - given_back)


@pytest.mark.parametrize("reason", ["admin", "server_fault"])
def test_a_block_of_which_little_was_used_is_kept_if_the_owner_did_not_end_it(reason: str) -> None:
    story = StreamStory().watch(FAN)
    story.wait(5)
    story.end(reason)
    assert refunds(story) == []


def test_a_viewer_who_left_before_the_end_gets_no_refund() -> None:
    story = StreamStory().watch(FAN)
    story.wait(5)
    story.leave(FAN)
    story.end("ended")
    assert refunds(story) == []


def test_blocks_that_fell_due_during_the_owners_absence_are_refunded() -> None:
    story = StreamStory().watch(FAN, OTHER)
    story.wait(35)
    story.leave(OTHER)
    story.fall_silent(CREATOR, for_seconds=8)
    story.wait(300)
    assert story.stream.termination.reason == "owner_lost"
    assert {(posting.credit, posting.tokens) for posting in refunds(story)} == {(FAN, 30), (OTHER, 30)}


def test_a_block_that_is_under_way_at_the_end_is_booked_and_then_given_back() -> None:
    story = StreamStory()
    story.commit_seconds = 3
    story.watch(FAN)
    story.end("ended")
    story.wait(10)
    assert story.blocks(FAN) == 1
    assert [posting.content for posting in refunds(story)] == [block_key(STREAM, FAN, 1)]
    assert story.stream.settled


def test_an_unblocked_viewer_starts_with_a_new_block() -> None:
    story = StreamStory().watch(FAN)
    story.wait(5)
    story.block(FAN)
    assert story.balance(FAN) == 10_000
    story.block(FAN, blocked=False)
    story.join(FAN)
    assert (story.blocks(FAN), story.balance(FAN)) == (2, 9_970)
