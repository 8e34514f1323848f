"""The release of a stream's tickets: after so long live and present in total, and not before."""

import pytest

from domain.ids import ESCROW, UserId
from domain.instant import duration
from domain.room import effects
from domain.stream.record import StreamRecord, StreamRules
from domain.stream.ticket_release import are_earned
from tests.domain.story import CREATOR, FAN
from tests.domain.stream_story import OTHER, StreamStory

RULES = StreamRules(ticket_release_seconds=100, stream_drop_limit_seconds=1_000)


def on_sale(rate: int | None = None) -> StreamStory:
    """Return a stream that has sold a ticket for 40 tokens, whose creator has not joined yet."""
    story = StreamStory(balance=1_000, rate=rate, ticket=40, rules=RULES)
    story.buy_ticket(FAN)
    return story


def escrow(story: StreamStory) -> int:
    return story.balance(ESCROW)


def releases(story: StreamStory) -> int:
    return len([effect for effect in story.done if isinstance(effect, effects.Release)])


@pytest.mark.parametrize(("seconds", "earned"), [(0, False), (299.999999, False), (300, True)])
def test_tickets_are_earned_by_five_minutes_of_presence(seconds: float, earned: bool) -> None:
    assert are_earned(duration(seconds), StreamRules()) is earned


def test_a_ticket_is_the_creators_at_the_moment_they_were_there_for_long_enough() -> None:
    story = on_sale().watch()
    story.wait(99.999999)
    assert (escrow(story), story.balance(CREATOR)) == (40, 0)
    story.wait(0.000001)
    assert (escrow(story), story.balance(CREATOR)) == (0, 40)


def test_a_stream_that_nobody_entered_earns_nothing() -> None:
    story = on_sale()
    story.wait(999)
    assert (escrow(story), releases(story)) == (40, 0)


def test_only_the_time_for_which_the_creator_is_there_counts_and_it_adds_up() -> None:
    story = on_sale().watch()
    story.wait(60)
    story.leave(CREATOR)
    story.wait(500)
    story.join(CREATOR)
    story.wait(20)
    story.fall_silent(CREATOR)
    story.wait(500)
    story.be_responsive(CREATOR)
    story.wait(19)
    assert escrow(story) == 40
    story.wait(1)
    assert escrow(story) == 0


def test_time_in_which_the_creator_was_silent_does_not_count() -> None:
    story = on_sale().watch()
    story.wait(50)
    story.fall_silent(CREATOR, for_seconds=10)
    story.be_responsive(CREATOR)
    story.wait(59)
    assert escrow(story) == 40
    story.wait(1)
    assert escrow(story) == 0


def test_of_two_silent_devices_the_later_last_byte_counts() -> None:
    story = on_sale().watch()
    story.join(CREATOR, 2)
    story.wait(50)
    story.fall_silent(CREATOR, 2, for_seconds=2)
    story.fall_silent(CREATOR, 1, for_seconds=20)
    story.be_responsive(CREATOR)
    story.wait(51)
    assert escrow(story) == 40
    story.wait(1)
    assert escrow(story) == 0


def test_a_second_device_of_the_creators_earns_no_faster() -> None:
    story = on_sale().watch()
    story.join(CREATOR, 2)
    story.wait(50)
    story.leave(CREATOR)
    story.wait(49)
    assert escrow(story) == 40
    story.wait(1)
    assert escrow(story) == 0


def test_a_long_stall_earns_nothing() -> None:
    story = on_sale().watch()
    story.wait(50)
    story.stall(200)
    story.be_responsive(CREATOR)
    story.wait(49)
    assert escrow(story) == 40
    story.wait(1)
    assert escrow(story) == 0


def test_the_release_is_asked_for_once_and_later_tickets_are_released_as_they_are_sold() -> None:
    story = on_sale().watch()
    story.wait(150)
    story.leave(CREATOR)
    story.join(CREATOR)
    story.buy_ticket(OTHER)
    story.wait(150)
    assert (escrow(story), story.balance(CREATOR), releases(story)) == (0, 80, 1)


def test_a_stream_without_tickets_asks_for_no_release() -> None:
    story = StreamStory(rules=RULES).watch(FAN)
    story.wait(300)
    assert releases(story) == 0


@pytest.mark.parametrize("rate", [None, 60])
def test_a_stream_that_ends_a_moment_too_early_has_earned_no_ticket(rate: int | None) -> None:
    story = on_sale(rate).watch()
    story.wait(99.999999)
    story.end()
    story.wait(100)
    assert (story.committer.stored.status, releases(story)) == ("ended", 0)
    story.committer.settle_tickets(RULES)
    assert (escrow(story), story.balance(FAN), story.balance(CREATOR)) == (0, 1_000, 0)


def test_a_ticket_due_for_release_at_the_end_is_released_before_it() -> None:
    story = on_sale().watch()
    story.now += duration(100)
    story.end()
    assert (escrow(story), story.balance(CREATOR)) == (0, 40)


def test_the_release_of_an_ended_stream_that_waits_for_the_database_is_made() -> None:
    story = on_sale().watch()
    story.wait(99)
    story.storage_goes_away()
    story.wait(1)
    story.end()
    story.storage_comes_back()
    assert (story.committer.stored.status, escrow(story), story.balance(CREATOR)) == ("ended", 0, 40)


def test_presence_is_stored_with_the_record_as_the_creator_leaves() -> None:
    story = on_sale().watch()
    story.wait(60)
    story.leave(CREATOR)
    assert story.committer.stored.present == duration(60)


@pytest.mark.parametrize("drains", [True, False])
def test_presence_goes_on_from_what_is_stored_and_downtime_earns_nothing(drains: bool) -> None:
    story = on_sale().watch()
    story.wait(60)
    if drains:
        story.drain(down_seconds=500)
    else:
        story.checkpoint()
        story.wait(4)
        story.crash(down_seconds=500)
    story.join(CREATOR)
    story.wait(39)
    assert escrow(story) == 40
    story.wait(1)
    assert escrow(story) == 0


def test_a_release_that_a_crash_prevented_is_asked_for_again() -> None:
    story = on_sale().watch()
    story.storage_goes_away()
    story.wait(100)
    story.committer.note_presence(duration(100))  # as a checkpoint just before the crash
    story.crash()
    assert (escrow(story), story.balance(CREATOR)) == (0, 40)


def test_a_release_that_a_crash_interrupted_is_asked_for_again() -> None:
    """A stream with very many tickets is released by several statements, of which the first opens the release."""
    story = on_sale().watch()
    story.ledger.rooms[story.facts.id].released = True
    story.crash()
    assert (escrow(story), story.balance(CREATOR)) == (0, 40)


def test_a_longer_setting_does_not_take_a_release_back() -> None:
    story = on_sale().watch()
    story.wait(100)
    story.rules = StreamRules(ticket_release_seconds=200)
    story.crash()
    story.buy_ticket(OTHER)
    assert (escrow(story), story.balance(CREATOR)) == (0, 80)


def test_a_late_record_does_not_lower_the_presence() -> None:
    story = on_sale()
    story.committer.note_presence(duration(50))
    story.committer.save(StreamRecord(status="live", present=duration(20)))
    story.committer.send_batch()
    story.committer.commit_batch(story.epoch, story.now)
    assert story.committer.stored.present == duration(50)


@pytest.mark.parametrize("released", [False, True])
def test_the_ticket_of_a_removed_user_is_refunded_from_where_its_tokens_are(released: bool) -> None:
    story = on_sale().watch(FAN)
    story.wait(100 if released else 99)
    story.remove(FAN)
    assert [story.balance(who) for who in (FAN, ESCROW, CREATOR)] == [1_000, 0, 0]


def test_a_ticket_that_the_creator_cannot_cover_is_not_refunded() -> None:
    story = on_sale().watch(FAN)
    story.wait(100)
    _spend_all(story, CREATOR)
    story.remove(FAN)
    assert [story.balance(who) for who in (FAN, ESCROW, CREATOR)] == [960, 0, 0]
    assert story.ledger.total() == 0


def _spend_all(story: StreamStory, user_id: UserId) -> None:
    story.spend_silently(user_id, story.balance(user_id))
