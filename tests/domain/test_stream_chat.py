"""Messages in a stream: chat, tips, signals, and overlays, which receive tips only."""

from collections.abc import Callable

import pytest

from domain.instant import rfc3339
from domain.protocol import events as m
from domain.room import effects, inputs
from domain.room.effects import Audience
from domain.room.members import RoomRules
from domain.room.signalling import MAX_SIGNAL_BYTES
from tests.domain.story import CREATOR, FAN, START, STRANGER, code, device
from tests.domain.stream_rows import person
from tests.domain.stream_story import OTHER, SCREEN, StreamStory


def free() -> StreamStory:
    return StreamStory(rate=None, balance=100).watch(FAN, OTHER)


def tips(story: StreamStory, audience: Audience = Audience.MEMBERS) -> list[m.TipNew]:
    return [event for event in story.published(audience) if isinstance(event, m.TipNew)]


# Chat


def test_chat_is_published_and_in_the_history_of_later_members() -> None:
    story = free()
    assert story.chat(FAN, "hello\u0007 there") == {}
    event = story.published()[-1]
    assert isinstance(event, m.ChatNew)
    assert (event.from_, event.text) == (person(FAN), "hello there")
    assert [past.text for past in story.join(STRANGER).history] == ["hello there"]


def test_text_without_a_visible_character_is_refused() -> None:
    for text in (" \u0000 ", "\u200b\u3164\u2060", "\u202e\u202c"):
        assert code(free().chat(FAN, text)) == "VALIDATION_FAILED"


def test_a_room_takes_so_much_chat_and_no_more_and_some_again_after_a_while() -> None:
    story = StreamStory(rate=None, room_rules=RoomRules(chat_per_second=2, chat_burst=3)).watch(FAN, OTHER)
    assert [code(story.chat(FAN, "hello")) for _ in range(4)] == [None, None, None, "RATE_LIMITED"]
    assert story.chat(OTHER, "hello").details == {"retryAfterSeconds": 0.5}
    story.wait(0.5)
    assert story.chat(OTHER, "hello") == {}


def test_one_users_flood_leaves_the_others_room_to_write() -> None:
    story = free()
    answers = [code(story.chat(FAN, "hello")) for _ in range(1000)]
    assert answers == [None] * 10 + ["RATE_LIMITED"] * 990
    assert [story.chat(OTHER, "hello") for _ in range(10)] == [{}] * 10
    story.wait(0.5)
    assert story.chat(FAN, "who is refused does not fall behind") == {}


def test_a_muted_user_may_not_chat_and_uses_up_no_budget() -> None:
    story = StreamStory(rate=None, room_rules=RoomRules(chat_per_second=1, chat_burst=1)).watch(FAN, OTHER)
    assert story.mute(FAN) == {}
    assert code(story.chat(FAN, "hello")) == "FORBIDDEN"
    assert story.chat(OTHER, "hello") == {}


def test_the_history_is_limited() -> None:
    story = StreamStory(rate=None, room_rules=RoomRules(recent_events=2)).watch(FAN)
    for text in ("one", "two", "three"):
        story.chat(FAN, text)
    assert [past.text for past in story.join(OTHER).history] == ["two", "three"]


# History for new members


SILENCED = {
    "muted": lambda story: story.mute(FAN),
    "removed": lambda story: story.remove(FAN),
    "blocked": lambda story: story.give(inputs.UserBlocked(FAN)),
    "banned": lambda story: story.give(inputs.MessagesHidden(FAN)),
}


@pytest.mark.parametrize("silence", SILENCED.values(), ids=SILENCED)
def test_the_history_leaves_out_messages_of_silenced_users(silence: Callable[[StreamStory], object]) -> None:
    story = free()
    story.chat(FAN, "buy followers")
    story.chat(OTHER, "hello")
    story.tip(FAN, 5, message="at example.com")
    story.tip(OTHER, 6, message="for the soup")
    silence(story)
    history = story.join(STRANGER).history
    assert [past.text for past in history if isinstance(past, m.HistoryChat)] == ["hello"]
    given = [(past.amount_tokens, past.message) for past in history if isinstance(past, m.HistoryTip)]
    assert given == [(5, None), (6, "for the soup")]
    shown = [(past.amount_tokens, past.message) for past in story.join_overlay(asked_at=START).history]
    assert shown == [(5, None), (6, "for the soup")]


@pytest.mark.parametrize("silence", SILENCED.values(), ids=SILENCED)
def test_a_tip_that_is_booked_after_its_giver_was_silenced_is_published_without_its_message(
    silence: Callable[[StreamStory], object],
) -> None:
    story = free()
    story.storage_goes_away()
    story.tip(FAN, 5, message="buy followers")
    silence(story)
    story.storage_comes_back()
    assert [tip.message for tip in tips(story)] == [None]
    assert [past.message for past in story.join(STRANGER).history if isinstance(past, m.HistoryTip)] == [None]


def test_messages_of_an_unblocked_user_are_in_the_history_from_then_on() -> None:
    story = free()
    story.chat(FAN, "before")
    story.give(inputs.UserBlocked(FAN))
    story.give(inputs.UserBlocked(FAN, blocked=False))
    story.join(FAN)
    story.tip(FAN, 5, message="after")
    history = story.join(STRANGER).history
    assert [past.message for past in history if isinstance(past, m.HistoryTip)] == ["after"]
    story.mute(FAN)
    story.give(inputs.UserBlocked(FAN))
    story.give(inputs.UserBlocked(FAN, blocked=False))
    assert FAN in story.stream.chat_and_tips.hidden, "muted users stay hidden"


# Tips


def test_a_tip_is_answered_and_published_once_it_is_booked() -> None:
    story = free()
    story.storage_goes_away()
    reply = story.tip(FAN, 30, message="for the soup")
    assert (reply.answer, tips(story)) == (None, [])
    story.storage_comes_back()
    [received] = tips(story)
    assert (received.from_, received.amount_tokens, received.message) == (person(FAN), 30, "for the soup")
    assert reply.answer["tip"]["tipId"] == str(received.tip_id)
    assert reply.answer["wallet"] == {"balance": 70}
    assert story.join(STRANGER).history[-1].tip_id == received.tip_id


def test_a_tip_of_too_much_is_refused_with_what_is_there() -> None:
    refused = free().tip(FAN, 101).answer
    assert code(refused) == "INSUFFICIENT_TOKENS"
    assert refused.details == {"required": 101, "current": 100, "shortfall": 1}


def test_a_tip_past_ones_own_limit_is_refused_with_when_the_day_is_over() -> None:
    story = free()
    story.ledger.allow(FAN, 50)
    story.tip(FAN, 30)
    refused = story.tip(FAN, 21).answer
    assert code(refused) == "SPEND_LIMIT"
    assert refused.details == {"limit": 50, "spent": 30, "resetsAt": "2027-01-16T00:00:00.000Z"}


def test_the_same_key_gives_once_and_is_answered_the_same_even_while_the_first_is_under_way() -> None:
    story = free()
    story.storage_goes_away()
    replies = [story.tip(FAN, 30, key="k") for _ in range(3)]
    story.storage_comes_back()
    assert replies[0].answer == replies[1].answer == replies[2].answer
    assert (len(tips(story)), story.balance(CREATOR)) == (1, 30)


def test_the_same_key_for_something_else_is_refused() -> None:
    story = free()
    story.tip(FAN, 30, key="k")
    assert code(story.tip(FAN, 31, key="k").answer) == "IDEMPOTENCY_CONFLICT"
    assert code(story.tip(FAN, 30, key="k", message="hi").answer) == "IDEMPOTENCY_CONFLICT"
    assert story.tip(OTHER, 30, key="k").answer["wallet"] == {"balance": 70}, "another's key is another key"


def test_a_tip_after_the_stored_end_is_refused_with_it() -> None:
    story = free()
    story.ledger.end(story.facts.id)
    assert code(story.tip(FAN, 30).answer) == "STREAM_ENDED"


def test_a_tip_that_a_drain_withdraws_is_answered_and_nothing_is_paid() -> None:
    story = free()
    story.storage_goes_away()
    first, second = story.tip(FAN, 30), story.tip(OTHER, 30)
    story.drain_begins()
    story.storage_comes_back()
    assert first.answer["wallet"] == {"balance": 70}
    assert (code(second.answer), story.balance(OTHER)) == ("DRAINING", 100)


def test_nobody_tips_themselves() -> None:
    assert code(free().tip(CREATOR, 5).answer) == "SELF_PAYMENT"


def test_the_number_of_tips_under_way_is_limited() -> None:
    story = StreamStory(rate=None, room_rules=RoomRules(tips_under_way=2)).watch(FAN)
    story.storage_goes_away()
    replies = [story.tip(FAN, 5) for _ in range(3)]
    assert [code(reply.answer) for reply in replies] == [None, None, "OVERLOADED"]
    story.storage_comes_back()
    assert story.balance(CREATOR) == 10
    assert story.tip(FAN, 5).answer["wallet"] == {"balance": 9_985}


def test_the_tip_of_a_muted_user_is_published_without_its_message() -> None:
    story = free()
    story.mute(FAN)
    tip_result = story.tip(FAN, 5, message="hello").answer
    assert tip_result["tip"]["message"] == "hello"
    assert [tip.message for tip in tips(story)] == [None]


def test_a_tip_over_http_needs_access_and_no_place_in_the_room() -> None:
    story = StreamStory(ticket=40).watch()
    assert code(story.tip(FAN, 5, over_http=True).answer) == "FORBIDDEN"
    story.buy_ticket(FAN)
    assert story.tip(FAN, 5, over_http=True).answer["wallet"] == {"balance": 9_955}
    story.remove(FAN)
    assert code(story.tip(FAN, 5, over_http=True).answer) == "FORBIDDEN"


def test_receipts_of_tips_and_blocks_of_one_viewer_are_not_confused() -> None:
    story = StreamStory(balance=65).watch(FAN)
    story.storage_goes_away()
    story.wait(30)
    reply = story.tip(FAN, 10)
    story.wait(30)
    story.storage_comes_back()
    assert (story.revoked(FAN), story.blocks(FAN)) == (["insufficient_funds"], 2)
    assert code(reply.answer) == "INSUFFICIENT_TOKENS"
    richer = StreamStory(balance=70).watch(FAN)
    richer.storage_goes_away()
    richer.wait(30)
    reply = richer.tip(FAN, 10)
    richer.wait(30)
    richer.storage_comes_back()
    assert reply.answer["wallet"] == {"balance": 0}, "a tip is not taken back with the blocks behind the refused one"


# Signals


def test_a_signal_goes_to_one_connection_only_and_names_its_sender() -> None:
    story = free()
    assert story.signal(FAN, CREATOR, {"sdp": "offer"}) == {}
    [passed_on] = [effect for effect in story.done if isinstance(effect, effects.SendToMember)]
    assert passed_on.member_id == device(CREATOR)
    assert passed_on.event == m.SignalNew(channel=story.facts.channel, from_=device(FAN), data={"sdp": "offer"})
    assert story.signal(CREATOR, FAN, "answer") == {}


def test_signals_pass_between_the_creator_and_another_alone() -> None:
    story = free()
    assert code(story.signal(FAN, OTHER)) == "FORBIDDEN"
    assert code(story.signal(CREATOR, CREATOR)) == "FORBIDDEN"
    assert code(story.signal(FAN, STRANGER)) == "NOT_FOUND"
    assert code(story.signal(STRANGER, CREATOR)) == "NOT_FOUND"


@pytest.mark.parametrize(("size", "refused"), [(MAX_SIGNAL_BYTES, None), (MAX_SIGNAL_BYTES + 1, "VALIDATION_FAILED")])
def test_a_signal_has_a_size(size: int, refused: str | None) -> None:
    assert code(free().signal(FAN, CREATOR, "x" * (size - len('""')))) == refused


def test_a_signal_that_cannot_be_encoded_as_json_is_refused() -> None:
    assert code(free().signal(FAN, CREATOR, {1j: 2})) == "VALIDATION_FAILED"


# Overlays


def test_an_overlay_has_numbers_of_its_own_and_is_not_among_the_members() -> None:
    story = free()
    joined = story.join_overlay()
    assert (joined.you, joined.seq, joined.members, joined.history) == ({"role": "overlay"}, 1, [], [])
    story.chat(FAN, "hello")
    story.tip(FAN, 5)
    story.chat(FAN, "hello")
    story.tip(OTHER, 6)
    published = story.published(Audience.OVERLAYS)
    assert [(event.seq, type(event)) for event in published] == [(1, m.StreamLive), (2, m.TipNew), (3, m.TipNew)]
    assert [event.seq for event in story.published()] == list(range(1, len(story.published()) + 1))


def test_overlays_are_for_the_creators_own_rooms_and_only_so_many() -> None:
    story = StreamStory(rate=None, room_rules=RoomRules(overlays=1)).watch()
    assert code(story.join_overlay(creator_id=FAN)) == "FORBIDDEN"
    assert isinstance(story.join_overlay(), m.RoomJoined)
    assert isinstance(story.join_overlay(), m.RoomJoined), "again is no other"
    story.leave_overlay()
    assert story.done[-1] == effects.Remove(SCREEN, Audience.OVERLAYS)


def test_tips_between_the_query_and_the_join_are_neither_lost_nor_doubled() -> None:
    story = free()
    story.tip(FAN, 1)
    story.wait(1)
    asked_at = story.now
    story.tip(FAN, 2)  # in the database at the query, and published before the overlay joins
    missed = list(story.committer.tips)
    story.wait(1)
    story.tip(FAN, 3)
    joined = story.join_overlay(*missed, asked_at=asked_at)
    story.tip(FAN, 4)
    assert [past.amount_tokens for past in joined.history] == [1, 2, 3]
    assert [tip.amount_tokens for tip in tips(story, Audience.OVERLAYS)][joined.seq - 1 :] == [4]


def test_a_booked_tip_that_is_not_published_yet_is_received_once() -> None:
    story = free()
    story.storage_goes_away()
    story.tip(FAN, 7)
    arrivals = story.committer.commit_batch(story.epoch, story.now)
    joined = story.join_overlay(*story.committer.tips)
    for arrival in arrivals:
        story.give(arrival)
    after = tips(story, Audience.OVERLAYS)
    assert [past.amount_tokens for past in joined.history] + [tip.amount_tokens for tip in after] == [7]


def test_an_overlay_pays_nothing_and_does_not_make_the_creator_present() -> None:
    story = StreamStory()
    story.join_overlay()
    story.join(FAN)
    story.wait(300)
    assert (story.blocks(FAN), story.committer.stored.end_reason) == (0, "owner_lost")
    assert story.published(Audience.OVERLAYS)[-1].at == rfc3339(START + 300_000_000)
