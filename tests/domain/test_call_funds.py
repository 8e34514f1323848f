"""Low funds: a warning at once, another when the deadline moves, and the end of the call at the deadline."""

from domain.instant import rfc3339
from domain.protocol import commands as c
from domain.protocol import events as m
from domain.room import effects, inputs
from tests.domain.story import CREATOR, FAN, START, Story


def warnings(story: Story) -> list[m.BalanceLow | m.BalanceOk]:
    return [event for event in story.received(FAN) if isinstance(event, m.BalanceLow | m.BalanceOk)]


def at(seconds: float) -> str:
    return rfc3339(START + round(seconds * 1_000_000))


def test_a_fan_who_can_pay_the_next_block_receives_no_warning() -> None:
    story = Story(balance=60).connect()
    story.wait(29)
    assert warnings(story) == []


def test_a_fan_who_cannot_pay_the_next_block_is_warned_with_the_deadline_at_once() -> None:
    story = Story(balance=59).connect()
    [low] = warnings(story)
    assert isinstance(low, m.BalanceLow)
    assert (low.balance, low.required, low.seconds_left, low.ends_at) == (29, 30, 30.0, at(30))


def test_the_warning_comes_with_the_block_that_leaves_too_little() -> None:
    story = Story(balance=75).connect()
    assert warnings(story) == []
    story.wait(30)
    [low] = warnings(story)
    assert (low.balance, low.ends_at) == (15, at(60))


def test_at_the_deadline_the_call_ends_and_the_balance_is_unchanged() -> None:
    story = Story(balance=59).connect()
    story.wait(30)
    assert (story.end_reason, story.blocks, story.balance(FAN)) == ("insufficient_funds", 1, 29)
    assert story.kinds()[-1] == "call:ended"


def test_the_warning_is_sent_to_the_fan_only() -> None:
    story = Story(balance=59).connect()
    assert not [event for event in story.received(CREATOR) if isinstance(event, m.BalanceLow)]


def test_tokens_spent_elsewhere_warn_at_once() -> None:
    story = Story(balance=100).connect()
    story.wait(10)
    story.spend(50)
    [low] = warnings(story)
    assert (low.balance, low.seconds_left, low.ends_at) == (20, 20.0, at(30))


def test_a_top_up_is_noticed_at_once_and_the_call_goes_on() -> None:
    story = Story(balance=59).connect()
    story.wait(10)
    story.top_up(100)
    low, ok = warnings(story)
    assert isinstance(low, m.BalanceLow)
    assert isinstance(ok, m.BalanceOk)
    assert (ok.balance, ok.ends_at, ok.seconds_left) == (129, None, 20.0 + 120)
    story.wait(20)
    assert (story.status, story.blocks) == ("active", 2)


def test_a_top_up_just_before_the_deadline_is_in_time() -> None:
    story = Story(balance=30).connect()
    story.wait(29.999999)
    story.top_up(30)
    story.wait(10)
    assert (story.status, story.blocks, story.balance(FAN)) == ("active", 2, 0)


def test_a_top_up_that_the_room_does_not_know_still_pays_in_the_ledger() -> None:
    story = Story(balance=30).connect()
    story.ledger.wallets[FAN].balance += 30
    story.wait(30)
    assert (story.status, story.blocks) == ("active", 2)


def test_while_paused_there_is_no_deadline_and_after_it_a_later_one() -> None:
    story = Story(balance=30).connect()
    story.wait(10)
    story.act(FAN, c.CallPause)
    story.wait(100)
    story.act(FAN, c.CallResume)
    assert [warning.ends_at for warning in warnings(story)] == [at(30), None, at(130)]
    assert [warning.seconds_left for warning in warnings(story)] == [30.0, 20.0, 20.0]


def test_a_warning_is_not_repeated_while_nothing_moves() -> None:
    story = Story(balance=30).connect()
    for _ in range(10):
        story.send_funds()
        story.join(CREATOR, 2)
        story.leave(CREATOR, 2)
        story.wait(2)
    assert len(warnings(story)) == 1


def test_low_funds_while_paused_by_an_absence_are_sent_without_a_deadline() -> None:
    story = Story(balance=100).connect()
    story.leave(FAN)
    story.wait(15)
    story.spend(60)
    assert [warning.ends_at for warning in warnings(story)] == [None]
    story.join(FAN)
    assert [warning.ends_at for warning in warnings(story)] == [None, at(35)]


def test_a_budget_ends_the_call_before_the_block_that_would_pass_it() -> None:
    story = Story(max_tokens=89).connect()
    story.wait(59)
    assert story.blocks == 2
    story.wait(1)
    assert (story.end_reason, story.blocks, story.balance(CREATOR)) == ("budget_reached", 2, 60)


def test_a_budget_may_be_used_to_its_last_token() -> None:
    story = Story(max_tokens=90).connect()
    story.wait(89)
    assert story.blocks == 3
    story.wait(1)
    assert story.end_reason == "budget_reached"


def test_a_budget_counts_blocks_that_still_wait() -> None:
    story = Story(max_tokens=60).connect()
    story.storage_goes_away()
    story.wait(65)
    assert (story.end_reason, story.call.settled) == ("budget_reached", False)
    story.storage_comes_back()
    assert (story.call.settled, story.blocks) == (True, 2)


def test_a_fan_who_reaches_the_budget_is_not_warned_of_the_balance() -> None:
    story = Story(balance=40, max_tokens=30).connect()
    assert warnings(story) == []


def test_the_seconds_left_end_with_the_budget() -> None:
    story = Story(max_tokens=60).connect()
    [wallet] = [event for event in story.received(FAN) if isinstance(event, m.WalletChanged)]
    assert wallet.seconds_left == 60.0


def test_a_waiting_block_refused_for_want_of_tokens_withdraws_the_later_ones_and_ends_the_call() -> None:
    story = Story(balance=60).connect()
    story.storage_goes_away()
    story.wait(65)
    assert story.call.meter.posted == 3
    story.ledger.wallets[FAN].balance -= 40  # spent elsewhere, before storage went away from here
    story.storage_comes_back()
    assert (story.end_reason, story.blocks, story.call.settled) == ("insufficient_funds", 1, True)
    assert [effect for effect in story.done if isinstance(effect, effects.Withdraw)]


def test_a_late_receipt_sends_the_fan_no_older_balance() -> None:
    story = Story(balance=100)
    story.storage_goes_away()
    story.connect()
    story.ledger.apply([effect.posting for effect in story.done if isinstance(effect, effects.Post)])
    story.spend(20)  # booked after block 1, and received before its receipt
    story.storage_comes_back()
    [wallet] = [event for event in story.received(FAN) if isinstance(event, m.WalletChanged)]
    assert wallet.balance == story.balance(FAN) == 50


def test_sent_balances_are_the_newest_known() -> None:
    story = Story(balance=100).connect()
    story.commit_seconds = 5
    story.wait(30)
    story.spend(10)  # before block 2 commits
    story.wait(5)
    assert story.call.meter.funds.balance == story.balance(FAN) == 30


def test_a_fan_who_joins_anew_receives_the_standing_warning() -> None:
    story = Story(balance=59).connect()
    story.wait(5)
    story.join(FAN)
    first, again = warnings(story)
    assert (again.balance, again.ends_at) == (first.balance, first.ends_at)
    assert again.seconds_left == 25.0


def test_after_a_resume_the_fan_receives_the_present_state_whatever_it_is() -> None:
    story = Story(balance=90).connect()
    story.give(inputs.PayerResumed(FAN))
    [ok] = warnings(story)
    assert isinstance(ok, m.BalanceOk)
    assert (ok.balance, ok.required, ok.seconds_left, ok.ends_at) == (60, 30, 90.0, None)
    story.wait(10)
    story.spend(50)
    story.give(inputs.PayerResumed(FAN))
    assert [(type(each), each.seconds_left) for each in warnings(story)[1:]] == [(m.BalanceLow, 20.0)] * 2
    story.wait(1)
    assert len(warnings(story)) == 3, "each resume is answered once"


def test_after_a_resume_neither_the_creator_nor_a_fan_whose_call_rings_receives_a_state() -> None:
    story = Story(balance=90)
    story.give(inputs.PayerResumed(FAN))
    story.connect()
    story.give(inputs.PayerResumed(CREATOR))
    assert warnings(story) == []
