"""How long a fan waits before ringing again after calls without a paid block."""

import pytest

from domain.call.ring_cooldown import PastCall, may_ring_at
from domain.instant import duration

NOW = duration(100_000)
COOLDOWN = duration(60)


def calls(*ends: tuple[float, str, int]) -> list[PastCall]:
    """Return calls that ended so many seconds ago each, the newest first."""
    return [PastCall(NOW - duration(ago), reason, blocks) for ago, reason, blocks in ends]


def wait(*ends: tuple[float, str, int], cooldown: int = COOLDOWN) -> float:
    at = may_ring_at(calls(*ends), NOW, cooldown)
    return 0 if at is None else (at - NOW) / 1_000_000


def cancelled(times: int, ago: float = 0) -> list[tuple[float, str, int]]:
    return [(ago + n, "cancelled", 0) for n in range(times)]


@pytest.mark.parametrize("reason", ["declined", "missed"])
def test_after_a_call_that_was_not_taken_the_fan_waits_a_minute(reason: str) -> None:
    assert wait((0, reason, 0)) == 60
    assert wait((59, reason, 0)) == 1
    assert wait((60, reason, 0)) == 0


def test_a_first_call_has_no_cooldown() -> None:
    assert wait() == 0


@pytest.mark.parametrize(
    ("times", "seconds"), [(1, 0), (2, 10), (3, 20), (4, 40), (5, 80), (6, 160), (7, 320), (8, 600), (64, 600)]
)
def test_the_wait_after_calls_that_came_to_nothing_doubles_up_to_ten_cooldowns(times: int, seconds: float) -> None:
    assert wait(*cancelled(times)) == seconds


@pytest.mark.parametrize("reason", ["peer_lost", "hangup", "creator_ended", "insufficient_funds"])
def test_any_end_without_a_block_counts(reason: str) -> None:
    assert wait((3, reason, 0), (5, "cancelled", 0)) == 7


@pytest.mark.parametrize("reason", ["server_fault", "admin"])
def test_a_call_that_the_server_ended_does_not_count(reason: str) -> None:
    assert wait((3, reason, 0), (5, "cancelled", 0)) == 0


def test_a_paid_block_ends_the_counting() -> None:
    assert wait((1, "cancelled", 0), (2, "hangup", 1), *cancelled(8, ago=3)) == 0


def test_an_hour_without_a_call_ends_the_counting() -> None:
    assert wait(*cancelled(2, ago=3601)) == 0
    assert wait((1, "cancelled", 0), *cancelled(8, ago=3602)) == 0
    assert wait((1, "cancelled", 0), *cancelled(1, ago=3600)) == 9


def test_of_two_waits_the_longer_one_counts() -> None:
    assert wait((5, "cancelled", 0), (10, "declined", 0)) == 50
    assert wait(*cancelled(8), (20, "missed", 0)) == 600


def test_without_a_cooldown_nobody_waits() -> None:
    assert wait(*cancelled(8), cooldown=0) == 0
