"""Rate limits: one token bucket for each address, and one for each authenticated user.

Requests are counted by address before their token is verified, and by user afterwards (contract.md, Limits). The HTTP
and websocket ports share the buckets, so that a second connection or transport does not double a user's budget.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from typing import Literal, NamedTuple, Protocol

import trio

from domain.refusals import Code, Refusal
from domain.throttle import Throttle
from server.config.settings import LimitSettings

# Keys in one process; beyond, the least recently used one is forgotten and starts again with a full bucket. That does
# not circumvent a limit: it takes this many other keys, each with a bucket of its own, and an unused bucket is full
# after `burst / per_second` seconds anyway.
REMEMBERED = 100_000

Name = Literal["address", "probe", "proof", "user", "money", "handshake", "join", "open"]


class RateLimit(NamedTuple):
    """A limit: `per_second` requests on average, and `burst` at once.

    By address, `address` counts HTTP requests, `probe` those to the health routes, `proof` failed attempts to prove a
    secret, and `handshake` websocket handshakes. By user, `user` counts requests, `money` those that move tokens,
    `join` joins of rooms, and `open` sessions that are opened or resumed.
    """

    name: Name
    per_second: float
    burst: int

    @property
    def policy(self) -> str:
        """Return the item of `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11).

        `q` is the quota and `w` its window: the seconds in which an empty bucket becomes full.
        """
        return _policy(self)


@cache
def _policy(limit: RateLimit) -> str:
    return f'"{limit.name}";q={limit.burst};w={math.ceil(limit.burst / limit.per_second)}'


class Taken(NamedTuple):
    """The result of counting one request under one limit."""

    limit: RateLimit
    allowed: bool
    left: int  # requests that may follow at once
    more_after_seconds: int  # whole seconds until one more is allowed, at least 1

    @property
    def state(self) -> str:
        """Return the item of `RateLimit`: `r` requests remain, and one more is allowed after `t` seconds."""
        return f'"{self.limit.name}";r={self.left};t={self.more_after_seconds}'


def why_not(taken: Taken) -> Refusal | None:
    """Return RATE_LIMITED with `retryAfterSeconds` for a request over its limit, else None.

    REST and the websocket share it.
    """
    if taken.allowed:
        return None
    too_early = {"retryAfterSeconds": taken.more_after_seconds}
    return Refusal(Code.RATE_LIMITED, "Too many requests; slow down", too_early)


class RateLimitsUnavailable(Exception):
    """The buckets are kept elsewhere and cannot be reached, so requests cannot be counted and are refused."""


class Buckets(Protocol):
    """The buckets of one limit: in this process, or in a store that servers share."""

    async def take(self, key: str) -> Taken:
        """Count one request of this address or user, and return whether it is allowed. Raises RateLimitsUnavailable.

        A request that is not allowed does not count, so a client that repeats it is served at the average rate.
        """
        ...


class OwnBuckets:
    """Buckets in this process, for at most `remembered` keys. Of several servers, each counts for itself."""

    def __init__(self, limit: RateLimit, remembered: int = REMEMBERED) -> None:
        self._limit = limit
        self._remembered = remembered
        self._by_key: OrderedDict[str, Throttle] = OrderedDict()  # the least recently used one first

    async def take(self, key: str) -> Taken:
        """Count one request of this address or user. Never waits and raises nothing."""
        token_bucket = self._token_bucket(key)
        allowed = token_bucket.take_if_due(trio.current_time())
        return Taken(self._limit, allowed, token_bucket.left, max(1, math.ceil(token_bucket.more_after_seconds)))

    def _token_bucket(self, key: str) -> Throttle:
        """Find or make the bucket of a key, and mark it as the most recently used one."""
        token_bucket = self._by_key.get(key)
        if token_bucket is None:
            token_bucket = self._by_key[key] = Throttle(self._limit.per_second, self._limit.burst)
            if len(self._by_key) > self._remembered:
                self._by_key.popitem(last=False)
        self._by_key.move_to_end(key)
        return token_bucket

    def __len__(self) -> int:
        return len(self._by_key)


class RateLimits:
    """All rate limits of a server; `keep` makes the buckets of each limit, by default in this process."""

    def __init__(self, settings: LimitSettings, keep: Callable[[RateLimit], Buckets] = OwnBuckets) -> None:
        limits = (
            RateLimit("address", settings.address_per_second, settings.address_burst),
            RateLimit("probe", settings.probes_per_second, settings.probes_burst),
            RateLimit("proof", settings.proofs_per_second, settings.proofs_burst),
            RateLimit("user", settings.user_per_second, settings.user_burst),
            RateLimit("money", settings.money_per_second, settings.money_burst),
            RateLimit("handshake", settings.handshakes_per_second, settings.handshakes_burst),
            RateLimit("join", settings.joins_per_second, settings.joins_burst),
            RateLimit("open", settings.opens_per_second, settings.opens_burst),
        )
        self._buckets: dict[Name, Buckets] = {limit.name: keep(limit) for limit in limits}

    async def take(self, name: Name, key: str) -> Taken:
        """Count one request of `key` (an address or a user id) under a limit, and return the result.

        Addresses are passed as `limited_as` returns them. Raises RateLimitsUnavailable.
        """
        return await self._buckets[name].take(key)
