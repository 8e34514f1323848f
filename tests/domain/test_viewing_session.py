"""A viewing session: one viewer's blocks, charged at their time while they watch and the creator is present."""

import pytest

from domain.billing.posting import Kind
from domain.ids import UserId
from domain.instant import rfc3339
from domain.protocol import events as m
from domain.room import effects
from tests.domain.story import CREATOR, FAN, START, code
from tests.domain.stream_story import OTHER, StreamStory, earnings

MICROSECOND = 0.000001


def charged(story: StreamStory) -> list[m.ViewerBlockCharged]:
    return [event for event in story.received(FAN) if isinstance(event, m.ViewerBlockCharged)]


def test_a_viewing_session_is_charged_at_its_start_and_every_thirty_seconds() -> None:
    story = StreamStory().watch(FAN)
    assert story.blocks(FAN) == 1
    story.wait(29.999999)
    assert story.blocks(FAN) == 1
    story.wait(MICROSECOND)
    assert story.blocks(FAN) == 2
    story.wait(90)
    assert (story.balance(FAN), story.balance(CREATOR)) == (10_000 - 150, 150)


def test_each_viewer_has_a_clock_of_their_own() -> None:
    story = StreamStory().watch(FAN)
    story.wait(20)
    story.join(OTHER)
    story.wait(20)
    assert (story.blocks(FAN), story.blocks(OTHER)) == (2, 1)
    assert [event.next_at for event in charged(story)] == [rfc3339(START + s * 1_000_000) for s in (30, 60)]


def test_a_block_is_sent_to_its_payer_and_the_owner_and_to_nobody_else() -> None:
    story = StreamStory().watch(FAN, OTHER)
    block, spent = (event for event in story.received(FAN))
    charged_blocks = [event for event in story.received(CREATOR) if isinstance(event, m.ViewerBlockCharged)]
    assert (block.block_no, block.tokens, block.paid_through) == (1, 30, rfc3339(START + 30_000_000))
    assert (spent.balance, spent.tokens, spent.seconds_left) == (9_970, -30, (1 + 9_970 // 30) * 30)
    assert [(event.user_id, event.block_no) for event in charged_blocks] == [(FAN, 1), (OTHER, 1)], "the payer is named"
    earned = [(changes.balance, changes.tokens, changes.earned, changes.ref["userId"]) for changes in earnings(story)]
    assert earned == [(30, 30, 30, str(FAN)), (60, 30, 60, str(OTHER))]
    assert set(story.kinds()) == {"stream:live", "member:joined"}


def test_nobody_pays_before_the_creator_is_present() -> None:
    story = StreamStory()
    assert story.join(FAN).you["paidThrough"] is None
    story.wait(200)
    assert story.blocks(FAN) == 0
    story.join(CREATOR)
    assert story.blocks(FAN) == 1


@pytest.mark.parametrize(("user_id", "how"), [(FAN, "leaves"), (CREATOR, "leaves"), (CREATOR, "falls silent")])
def test_the_clock_stands_at_once_and_the_rest_of_the_block_is_kept(user_id: UserId, how: str) -> None:
    story = StreamStory().watch(FAN)
    story.wait(29.999999)
    (story.leave if how == "leaves" else story.fall_silent)(user_id)
    story.wait(200)
    assert story.blocks(FAN) == 1
    if how == "leaves":
        story.join(user_id)
    else:
        story.be_responsive(user_id)
    assert story.blocks(FAN) == 1
    story.wait(MICROSECOND)
    assert story.blocks(FAN) == 2


def test_a_viewer_who_leaves_as_a_block_falls_due_pays_for_it_and_keeps_all_of_it() -> None:
    story = StreamStory().watch(FAN)
    story.now += 30_000_000
    story.leave(FAN)
    assert story.blocks(FAN) == 2
    story.join(FAN)
    story.wait(29.999999)
    assert story.blocks(FAN) == 2
    story.wait(MICROSECOND)
    assert story.blocks(FAN) == 3


def test_numbers_go_on_over_many_visits_and_only_watched_time_counts() -> None:
    story = StreamStory().watch(FAN)
    for _ in range(10):
        story.wait(9)
        story.leave(FAN)
        story.wait(7)
        story.join(FAN)
    assert story.blocks(FAN) == 90 // 30 + 1
    assert [block.block_no for block in charged(story)] == [1, 2, 3, 4]


def test_two_connections_of_one_payer_share_a_viewing_session() -> None:
    story = StreamStory().watch(FAN)
    story.wait(10)
    story.join(FAN, 2)
    story.wait(10)
    story.leave(FAN)
    story.wait(10)
    story.fall_silent(FAN, 2)
    story.wait(100)
    assert story.blocks(FAN) == 2, "a block that falls due while its payer is away is not charged"
    assert story.stream.viewing_sessions.find(FAN) is not None
    story.be_responsive(FAN, 2)
    assert story.blocks(FAN) == 2
    story.wait(19.999999)
    assert story.blocks(FAN) == 2


def test_a_creator_with_two_devices_is_there_until_both_are_gone() -> None:
    story = StreamStory().watch(FAN)
    story.join(CREATOR, 2)
    story.leave(CREATOR)
    story.wait(30)
    assert story.blocks(FAN) == 2
    story.fall_silent(CREATOR, 2)
    story.wait(100)
    assert story.blocks(FAN) == 2


def test_a_viewer_who_is_silent_when_the_creator_returns_pays_nothing() -> None:
    story = StreamStory().watch(FAN)
    story.wait(10)
    story.leave(CREATOR)
    story.fall_silent(FAN)
    story.join(CREATOR)
    story.wait(100)
    assert story.blocks(FAN) == 1


def test_a_late_wake_up_delays_no_block() -> None:
    story = StreamStory().watch(FAN)
    story.oversleep(37)
    story.wait(22.999999)
    assert story.blocks(FAN) == 2
    story.wait(MICROSECOND)
    assert story.blocks(FAN) == 3


def test_receipts_that_take_five_seconds_do_not_shift_the_blocks() -> None:
    story = StreamStory()
    story.commit_seconds = 5
    story.watch(FAN)
    story.wait(100)
    posted = [effect.posting for effect in story.done if isinstance(effect, effects.Post)]
    assert [posting.block_no for posting in posted if posting.kind is Kind.BLOCK] == [1, 2, 3, 4]
    assert [event.next_at for event in charged(story)] == [rfc3339(START + s * 1_000_000) for s in (30, 60, 90, 120)]


def test_an_exact_price_never_costs_more_than_the_rate() -> None:
    story = StreamStory(rate=1, rounding="exact").watch(FAN)
    story.wait(299.999999)
    assert (story.blocks(FAN), story.balance(CREATOR)) == (10, 5)


def test_a_viewer_who_comes_and_goes_around_each_block_pays_for_the_time_they_watched() -> None:
    story = StreamStory().watch(FAN)
    for expected in range(2, 12):
        story.wait(29.9)
        story.leave(FAN)
        story.wait(5)
        story.join(FAN)
        story.wait(0.1)
        assert story.blocks(FAN) == expected


def test_nobody_joins_without_the_tokens_for_the_first_block() -> None:
    story = StreamStory(balance=29).watch()
    refused = story.join(FAN)
    assert code(refused) == "INSUFFICIENT_TOKENS"
    assert refused.details == {"required": 30, "current": 29, "shortfall": 1}
    assert not story.is_in(FAN)


def test_the_rest_of_a_paid_block_admits_a_viewer_who_has_no_tokens_left() -> None:
    story = StreamStory(balance=30).watch(FAN)
    story.wait(20)
    story.leave(FAN)
    assert story.join(FAN).you["secondsLeft"] == 10


def test_viewers_of_a_free_stream_have_no_viewing_session() -> None:
    story = StreamStory(rate=None).watch(FAN)
    story.wait(1000)
    assert [effect for effect in story.done if isinstance(effect, effects.Post)] == []
    assert story.received(FAN) == []
