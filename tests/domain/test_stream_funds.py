"""A viewer whose funds run low, run out, and return; and storage that is unavailable."""

from domain.instant import rfc3339
from domain.protocol import events as m
from domain.room import inputs
from tests.domain.story import CREATOR, FAN, START, code
from tests.domain.stream_story import OTHER, StreamStory, earnings


def warnings(story: StreamStory) -> list[m.BalanceLow | m.BalanceOk]:
    return [event for event in story.received(FAN) if isinstance(event, m.BalanceLow | m.BalanceOk)]


def test_a_viewer_who_cannot_pay_the_next_block_is_warned_with_the_deadline_once_the_last_is_paid() -> None:
    story = StreamStory(balance=30).watch(FAN)
    [low] = warnings(story)
    assert isinstance(low, m.BalanceLow)
    assert (low.balance, low.required, low.seconds_left) == (0, 30, 30)
    assert low.ends_at == rfc3339(START + 30_000_000)
    assert story.received_types(FAN)[-1] == "balance:low"


def test_the_warning_waits_for_the_receipt() -> None:
    story = StreamStory(balance=30)
    story.storage_goes_away()
    story.watch(FAN)
    assert warnings(story) == []
    story.storage_comes_back()
    assert [warning.balance for warning in warnings(story)] == [0]


def test_a_viewer_who_spends_elsewhere_is_warned_at_once() -> None:
    story = StreamStory(balance=100).watch(FAN)
    story.wait(10)
    story.spend(FAN, 50)
    [low] = warnings(story)
    assert (low.balance, low.seconds_left, low.ends_at) == (20, 20, rfc3339(START + 30_000_000))


def test_a_top_up_is_noticed_at_once() -> None:
    story = StreamStory(balance=30).watch(FAN)
    story.wait(10)
    story.top_up(FAN, 60)
    ok = warnings(story)[-1]
    assert isinstance(ok, m.BalanceOk)
    assert (ok.balance, ok.seconds_left, ok.ends_at) == (60, 80, None)
    story.wait(20)
    assert story.blocks(FAN) == 2


def test_the_deadline_is_null_while_the_clock_stands_and_sent_anew_when_it_runs() -> None:
    story = StreamStory(balance=30).watch(FAN)
    story.wait(10)
    story.leave(CREATOR)
    assert warnings(story)[-1].ends_at is None
    story.wait(50)
    story.join(CREATOR)
    assert warnings(story)[-1].ends_at == rfc3339(START + 80_000_000)
    assert len(warnings(story)) == 3


def test_a_second_device_receives_a_standing_warning() -> None:
    story = StreamStory(balance=30).watch(FAN)
    story.join(FAN, 2)
    assert len(warnings(story)) == 2


def test_a_balance_read_for_a_refused_second_device_warns_the_first() -> None:
    story = StreamStory(balance=30)
    story.join(FAN)
    story.spend_silently(FAN, 1)
    assert code(story.join(FAN, 2)) == "INSUFFICIENT_TOKENS"
    assert [warning.balance for warning in warnings(story)] == [29]


def test_a_viewer_who_cannot_pay_is_evicted_at_the_deadline() -> None:
    story = StreamStory(balance=45).watch(FAN, OTHER)
    story.join(FAN, 2)
    story.wait(29.999999)
    assert story.is_in(FAN)
    story.wait(0.000001)
    assert (story.revoked(FAN), story.is_in(FAN), story.balance(FAN)) == (["insufficient_funds"], False, 15)
    assert story.kinds().count("member:left") == 3
    assert code(story.join(FAN)) == "INSUFFICIENT_TOKENS"


def test_an_evicted_viewer_who_tops_up_continues_after_the_last_paid_block() -> None:
    story = StreamStory(balance=30).watch(FAN)
    story.wait(30)
    assert story.revoked(FAN) == ["insufficient_funds"]
    story.top_up(FAN, 90)
    story.join(FAN)
    assert story.blocks(FAN) == 2
    story.wait(30)
    assert (story.blocks(FAN), story.balance(FAN), story.balance(CREATOR)) == (3, 30, 90)


def test_time_without_the_creator_is_given_back_to_a_viewer_who_could_not_pay_the_next_block() -> None:
    story = StreamStory(balance=30).watch(FAN)
    story.wait(30)
    assert story.revoked(FAN) == ["insufficient_funds"]
    story.fall_silent(CREATOR, for_seconds=6)
    story.be_responsive(CREATOR)
    story.join(FAN)
    assert story.is_in(FAN), "six seconds of the paid block are left"
    story.wait(6)
    assert (story.blocks(FAN), story.revoked(FAN)) == (1, ["insufficient_funds"] * 2)


def test_a_viewer_at_their_daily_limit_is_evicted_too() -> None:
    story = StreamStory().watch(FAN)
    story.ledger.allow(FAN, 30)
    story.wait(30)
    assert (story.revoked(FAN), story.balance(FAN)) == (["insufficient_funds"], 9_970)


def test_a_viewer_who_spends_all_elsewhere_is_evicted_and_never_in_debt() -> None:
    story = StreamStory(balance=60).watch(FAN)
    story.wait(29.999999)
    story.spend_silently(FAN, 30)
    story.wait(1)
    assert (story.revoked(FAN), story.balance(FAN), story.blocks(FAN)) == (["insufficient_funds"], 0, 1)


def test_a_join_that_read_the_database_before_the_eviction_gains_nothing() -> None:
    story = StreamStory(balance=30).watch(FAN)
    story.wait(20)
    asked = story.read_meter(FAN)
    story.wait(10)
    story.top_up(FAN, 60)
    story.join_with(asked, FAN)
    assert story.blocks(FAN) == 2
    story.wait(30)
    assert story.blocks(FAN) == 3


def test_a_join_that_read_the_database_before_the_last_receipt_charges_nothing_twice() -> None:
    story = StreamStory(balance=60).watch(FAN)
    story.storage_goes_away()
    story.wait(29)
    asked = story.read_meter(FAN)
    story.wait(31)
    story.storage_comes_back()
    assert (story.blocks(FAN), story.revoked(FAN)) == (2, ["insufficient_funds"])
    story.top_up(FAN, 30)
    story.join_with(asked, FAN)
    assert (story.blocks(FAN), story.balance(CREATOR)) == (3, 90)
    assert [changes.earned for changes in earnings(story)] == [30, 60, 90]


# Unavailable storage


def test_without_storage_a_viewing_session_goes_on_for_a_minute_and_then_its_clock_stands() -> None:
    story = StreamStory().watch(FAN)
    story.storage_goes_away()
    story.wait(1000)
    posted = [effect for effect in story.done if hasattr(effect, "posting")]
    assert len(posted) == 3, "block 2 has waited for 60 s as block 4 would fall due"
    story.storage_comes_back()
    assert story.blocks(FAN) == 4


def test_once_storage_is_back_the_clock_runs_on_from_where_it_stood() -> None:
    story = StreamStory().watch(FAN)
    story.wait(10)
    story.storage_goes_away()
    story.wait(500)  # block 2 falls due at 30 s, block 3 at 60 s; at 90 s the clock stands
    story.storage_comes_back()
    blocks = story.blocks(FAN)
    story.wait(29.999999)
    assert story.blocks(FAN) == blocks
    story.wait(0.000001)
    assert story.blocks(FAN) == blocks + 1


def test_a_clock_that_stood_as_a_receipt_became_overdue_does_not_run_before_it() -> None:
    story = StreamStory().watch(FAN)
    story.storage_goes_away()
    story.wait(40)  # block 2 waits since 30 s
    story.leave(CREATOR)
    story.wait(200)
    story.join(CREATOR)
    story.wait(100)
    assert story.stream.viewing_sessions.find(FAN) is not None
    story.storage_comes_back()
    assert story.blocks(FAN) == 2
    story.wait(19.999999)
    assert story.blocks(FAN) == 2
    story.wait(0.000001)
    assert story.blocks(FAN) == 3


def test_the_first_refused_block_of_several_evicts_and_later_ones_are_never_charged() -> None:
    story = StreamStory(balance=60).watch(FAN, OTHER)
    story.storage_goes_away()
    story.wait(70)  # block 2 is in flight, block 3 waits behind it
    story.spend_silently(FAN, 30)
    story.storage_comes_back()
    assert (story.revoked(FAN), story.blocks(FAN), story.balance(FAN)) == (["insufficient_funds"], 1, 0)
    assert story.revoked(OTHER) == ["insufficient_funds"], "who could pay two of three blocks had both"
    assert story.blocks(OTHER) == 2


def test_a_batch_with_a_refused_block_and_one_behind_it_is_no_fault() -> None:
    story = StreamStory(balance=45)
    story.watch(OTHER)
    story.storage_goes_away()
    story.wait(1)
    story.join(FAN)
    story.wait(60)
    story.spend_silently(FAN, 16)
    batches = story.committer
    story.storage_comes_back()
    assert batches.batch == []
    assert (story.blocks(FAN), story.revoked(FAN)) == (0, ["insufficient_funds"])


def test_an_evicted_viewer_may_not_return_before_the_last_receipt() -> None:
    story = StreamStory(balance=30)
    story.watch(FAN)
    story.storage_goes_away()
    story.wait(60)
    story.top_up(FAN, 300)
    story.ledger.allow(FAN, 30)
    story.commit_batch()
    assert story.revoked(FAN) == ["insufficient_funds"]
    assert story.committer.batch, "the withdrawn block has no receipt yet"
    assert code(story.join(FAN)) == "OVERLOADED"
    story.ledger.allow(FAN, None)
    story.storage_comes_back()
    assert isinstance(story.join(FAN), m.RoomJoined)
    assert story.blocks(FAN) == 2


def test_after_a_resume_a_viewer_receives_the_present_state_once() -> None:
    story = StreamStory(balance=90).watch(FAN)
    story.give(inputs.PayerResumed(FAN))
    story.give(inputs.PayerResumed(OTHER))
    [ok] = warnings(story)
    assert isinstance(ok, m.BalanceOk)
    assert (ok.balance, ok.seconds_left, ok.ends_at) == (60, 90, None)
    story.wait(1)
    assert len(warnings(story)) == 1
