"""Which users may join a stream, and which are evicted from it."""

from uuid import UUID

import pytest

from domain.ids import ESCROW, UserId
from domain.protocol import events as m
from domain.room import effects
from domain.stream.access_policy import Access, access_to
from domain.stream.record import StreamRules
from tests.domain.story import CREATOR, FAN, STRANGER, code, device
from tests.domain.stream_story import OPERATOR, OTHER, StreamStory

FREE, TICKET, METERED, BOTH = {"rate": None}, {"rate": None, "ticket": 40}, {"rate": 60}, {"rate": 60, "ticket": 40}


@pytest.mark.parametrize(
    ("terms", "user_id", "circumstances", "expected"),
    [
        (FREE, FAN, {}, Access(True, "public_stream")),
        (FREE, FAN, {"is_banned": True}, Access(False, "banned")),
        (FREE, CREATOR, {}, Access(True, "owner")),
        (FREE, CREATOR, {"ended": True}, Access(False, "stream_ended")),
        (TICKET, FAN, {}, Access(False, "ticket_required")),
        (TICKET, FAN, {"holds_ticket": True}, Access(True, "ticket")),
        (TICKET, FAN, {"holds_ticket": True, "is_banned": True}, Access(False, "banned")),
        (TICKET, FAN, {"holds_ticket": True, "ended": True}, Access(False, "stream_ended")),
        (TICKET, OPERATOR, {"is_operator": True}, Access(True, "operator")),
        (METERED, FAN, {}, Access(True, "metered")),
        (METERED, OPERATOR, {"is_operator": True, "is_banned": True}, Access(True, "operator")),
        (BOTH, FAN, {}, Access(False, "ticket_required")),
        (BOTH, FAN, {"holds_ticket": True}, Access(True, "ticket")),
        (BOTH, CREATOR, {}, Access(True, "owner")),
    ],
)
def test_one_reason_decides_who_may_watch(
    terms: dict[str, int | None], user_id: UserId, circumstances: dict[str, bool], expected: Access
) -> None:
    usual = {"is_operator": False, "holds_ticket": False, "is_banned": False, "ended": False}
    facts = StreamStory(rate=terms["rate"], ticket=terms.get("ticket")).facts
    assert access_to(facts, user_id, **{**usual, **circumstances}) == expected


def test_everybody_may_watch_a_public_stream() -> None:
    story = StreamStory(rate=None, balance=0).watch(FAN, OTHER)
    assert story.join(STRANGER).you == {"role": "viewer"}


def test_a_joined_viewer_learns_of_the_room_and_of_their_own_money() -> None:
    story = StreamStory(balance=100).watch()
    joined = story.join(FAN)
    assert joined.you == {
        "role": "viewer",
        "balance": 100,
        "secondsLeft": 90.0,
        "paidThrough": joined.room["startedAt"],
    }
    assert (joined.room["kind"], joined.room["status"], joined.room["viewers"]) == ("stream", "live", 2)


def test_only_a_ticket_holder_joins() -> None:
    story = StreamStory(rate=None, ticket=40).watch()
    assert code(story.join(FAN)) == "FORBIDDEN"
    story.buy_ticket(FAN)
    assert isinstance(story.join(FAN), m.RoomJoined)


def test_a_ticket_and_a_rate_both_apply() -> None:
    story = StreamStory(ticket=40).watch()
    assert code(story.join(FAN)) == "FORBIDDEN"
    story.buy_ticket(FAN)
    story.join(FAN)
    assert [story.blocks(FAN), story.balance(CREATOR), story.balance(ESCROW)] == [1, 30, 40]


def test_a_user_whose_ticket_is_refunded_is_evicted_and_may_buy_another() -> None:
    story = StreamStory(rate=None, ticket=40).watch()
    story.buy_ticket(FAN)
    story.join(FAN)
    story.refund_ticket(FAN)
    assert (story.revoked(FAN), story.is_in(FAN)) == (["ticket_refunded"], False)
    assert code(story.join(FAN)) == "FORBIDDEN"
    story.buy_ticket(FAN)
    assert isinstance(story.join(FAN), m.RoomJoined)


def test_a_ticket_that_was_under_way_as_its_buyer_was_removed_is_given_back() -> None:
    story = StreamStory(rate=None, ticket=40).watch()
    story.remove(FAN)
    story.buy_ticket(FAN)
    assert (story.balance(FAN), story.balance(CREATOR)) == (10_000, 0)


def test_a_refund_of_an_earlier_ticket_does_not_evict_the_holder_of_another() -> None:
    story = StreamStory(rate=None, ticket=40).watch()
    story.buy_ticket(FAN)
    [late] = story.committer.refund(FAN)
    story.buy_ticket(FAN)
    story.join(FAN)
    story.give(late)
    assert story.is_in(FAN)


def test_a_removed_user_may_not_return_and_gets_the_ticket_refunded() -> None:
    story = StreamStory(rate=None, ticket=40).watch()
    story.buy_ticket(FAN)
    story.join(FAN)
    story.join(FAN, 2)
    assert story.remove(FAN) == {}
    assert story.revoked(FAN) == ["removed"], "once, however many connections there were"
    assert (story.balance(FAN), story.balance(CREATOR)) == (10_000, 0)
    assert code(story.join(FAN)) == "FORBIDDEN"
    story.buy_ticket(FAN)
    assert code(story.join(FAN)) == "FORBIDDEN"


def test_a_removed_user_is_refused_after_a_restart_and_gets_a_refund_that_a_crash_prevented() -> None:
    story = StreamStory(rate=None, ticket=40).watch()
    story.buy_ticket(FAN)
    story.join(FAN)
    story.remove(FAN)
    story.buy_ticket(FAN)  # as if the first had never been refunded
    story.crash()
    assert story.balance(FAN) == 10_000
    story.join(CREATOR)
    assert code(story.join(FAN)) == "FORBIDDEN"


def test_the_rest_of_a_paid_block_does_not_outlive_a_removal() -> None:
    story = StreamStory().watch(FAN)
    story.wait(10)
    story.remove(FAN)
    story.wait(100)
    assert story.blocks(FAN) == 1


def test_a_blocked_user_is_evicted_and_may_return_once_unblocked() -> None:
    story = StreamStory().watch(FAN)
    story.block(FAN)
    assert (story.revoked(FAN), story.is_in(FAN)) == (["banned"], False)
    assert code(story.join(FAN)) == "CREATOR_UNAVAILABLE"
    story.block(FAN, False)
    assert isinstance(story.join(FAN), m.RoomJoined)


def test_a_user_who_was_blocked_before_the_stream_began_may_not_join() -> None:
    story = StreamStory(rate=None, blocked=[FAN]).watch()
    assert code(story.join(FAN)) == "CREATOR_UNAVAILABLE"
    assert code(story.tip(FAN, 5, over_http=True).answer) == "CREATOR_UNAVAILABLE"


def test_neither_the_owner_nor_an_operator_pays_or_is_evicted() -> None:
    story = StreamStory(ticket=40).watch()
    assert story.join(OPERATOR, operator=True).you == {"role": "operator"}
    story.block(OPERATOR)
    story.block(CREATOR)
    story.wait(100)
    assert (story.is_in(OPERATOR), story.is_in(CREATOR)) == (True, True)
    assert (story.balance(OPERATOR), story.balance(CREATOR)) == (10_000, 0)


def test_only_the_owner_mutes_and_removes_and_nobody_themselves() -> None:
    story = StreamStory(rate=None).watch(FAN, OTHER)
    assert code(story.mute(OTHER, by=FAN)) == code(story.remove(OTHER, by=FAN)) == "FORBIDDEN"
    assert code(story.mute(CREATOR)) == code(story.remove(CREATOR)) == "VALIDATION_FAILED"
    assert story.is_in(OTHER) and story.is_in(CREATOR)


@pytest.mark.parametrize(("rate", "connections"), [(60, 2), (None, 4)])
def test_a_viewers_silent_connection_gives_its_place_to_a_new_one_the_longest_silent_first(
    rate: int | None, connections: int
) -> None:
    story = StreamStory(rate=rate).watch(FAN)
    for number in range(2, connections + 1):
        story.join(FAN, number)
    story.fall_silent(FAN, 2)
    story.fall_silent(FAN, 1)
    assert isinstance(story.join(FAN, 10), m.RoomJoined)
    assert [effect.member_id for effect in story.done if isinstance(effect, effects.Disconnect)] == [device(FAN, 2)]
    assert device(FAN, 2) not in story.stream.members
    story.be_responsive(FAN, 1)
    assert code(story.join(FAN, 11)) == "OVERLOADED"


def test_one_payer_watches_from_two_connections_at_most_and_others_from_four() -> None:
    metered, free = StreamStory().watch(FAN), StreamStory(rate=None).watch(FAN)
    assert isinstance(metered.join(FAN, 2), m.RoomJoined)
    assert code(metered.join(FAN, 3)) == "OVERLOADED"
    metered.leave(FAN)
    assert isinstance(metered.join(FAN, 3), m.RoomJoined)
    for number in (2, 3, 4):
        assert isinstance(free.join(FAN, number), m.RoomJoined)
    assert code(free.join(FAN, 5)) == "OVERLOADED"


def test_a_connection_that_joins_again_is_still_one() -> None:
    story = StreamStory().watch(FAN)
    story.join(FAN, 2)
    assert isinstance(story.join(FAN, 2), m.RoomJoined)
    assert story.kinds().count("member:joined") == 3


def test_a_full_stream_admits_nobody_more() -> None:
    story = StreamStory(rate=None, rules=StreamRules(members=2)).watch(FAN)
    assert code(story.join(OTHER)) == "OVERLOADED"


def test_nobody_joins_a_stream_that_is_over() -> None:
    ended, draining = StreamStory().watch(FAN), StreamStory().watch()
    ended.end()
    assert code(ended.join(OTHER)) == code(ended.join_overlay()) == "STREAM_ENDED"
    assert code(ended.chat(FAN, "hello")) == code(ended.tip(FAN, 5).answer) == "STREAM_ENDED"
    draining.storage_goes_away()
    draining.join(FAN)
    draining.drain_begins()
    assert code(draining.join(OTHER)) == code(draining.chat(FAN, "hello")) == "DRAINING"


def test_an_owner_silences_a_bounded_number_of_users() -> None:
    story = StreamStory(rate=None, rules=StreamRules(silenced=3)).watch()
    somebody = [UserId(UUID(int=0xC0000 + number)) for number in range(4)]
    for silence in (story.mute, story.remove):
        assert [code(silence(user_id)) for user_id in somebody] == [None, None, None, "OVERLOADED"]


def test_a_connection_that_is_no_member_may_not_chat() -> None:
    story = StreamStory(rate=None).watch()
    assert code(story.chat(FAN, "hello")) == code(story.tip(FAN, 5).answer) == "NOT_FOUND"
