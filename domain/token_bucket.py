"""Token buckets counted in whole units by a room's clock: what one sender may cause, and what one receiver may get."""

from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

from domain.instant import Duration, Instant

SECOND: Duration = 1_000_000
MOST_IDLE = 256  # buckets that may be full again before they are looked through and forgotten

K = TypeVar("K", bound=Hashable)


class Rate(NamedTuple):
    """Units a second on average, and units at once."""

    per_second: float
    burst: int


class TokenBucket:
    """A token bucket. A request that is refused costs nothing, so that it never makes the next one wait longer."""

    __slots__ = ("_rate", "_seen_at", "_used")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._used = 0.0  # units, in microseconds of the rate: 1 unit is SECOND
        self._seen_at: Instant = 0

    def wait(self, units: int, at: Instant) -> Duration:
        """How long it takes until so many units may be spent; 0: they may be now."""
        self._refill(at)
        over = self._used + units * SECOND - self._rate.burst * SECOND
        return 0 if over <= 0 else -int(-over // self._rate.per_second)

    def opens_at(self, units: int) -> Instant:
        """When so many units may be spent if nothing is spent before."""
        return self._seen_at + self.wait(units, self._seen_at)

    def spend(self, units: int, at: Instant) -> None:
        self._refill(at)
        self._used += units * SECOND

    def is_full(self, at: Instant) -> bool:
        """Nothing of it is spent."""
        self._refill(at)
        return self._used == 0

    def _refill(self, at: Instant) -> None:
        if at > self._seen_at:
            self._used = max(0.0, self._used - (at - self._seen_at) * self._rate.per_second)
            self._seen_at = at


class TokenBuckets(Generic[K]):
    """A bucket for each user. Full ones are forgotten, so there are as many as users who spent something lately."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._buckets: dict[K, TokenBucket] = {}
        self._look_through_at = MOST_IDLE

    def of(self, key: K, at: Instant) -> TokenBucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            self._forget_full(at)
            bucket = self._buckets[key] = TokenBucket(self._rate)
        return bucket

    def __len__(self) -> int:
        return len(self._buckets)

    def _forget_full(self, at: Instant) -> None:
        """Once the number has doubled since the last look: each bucket is looked at a bounded number of times."""
        if len(self._buckets) >= self._look_through_at:
            self._buckets = {key: bucket for key, bucket in self._buckets.items() if not bucket.is_full(at)}
            self._look_through_at = max(MOST_IDLE, 2 * len(self._buckets))
