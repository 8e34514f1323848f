"""Limits on every route: their headers, the user or address that is counted, and refusal without a count."""

import math
import re
import time
from typing import Any

import httpx
import msgspec
import pytest
import trio
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from domain.ids import UserId
from server.access.rate_limits import OwnBuckets, RateLimits, RateLimitsUnavailable
from server.config.settings import Settings
from server.context import Context
from server.ids import new_uuid
from server.rest.app import ROUTES
from server.rest.routes import health
from tests.server.rest.conftest import Caller, Users, client_of
from tests.server.rest.problems import SOMEBODY, check
from tests.server.rest.shop import SELLING
from tests.support.clients import token_of
from tests.support.servers import BILLING_SECRET, add_creator, add_fan, running_server, settings, with_section
from tests.support.stripe_stand_in import signature

BURST = 3


def hurried(**limits: Any) -> Settings:
    """Settings that grant one request in 100 seconds, so that no bucket refills meanwhile."""
    return with_section("limits", **limits)


def waits_of_an_empty_bucket(since: float) -> range:
    """Return the whole seconds that an answer may ask to wait, whose bucket was emptied after this monotonic time."""
    return range(100 - math.ceil(time.monotonic() - since), 101)


async def test_every_answer_has_its_limits_in_headers(web: httpx.AsyncClient, users: Users) -> None:
    fan = await users.fan()
    for answer, name in (
        (await web.get("/healthz"), "probe"),
        (await web.get("/readyz"), "probe"),
        (await web.get("/metrics"), "probe"),
        (await web.get("/nowhere"), "address"),
        (await web.get("/api/me"), "address"),
        (await web.post("/api/billing/meter"), "proof"),
    ):
        assert re.fullmatch(rf'"{name}";q=\d+;w=\d+', answer.headers["RateLimit-Policy"])
        assert re.fullmatch(rf'"{name}";r=\d+;t=\d+', answer.headers["RateLimit"])
    for answer, name in (
        (await fan.get("/wallet"), "user"),
        (await fan.get(f"/calls/{SOMEBODY}"), "user"),
        (await fan.post("/calls/init", {"creatorId": str(SOMEBODY)}), "money"),
    ):
        assert re.fullmatch(rf'"address";q=\d+;w=\d+, "{name}";q=\d+;w=\d+', answer.headers["RateLimit-Policy"])
        assert re.fullmatch(rf'"address";r=\d+;t=\d+, "{name}";r=\d+;t=\d+', answer.headers["RateLimit"])


async def test_a_user_who_sends_too_many_requests_learns_when_to_retry(dsn: str) -> None:
    async with (
        running_server(dsn, hurried(user_per_second=0.01, user_burst=BURST)) as context,
        client_of(context) as web,
    ):
        finn, cleo = Caller(web, await add_fan(context, 5)), Caller(web, await add_fan(context, 5))
        since = time.monotonic()
        answers = [await finn.get("/wallet") for _ in range(BURST + 1)]
        fields = check(answers[-1], 429, "RATE_LIMITED")
        states = [re.findall(r'"user";r=(\d);t=(\d+)', answer.headers["RateLimit"])[0] for answer in answers]
        assert [remaining for remaining, _ in states] == ["2", "1", "0", "0"]
        assert all(int(wait) in waits_of_an_empty_bucket(since) for _, wait in states)
        assert answers[-1].headers["Retry-After"] == states[-1][1] == str(fields["retryAfterSeconds"])
        assert answers[-1].headers["RateLimit-Policy"].endswith('"user";q=3;w=300')
        check(await finn.get("/calls/history"), 429, "RATE_LIMITED")
        assert (await cleo.get("/wallet")).status_code == 200


async def test_where_tokens_move_the_limit_is_another_and_a_refused_request_does_nothing(dsn: str) -> None:
    async with (
        running_server(dsn, hurried(money_per_second=0.01, money_burst=BURST)) as context,
        client_of(context) as web,
    ):
        fan, creator = Caller(web, await add_fan(context, 10)), await add_creator(context, 60)
        tip = {"toCreatorId": str(creator), "amountTokens": 1}
        for _ in range(BURST):
            assert (await fan.post("/tips/send", tip)).status_code == 200
        check(await fan.post("/tips/send", tip), 429, "RATE_LIMITED")
        assert (await fan.get("/wallet")).json()["balance"] == 10 - BURST


async def test_an_operator_may_credit_many_users(dsn: str) -> None:
    async with running_server(dsn, hurried(money_per_second=0.01, money_burst=1)) as context, client_of(context) as web:
        operator, fan = Caller(web, UserId(new_uuid()), role="operator"), await add_fan(context, 0)
        gift = {"userId": str(fan), "tokens": 1, "reason": "welcome"}
        for _ in range(BURST):
            assert (await operator.post("/admin/credits", gift)).status_code == 201


async def test_a_network_that_is_exempt_is_not_limited(dsn: str) -> None:
    hardly = dict.fromkeys(("address_burst", "user_burst", "handshakes_burst"), 1)
    wanted = hurried(exempt=("127.0.0.0/8",), address_per_second=0.01, handshakes_per_second=0.01, **hardly)
    async with running_server(dsn, wanted) as context, client_of(context) as web:
        fan = Caller(web, await add_fan(context, 0))
        for _ in range(BURST):
            answer = await fan.get("/wallet")
            assert answer.status_code == 200 and "RateLimit" not in answer.headers
            assert await trio.to_thread.run_sync(handshake, context) == 101


async def test_requests_to_all_routes_count_for_the_address_before_anything_is_looked_up(dsn: str) -> None:
    counted = [route for route in ROUTES if route.limit == "address"]
    others = {route.path for route in ROUTES} - {route.path for route in counted}
    webhooks = {"/api/billing/meter", "/api/payments/webhook/stripe"}
    assert others == {"/healthz", "/readyz", "/metrics"} | webhooks
    wanted = hurried(address_per_second=0.01, address_burst=len(counted))
    async with running_server(dsn, wanted) as context, client_of(context) as web:
        for route in counted:
            path = re.sub(r"\{\w+\}", str(SOMEBODY), route.path)
            assert (await web.request(route.method, path)).status_code != 429
        for token in ("nonsense", token_of(SOMEBODY)):
            for route in counted:
                path = re.sub(r"\{\w+\}", str(SOMEBODY), route.path)
                answer = await web.request(route.method, path, headers={"Authorization": f"Bearer {token}"})
                check(answer, 429, "RATE_LIMITED")
        check(await web.get("/nowhere"), 429, "RATE_LIMITED")


async def test_a_forged_address_changes_nothing(dsn: str) -> None:
    wanted = hurried(address_per_second=0.01, address_burst=BURST)
    async with running_server(dsn, wanted) as context, client_of(context) as web:
        for number in range(BURST):
            forged = {"X-Forwarded-For": f"198.51.100.{number}", "Forwarded": f"for=198.51.100.{number}"}
            assert (await web.get("/api/config", headers=forged)).status_code == 200
        for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "True-Client-IP", "Remote-Addr"):
            check(await web.get("/api/config", headers={name: "198.51.100.77"}), 429, "RATE_LIMITED")


async def test_behind_a_trusted_proxy_clients_are_distinguished(dsn: str) -> None:
    plain = hurried(address_per_second=0.01, address_burst=1)
    server = msgspec.structs.replace(plain.server, trusted_proxies=("127.0.0.0/8",))
    wanted = msgspec.structs.replace(plain, server=server)
    async with running_server(dsn, wanted) as context, client_of(context) as web:
        for written in ("198.51.100.1", "1.2.3.4, 198.51.100.2", "2001:db8:1:2::1"):
            assert (await web.get("/api/config", headers={"X-Forwarded-For": written})).status_code == 200
        for written in ("198.51.100.1", "5.6.7.8, 198.51.100.2", "2001:db8:1:2:ffff::7"):
            answer = await web.get("/api/config", headers={"X-Forwarded-For": written, "Forwarded": "for=9.9.9.9"})
            check(answer, 429, "RATE_LIMITED")


# Probes and webhooks


async def test_probes_of_an_address_without_requests_left_are_answered(dsn: str) -> None:
    async with (
        running_server(dsn, hurried(address_per_second=0.01, address_burst=1)) as context,
        client_of(context) as web,
    ):
        await web.get("/api/config")
        check(await web.get("/api/config"), 429, "RATE_LIMITED")
        for _ in range(BURST):
            for path in ("/healthz", "/readyz", "/metrics"):
                assert (await web.get(path)).status_code == 200


async def test_probes_have_a_limit_of_their_own_that_leaves_others_alone(dsn: str) -> None:
    async with running_server(dsn, hurried(probes_per_second=0.01, probes_burst=BURST)) as context:
        async with client_of(context) as web:
            for path in ("/healthz", "/readyz", "/metrics"):
                assert (await web.get(path)).status_code == 200
            for path in ("/healthz", "/readyz", "/metrics"):
                check(await web.get(path), 429, "RATE_LIMITED")
            assert (await web.get("/api/config")).status_code == 200


async def test_simultaneous_probes_share_one_query(
    context: Context, web: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, answers, all_here = 0, list[bool](), trio.Event()

    async def ask_database(context: Context) -> bool:
        nonlocal looks
        looks += 1
        await all_here.wait()
        return True

    async def probe() -> None:
        answers.append(await health._database_answers(context))

    monkeypatch.setattr(health, "_ask_database", ask_database)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(probe)
        while len(nursery.child_tasks) < 20 or looks == 0:
            await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()  # each of them has run up to where it waits
        all_here.set()
    assert (answers, looks) == ([True] * 20, 1)
    assert (await web.get("/readyz")).status_code == 200
    assert looks == 2, "a later probe looks for itself"


async def test_the_cron_is_never_limited_and_wrong_secrets_are_without_locking_it_out(dsn: str) -> None:
    wanted = hurried(address_per_second=0.01, address_burst=1, proofs_per_second=0.01, proofs_burst=BURST)
    async with running_server(dsn, wanted) as context, client_of(context) as web:
        await web.get("/api/config")  # now the address has nothing left
        statuses, since = [], time.monotonic()
        for _ in range(2 * BURST):
            wrong = await web.post("/api/billing/meter", headers={"X-Billing-Secret": "w" * 40})
            right = await web.post("/api/billing/meter", headers={"X-Billing-Secret": BILLING_SECRET})
            assert (right.status_code, "RateLimit" in right.headers) == (200, False)
            statuses.append(wrong.status_code)
        assert statuses == [403] * BURST + [429] * BURST
        assert int(wrong.headers["Retry-After"]) in waits_of_an_empty_bucket(since)


async def test_the_providers_events_are_never_limited_and_wrong_signatures_are(dsn: str) -> None:
    wanted = hurried(address_per_second=0.01, address_burst=1, proofs_per_second=0.01, proofs_burst=BURST)
    async with running_server(dsn, wanted, SELLING) as context, client_of(context) as web:
        await web.get("/api/config")
        raw, path = b'{"id": "evt_1", "type": "charge.updated"}', "/api/payments/webhook/stripe"
        statuses = []
        for _ in range(2 * BURST):
            wrong = await web.post(path, content=raw, headers={"Stripe-Signature": signature(raw + b" ", time.time())})
            right = await web.post(path, content=raw, headers={"Stripe-Signature": signature(raw, time.time())})
            assert right.status_code == 200
            statuses.append(wrong.status_code)
        assert statuses == [403] * BURST + [429] * BURST


# Without a count


class Unreachable(OwnBuckets):
    """A remote store that cannot be reached."""

    error: Exception = RateLimitsUnavailable()

    async def take(self, key: str) -> Any:
        raise self.error


async def test_unreachable_limits_refuse_every_request(context: Context, web: httpx.AsyncClient) -> None:
    context.rate_limits = RateLimits(context.settings.limits, Unreachable)
    for path in ("/healthz", "/api/me", "/nowhere"):
        answer = await web.get(path)
        check(answer, 503, "OVERLOADED")
        assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("error", "status"), [(RateLimitsUnavailable(), 503), (RuntimeError(), 500)], ids=["away", "broken"]
)
async def test_limits_that_fail_once_the_user_is_known_let_nobody_act(
    context: Context, users: Users, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    fan, creator = await users.fan(5), await users.creator()
    monkeypatch.setattr(Unreachable, "error", error)
    keep = RateLimits(
        context.settings.limits, lambda limit: Unreachable(limit) if limit.name == "money" else OwnBuckets(limit)
    )
    context.rate_limits = keep
    tip = {"toCreatorId": str(creator.user_id), "amountTokens": 1}
    assert (await fan.post("/tips/send", tip)).status_code == status
    assert (await fan.get("/wallet")).json()["balance"] == 5


# Websockets


def handshake(context: Context) -> int:
    """Return the status of its answer."""
    try:
        with connect(f"ws://127.0.0.1:{context.websocket_port}/ws"):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code if refused.response.headers["Retry-After"] else 0


async def test_too_many_websockets_of_one_address_are_refused(dsn: str) -> None:
    async with running_server(dsn, hurried(handshakes_per_second=0.01, handshakes_burst=BURST)) as context:
        statuses = [await trio.to_thread.run_sync(handshake, context) for _ in range(BURST + 1)]
        assert statuses == [101] * BURST + [429]


async def test_a_websocket_that_cannot_be_counted_is_refused(dsn: str) -> None:
    async with running_server(dsn, settings()) as context:
        context.rate_limits = RateLimits(context.settings.limits, Unreachable)
        assert await trio.to_thread.run_sync(handshake, context) == 429
