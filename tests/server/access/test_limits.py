"""Token buckets of requests: which requests they admit, which limits they report, and their maximum number."""

import trio
from trio.testing import MockClock

from server.access.rate_limits import OwnBuckets, RateLimit, RateLimits, Taken
from server.config.settings import LimitSettings

LIMIT = RateLimit("user", 2.0, 3)


async def take(buckets: OwnBuckets, times: int, key: str = "finn") -> list[Taken]:
    return [await buckets.take(key) for _ in range(times)]


async def test_a_burst_is_admitted_and_then_so_many_a_second(autojump_clock: MockClock) -> None:
    buckets = OwnBuckets(LIMIT)
    assert [(taken.allowed, taken.left) for taken in await take(buckets, 4)] == [
        (True, 2),
        (True, 1),
        (True, 0),
        (False, 0),
    ]
    await trio.sleep(1)
    assert [taken.allowed for taken in await take(buckets, 3)] == [True, True, False]


async def test_a_client_that_goes_on_though_refused_is_not_penalised(autojump_clock: MockClock) -> None:
    buckets = OwnBuckets(LIMIT)
    await take(buckets, 1000)
    await trio.sleep(0.5)
    assert [taken.allowed for taken in await take(buckets, 2)] == [True, False]


async def test_after_the_reported_wait_one_more_request_is_admitted(autojump_clock: MockClock) -> None:
    buckets = OwnBuckets(RateLimit("money", 0.1, 1))
    assert (await take(buckets, 1))[0].more_after_seconds == 10
    await trio.sleep(3.5)
    (refused,) = await take(buckets, 1)
    assert (refused.allowed, refused.more_after_seconds) == (False, 7)
    await trio.sleep(refused.more_after_seconds)
    assert (await take(buckets, 1))[0].allowed


async def test_the_requests_of_one_user_do_not_limit_another(autojump_clock: MockClock) -> None:
    buckets = OwnBuckets(LIMIT)
    await take(buckets, 10, "finn")
    assert (await take(buckets, 1, "cleo"))[0].left == 2


async def test_limits_are_reported_as_the_draft_specifies(autojump_clock: MockClock) -> None:
    (taken,) = await take(OwnBuckets(RateLimit("user", 10.0, 100)), 1)
    assert taken.limit.policy == '"user";q=100;w=10'
    assert taken.state == '"user";r=99;t=1'


async def test_a_hundred_thousand_addresses_do_not_grow_the_buckets_past_their_bound(autojump_clock: MockClock) -> None:
    buckets = OwnBuckets(LIMIT, remembered=1000)
    for number in range(100_000):
        await buckets.take(str(number))
    assert len(buckets) == 1000


async def test_the_least_recently_used_bucket_is_forgotten_first(autojump_clock: MockClock) -> None:
    buckets = OwnBuckets(LIMIT, remembered=2)
    await take(buckets, 3, "hasty")
    for number in range(10):
        await buckets.take(str(number))
        assert not (await buckets.take("hasty")).allowed, "who keeps asking is remembered, whoever else comes"
    await take(buckets, 1, "x")
    await take(buckets, 1, "y")
    assert (await buckets.take("hasty")).allowed


async def test_a_hundred_thousand_addresses_leave_the_users_buckets_alone(autojump_clock: MockClock) -> None:
    limits = RateLimits(LimitSettings(user_burst=1), lambda limit: OwnBuckets(limit, remembered=10))
    await limits.take("user", "finn")
    for number in range(100):
        await limits.take("address", str(number))
    assert not (await limits.take("user", "finn")).allowed
