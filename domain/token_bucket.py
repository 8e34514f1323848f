"""Token buckets in whole units, by the clock of a room: limits on chat, signals, resumes and viewer events.

`throttle.py` has the token bucket for requests and websocket messages, by a clock in seconds.
"""

from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

from domain.instant import Duration, Instant

SECOND: Duration = 1_000_000
MOST_IDLE = 256  # number of buckets at which full ones are first removed

K = TypeVar("K", bound=Hashable)


class Rate(NamedTuple):
    """Units per second on average, and units at once."""

    per_second: float
    burst: int


class TokenBucket:
    """A token bucket of one sender or receiver.

    A refused request costs nothing, so it does not delay the next one. Check with `wait`, then `spend`.
    """

    __slots__ = ("_rate", "_seen_at", "_used")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._used = 0.0  # units that are spent and not refilled yet, each counted as SECOND
        self._seen_at: Instant = 0

    def wait(self, units: int, at: Instant) -> Duration:
        """Return how long it takes until `units` may be spent; 0 if they may be spent now."""
        self._refill(at)
        over = self._used + units * SECOND - self._rate.burst * SECOND
        return 0 if over <= 0 else -int(-over // self._rate.per_second)

    def opens_at(self, units: int) -> Instant:
        """Return when `units` may be spent, if nothing else is spent before."""
        return self._seen_at + self.wait(units, self._seen_at)

    def spend(self, units: int, at: Instant) -> None:
        """Spend `units`. The caller has checked `wait`; more than there is makes later waits longer."""
        self._refill(at)
        self._used += units * SECOND

    def is_full(self, at: Instant) -> bool:
        """Return whether nothing is spent, so that a new bucket would be the same."""
        self._refill(at)
        return self._used == 0

    def _refill(self, at: Instant) -> None:
        if at > self._seen_at:
            self._used = max(0.0, self._used - (at - self._seen_at) * self._rate.per_second)
            self._seen_at = at


class TokenBuckets(Generic[K]):
    """One bucket for each key, usually a user.

    Full buckets are removed, so the number of buckets follows the number of keys that were active lately.
    """

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._buckets: dict[K, TokenBucket] = {}
        self._look_through_at = MOST_IDLE

    def of(self, key: K, at: Instant) -> TokenBucket:
        """Return the bucket of this key; a new one is full."""
        bucket = self._buckets.get(key)
        if bucket is None:
            self._forget_full(at)
            bucket = self._buckets[key] = TokenBucket(self._rate)
        return bucket

    def __len__(self) -> int:
        return len(self._buckets)

    def _forget_full(self, at: Instant) -> None:
        """Remove full buckets once the number of buckets has doubled, which bounds the cost of a new one."""
        if len(self._buckets) >= self._look_through_at:
            self._buckets = {key: bucket for key, bucket in self._buckets.items() if not bucket.is_full(at)}
            self._look_through_at = max(MOST_IDLE, 2 * len(self._buckets))
