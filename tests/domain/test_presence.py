"""A party is present while one of its connections has joined and is responsive."""

from uuid import UUID

import msgspec

from domain.billing.block import ActiveClock
from domain.call.parties import Hold, Parties, Party, Role
from domain.call.record import CallRecord, CallRules
from domain.ids import MemberId, UserId
from domain.token_bucket import Rate

PHONE, LAPTOP = MemberId(UUID(int=1)), MemberId(UUID(int=2))
FAN, CREATOR = UserId(UUID(int=3)), UserId(UUID(int=4))
SECOND = 1_000_000


def a_fan() -> Party:
    return Party(Role.FAN, FAN, Rate(1, 30))


def test_a_party_without_connections_is_absent_but_never_dropped() -> None:
    fan = a_fan()
    assert not fan.present
    assert fan.dropped_at is None


def test_one_connection_is_enough_to_be_present() -> None:
    fan = a_fan()
    fan.note_responsive(PHONE)
    fan.note_responsive(LAPTOP)
    fan.note_left(PHONE, 10)
    assert fan.present
    assert fan.dropped_at is None


def test_leaving_with_the_last_connection_is_a_drop_at_once() -> None:
    fan = a_fan()
    fan.note_responsive(PHONE)
    fan.note_left(PHONE, 10)
    assert not fan.present
    assert fan.dropped_at == 10


def test_a_silent_connection_is_absent_until_it_is_responsive_again() -> None:
    fan = a_fan()
    fan.note_responsive(PHONE)
    fan.note_silent(PHONE, 10, 4)
    assert not fan.present
    assert fan.knows(PHONE)
    fan.note_responsive(PHONE)
    assert fan.present
    assert fan.dropped_at is None


def test_a_drop_counts_from_when_it_began_though_the_silent_connection_leaves_later() -> None:
    fan = a_fan()
    fan.note_responsive(PHONE)
    fan.note_silent(PHONE, 10, 4)
    fan.note_left(PHONE, 20)
    assert fan.dropped_at == 10
    assert not fan.knows(PHONE)


def test_a_second_connection_makes_a_party_present_while_the_first_is_silent() -> None:
    fan = a_fan()
    fan.note_responsive(PHONE)
    fan.note_silent(PHONE, 10, 4)
    fan.note_responsive(LAPTOP)
    assert fan.present
    fan.note_left(PHONE, 30)
    assert fan.present


def test_a_connection_that_never_joined_means_nothing() -> None:
    fan = a_fan()
    fan.note_silent(PHONE, 10, 4)
    fan.note_left(PHONE, 20)
    assert fan.dropped_at is None
    assert not fan.knows(PHONE)


def parties() -> Parties:
    return Parties(FAN, CREATOR, CallRules(), ActiveClock())


def test_parties_are_found_by_user_and_by_connection() -> None:
    both = parties()
    both.fan.note_responsive(PHONE)
    assert both.of(FAN) is both.fan
    assert both.of(CREATOR) is both.creator
    assert both.of(UserId(UUID(int=9))) is None
    assert both.with_member(PHONE) is both.fan
    assert both.with_member(LAPTOP) is None


def test_a_drop_becomes_a_hold_after_the_grace_and_an_end_after_the_limit() -> None:
    both = parties()
    both.creator.note_responsive(PHONE)
    both.creator.note_left(PHONE, 5 * SECOND)
    assert list(both.absences()) == [(15 * SECOND, Hold.ABSENT_CREATOR)]
    assert list(both.ends()) == [(65 * SECOND, "peer_lost", both.creator)]


def test_a_hold_that_is_set_has_no_deadline() -> None:
    both = parties()
    both.fan.note_responsive(PHONE)
    both.fan.note_left(PHONE, 0)
    both.holds.add(Hold.ABSENT_FAN)
    assert list(both.absences()) == []


def test_a_pause_by_hand_ends_after_its_limit() -> None:
    both = parties()
    both.fan.paused_at = 5 * SECOND
    assert list(both.ends()) == [(605 * SECOND, "pause_limit", both.fan)]


def test_pauses_of_one_party_add_up_and_those_of_the_other_do_not() -> None:
    both = parties()
    for start, end in ((0, 400), (500, 650)):
        both.fan.paused_at = start * SECOND
        both.fan.resume(end * SECOND)
    both.creator.paused_at = 700 * SECOND
    assert list(both.ends()) == [(1300 * SECOND, "pause_limit", both.creator)]
    both.creator.resume(701 * SECOND)
    both.fan.paused_at = 800 * SECOND
    assert list(both.ends()) == [(850 * SECOND, "pause_limit", both.fan)]
    both.fan.resume(850 * SECOND)
    both.fan.paused_at = 900 * SECOND
    assert list(both.ends()) == [(900 * SECOND, "pause_limit", both.fan)], "nothing of the limit is left"


def test_a_stall_during_a_pause_does_not_count() -> None:
    both = parties()
    both.fan.paused_at = 0
    both.excuse(100 * SECOND)
    assert list(both.ends()) == [(700 * SECOND, "pause_limit", both.fan)]
    both.fan.resume(400 * SECOND)
    assert both.fan.paused_before == 300 * SECOND


def test_the_last_byte_of_a_party_is_the_last_of_any_of_its_connections() -> None:
    fan = a_fan()
    fan.note_responsive(PHONE)
    fan.note_responsive(LAPTOP)
    fan.note_silent(PHONE, 20, 12)
    fan.note_silent(LAPTOP, 21, 11)
    assert fan.last_received_at == 12
    fan.note_responsive(PHONE)
    fan.note_left(PHONE, 30)
    assert fan.last_received_at == 30


def test_a_hold_stops_the_clock_and_the_last_one_lifted_starts_it() -> None:
    clock = ActiveClock()
    clock.start(0)
    both = Parties(FAN, CREATOR, CallRules(), clock)
    assert both.hold(Hold.FAN, 10)
    assert both.hold(Hold.STORAGE, 20)
    assert (clock.running, clock.active(99)) == (False, 10)
    assert both.names_of_holds() == ["fan", "storage"]
    assert both.lift({Hold.FAN}, 30)
    assert not clock.running
    assert both.lift({Hold.STORAGE, Hold.RESTART}, 40)
    assert clock.active(45) == 15


def test_a_hold_that_is_set_or_released_a_second_time_changes_nothing() -> None:
    both = parties()
    both.hold(Hold.FAN, 10)
    assert not both.hold(Hold.FAN, 20)
    assert not both.lift({Hold.CREATOR}, 30)
    assert both.holds == {Hold.FAN}


def test_after_a_restart_both_are_away_and_hand_pauses_stand() -> None:
    both = parties()
    stored = CallRecord(creator_paused_at=3 * SECOND, fan_paused=7 * SECOND, creator_paused=8 * SECOND)
    both.adopt(msgspec.structs.replace(stored, holds=("absent:fan", "creator")), 50 * SECOND)
    assert both.holds == {Hold.RESTART, Hold.CREATOR}
    assert both.fan.dropped_at == both.creator.dropped_at == 50 * SECOND
    assert both.creator.paused_at == 3 * SECOND
    assert (both.fan.paused_before, both.creator.paused_before) == (7 * SECOND, 8 * SECOND)
