"""The life of a stream: restarts, drains, another owner, an absent creator, and the end."""

from domain.instant import rfc3339
from domain.protocol import events as m
from domain.room import effects, inputs
from domain.room.effects import Audience
from tests.domain.story import CREATOR, FAN, START, code
from tests.domain.stream_rows import STREAM
from tests.domain.stream_story import OTHER, StreamStory, earnings

# Restarts


def test_a_restarted_stream_waits_for_its_creator_and_downtime_is_free() -> None:
    story = StreamStory().watch(FAN)
    story.wait(20)
    story.checkpoint()
    story.crash(down_seconds=200)
    story.join(FAN)
    story.wait(200)
    assert story.blocks(FAN) == 1
    story.join(CREATOR)
    story.wait(9.999999)
    assert story.blocks(FAN) == 1
    story.wait(0.000001)
    assert story.blocks(FAN) == 2


def test_a_restart_is_a_new_epoch_that_begins_with_stream_live() -> None:
    story = StreamStory().watch(FAN)
    story.crash()
    joined = story.join(FAN)
    assert (joined.epoch, joined.seq) == (2, 2)
    assert story.kinds()[-2:] == ["stream:live", "member:joined"]


def test_a_block_that_only_waited_in_memory_is_not_charged_after_a_restart() -> None:
    story = StreamStory().watch(FAN)
    story.storage_goes_away()
    story.wait(59)
    story.crash()
    story.watch(FAN)
    story.wait(29.999999)
    assert story.blocks(FAN) == 1, "nobody knows how much of block 1 is used up, so it is whole"


def test_a_block_whose_receipt_was_lost_is_not_charged_again() -> None:
    story = StreamStory().watch(FAN)
    story.storage_goes_away()
    story.wait(35)
    story.crash(committed=True)
    story.watch(FAN)
    assert story.blocks(FAN) == 2
    story.wait(30)
    assert story.blocks(FAN) == 3
    assert story.balance(CREATOR) == 90


def test_a_viewer_who_left_finds_the_rest_of_the_block_after_a_restart() -> None:
    story = StreamStory().watch(FAN)
    story.wait(25)
    story.leave(FAN)
    story.wait(100)
    story.crash()
    assert story.watch().join(FAN).you["secondsLeft"] == 5 + 9_970 // 30 * 30


def test_the_time_of_a_block_that_was_booked_after_its_viewer_left_is_stored_with_it() -> None:
    story = StreamStory().watch(FAN)
    story.storage_goes_away()
    story.wait(45)
    story.leave(FAN)
    story.storage_comes_back()
    story.crash()
    assert story.watch().join(FAN).you["secondsLeft"] == 15 + 9_940 // 30 * 30


def test_a_record_that_was_under_way_when_a_viewer_came_back_does_not_put_back_a_later_clock() -> None:
    story = StreamStory().watch(FAN, OTHER)
    story.wait(10)
    story.storage_goes_away()
    story.leave(FAN)
    story.join(FAN)
    story.leave(FAN)
    story.join(FAN)
    story.wait(10)
    story.leave(OTHER)
    story.storage_comes_back()
    assert story.committer.active == {FAN: 20_000_000, OTHER: 20_000_000}


def test_a_stored_viewing_session_is_not_stored_again_with_later_records() -> None:
    story = StreamStory().watch(FAN, OTHER)
    story.leave(FAN)
    story.wait(10)
    story.leave(OTHER)
    records = [effect.record for effect in story.done if isinstance(effect, effects.Save)]
    assert [[payer for payer, _ in record.viewing_sessions] for record in records] == [[FAN], [OTHER]]


def test_mutes_and_removals_survive_a_restart_and_the_chat_history_does_not() -> None:
    story = StreamStory(rate=None).watch(FAN, OTHER)
    story.chat(OTHER, "hello")
    story.mute(FAN)
    story.remove(OTHER)
    story.crash()
    joined = story.watch().join(FAN)
    assert joined.history == []
    assert code(story.chat(FAN, "hello")) == code(story.join(OTHER)) == "FORBIDDEN"


def test_earnings_are_summed_over_a_restart() -> None:
    story = StreamStory().watch(FAN)
    story.crash()
    story.watch(OTHER)
    assert [event.earned for event in earnings(story)] == [30, 60]


# Drain


def test_a_drain_stops_every_clock_takes_back_what_waits_and_stores_how_far_they_are() -> None:
    story = StreamStory().watch(FAN, OTHER)
    story.wait(12)
    story.drain(down_seconds=500)
    assert story.committer.active == {FAN: 12_000_000, OTHER: 12_000_000}
    story.watch(FAN, OTHER)
    story.wait(17.999999)
    assert (story.blocks(FAN), story.blocks(OTHER)) == (1, 1)


def test_a_drain_with_blocks_under_way_settles_after_their_receipts() -> None:
    story = StreamStory().watch(FAN)
    story.storage_goes_away()
    story.wait(75)  # block 2 is in flight, block 3 waits
    story.drain_begins()
    assert not story.stream.settled
    story.storage_comes_back()
    assert story.stream.settled
    assert (story.blocks(FAN), story.committer.active[FAN]) == (2, 60_000_000)
    assert "stream:ended" not in story.kinds()


def test_nothing_ends_a_stream_that_drains() -> None:
    story = StreamStory()
    story.storage_goes_away()
    story.watch(FAN)
    story.drain_begins()
    story.end()
    story.wait(1000)
    story.storage_comes_back()
    assert (story.stream.settled, story.committer.stored.status) == (True, "live")


# Another owner


def test_a_server_that_lost_the_stream_publishes_and_charges_nothing_more() -> None:
    story = StreamStory().watch(FAN)
    story.ledger.claim(STREAM)
    story.wait(30)
    assert story.stream.settled
    assert (story.blocks(FAN), story.revoked(FAN)) == (1, [])
    assert story.kinds()[-1] == "member:joined"
    assert story.done[-1] == effects.Close(moved=True)


def test_a_record_that_is_fenced_ends_the_room_here() -> None:
    story = StreamStory().watch(FAN)
    story.ledger.claim(STREAM)
    story.leave(FAN)
    assert story.stream.settled
    assert story.done[-1] == effects.Close(moved=True), "its members are asked to join again"


def test_every_tip_under_way_is_answered_when_the_stream_is_lost() -> None:
    story = StreamStory(rate=None).watch(FAN, OTHER)
    story.storage_goes_away()
    replies = [story.tip(FAN, 5), story.tip(OTHER, 5), story.tip(FAN, 6)]
    story.ledger.claim(STREAM)
    story.commit_batch()
    assert [code(reply.answer) for reply in replies] == ["ROOM_STARTING"] * 3
    story.storage_comes_back()
    assert story.balance(CREATOR) == 0


def test_receipts_that_come_after_the_stream_was_lost_change_nothing() -> None:
    story = StreamStory().watch(FAN)
    story.storage_goes_away()
    reply = story.tip(FAN, 5)
    story.give(inputs.Fenced())
    assert code(reply.answer) == "ROOM_STARTING"
    done = len(story.done)
    story.storage_comes_back()
    assert story.done[done:] == []


def test_a_stream_that_moved_to_another_server_asks_for_another_try_even_if_it_had_ended_here() -> None:
    for ended in (False, True):
        story = StreamStory(rate=None).watch(FAN)
        story.storage_goes_away()
        if ended:
            story.end()
        story.give(inputs.Fenced())
        for refusal in (story.join(OTHER), story.chat(FAN, "hello")):
            assert code(refusal) == "ROOM_STARTING"
            assert refusal.details["retryAfterSeconds"] > 0


# Presence of the creator


def test_a_stream_whose_creator_never_comes_ends_after_five_minutes() -> None:
    story = StreamStory()
    story.join(FAN)
    story.wait(299.999999)
    assert not story.stream.termination.over
    story.wait(0.000001)
    assert (story.stream.settled, story.committer.stored.end_reason) == (True, "owner_lost")


def test_a_creator_who_is_back_in_time_keeps_the_stream_and_one_who_is_too_late_does_not() -> None:
    story = StreamStory().watch(FAN)
    story.fall_silent(CREATOR)
    story.wait(299.999999)
    story.be_responsive(CREATOR)
    story.wait(500)
    assert not story.stream.settled
    story.leave(CREATOR)
    story.now += 300_000_000
    assert code(story.join(CREATOR)) == "STREAM_ENDED"


# The end


def test_the_end_is_published_to_viewers_and_overlays_once_all_is_booked() -> None:
    story = StreamStory().watch(FAN)
    story.join_overlay()
    story.storage_goes_away()
    story.wait(75)
    reply = story.tip(FAN, 5)
    story.end()
    assert "stream:ended" not in story.kinds()
    story.storage_comes_back()
    assert reply.answer["wallet"] == {"balance": 10_000 - 95}
    assert story.blocks(FAN) == 3, "what fell due before the end is charged"
    for audience in Audience:
        assert story.kinds(audience)[-3:] == ["tip:new", "stream:ended", "room:closed"]
        ends = [event for event in story.published(audience) if isinstance(event, m.StreamEnded | m.RoomClosed)]
        assert [event.reason for event in ends] == ["ended", "ended"]
    assert story.committer.stored.status == "ended"
    assert story.committer.stored.ended_at == START + 75_000_000


def test_nothing_falls_due_after_the_end() -> None:
    story = StreamStory().watch(FAN)
    story.end()
    story.wait(1000)
    story.end("server_fault")
    assert (story.blocks(FAN), story.committer.stored.end_reason) == (1, "ended")
    assert story.kinds().count("stream:ended") == 1


def test_a_block_as_the_stream_ends_is_charged_and_one_just_after_is_not() -> None:
    at_due, before_due = StreamStory().watch(FAN), StreamStory().watch(FAN)
    at_due.now += 30_000_000
    at_due.end()
    before_due.wait(29.999999)
    before_due.end()
    before_due.wait(1)
    assert (at_due.blocks(FAN), before_due.blocks(FAN)) == (2, 1)


def test_a_block_that_is_refused_after_the_end_ends_nothing_twice() -> None:
    story = StreamStory(balance=30).watch(FAN, OTHER)
    story.storage_goes_away()
    story.wait(65)
    story.end()
    story.storage_comes_back()
    assert story.stream.settled
    assert [story.blocks(user_id) for user_id in (FAN, OTHER)] == [1, 1]
    assert story.kinds()[-2:] == ["stream:ended", "room:closed"]


def test_an_owner_who_blocks_a_viewer_after_the_end_gives_nothing_more_back() -> None:
    story = StreamStory().watch(FAN)
    story.wait(1)
    story.storage_goes_away()
    story.end("admin")
    story.block(FAN)
    story.storage_comes_back()
    assert story.stream.settled
    assert story.blocks(FAN) == 1
    assert not [effect for effect in story.done if isinstance(effect, effects.GiveBack)]


def test_the_view_of_an_ended_stream_says_when_and_why() -> None:
    story = StreamStory(rate=None).watch(FAN)
    story.wait(5)
    story.end()
    view = story.stream.view()
    assert (view.status, view.end_reason, view.ended_at) == ("ended", "ended", rfc3339(START + 5_000_000))
    assert view.viewers == 0


def test_a_member_who_leaves_as_the_stream_closes_is_no_fault() -> None:
    story = StreamStory(rate=None).watch(FAN)
    story.join_overlay()
    story.end()
    story.leave(FAN)
    assert isinstance(story.published()[-1], m.RoomClosed)


def test_a_viewer_who_responds_while_the_stream_drains_loses_no_paid_time() -> None:
    story = StreamStory().watch(FAN)
    story.storage_goes_away()
    story.wait(40)
    story.fall_silent(FAN)
    story.drain_begins()
    story.be_responsive(FAN)
    story.wait(10)
    story.storage_comes_back()
    assert story.committer.active[FAN] == 40_000_000
