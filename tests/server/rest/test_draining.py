"""A server that drains begins nothing new over HTTP, and still answers repeats with their first result."""

from collections.abc import Callable
from typing import Any

import pytest

from server.context import Context
from server.rest.app import ROUTES
from tests.server.rest.conftest import Caller, Users
from tests.server.rest.problems import check
from tests.server.rest.shop import balance
from tests.server.rest.test_payouts import earner

DRAINS = Callable[[], None]


@pytest.fixture
def drain(context: Context, monkeypatch: pytest.MonkeyPatch) -> DRAINS:
    """Return a function after which the server drains."""
    return lambda: monkeypatch.setattr(context, "draining", True)


def test_each_route_that_begins_something_is_closed() -> None:
    served = {route.path: route.serves_while_draining for route in ROUTES if route.serves_while_draining != "all"}
    assert served == {
        "/api/calls/init": "repeats",
        "/api/calls/initiate": "repeats",
        "/api/streams": "none",
        "/api/streams/{streamId}/start": "none",
        "/api/streams/{streamId}/tickets": "repeats",
        "/api/tips/send": "repeats",
        "/api/tokens/purchases": "repeats",
        "/api/billing/meter": "none",
        "/api/payments/webhook/stripe": "none",
        "/api/payouts": "repeats",
        "/api/admin/payouts/{payoutId}": "none",
        "/api/admin/credits": "repeats",
        "/api/admin/refunds": "none",
        "/api/admin/payments/{paymentId}/settle": "none",
        "/api/admin/purchases/{purchaseId}/settle": "none",
        "/api/admin/reversals/{reversalId}/settle": "none",
    }


async def test_a_repeated_tip_is_answered_and_a_new_one_refused(users: Users, drain: DRAINS) -> None:
    creator, fan = await users.creator(), await users.fan(100)
    await check_repeats(fan, "/tips/send", {"toCreatorId": str(creator.user_id), "amountTokens": 30}, drain)
    other = {"toCreatorId": str(creator.user_id), "amountTokens": 31}
    check(await fan.post("/tips/send", other, key="k"), 422, "IDEMPOTENCY_CONFLICT")
    assert await balance(fan) == 70


async def test_a_repeated_ticket_is_answered_and_a_new_one_refused(users: Users, drain: DRAINS) -> None:
    creator, fan = await users.creator(), await users.fan(100)
    wanted = {"title": "Live", "type": "private", "ticketPriceTokens": 40}
    stream, other = [(await creator.post("/streams", wanted)).json()["stream"]["id"] for _ in range(2)]
    await check_repeats(fan, f"/streams/{stream}/tickets", None, drain)
    check(await fan.post(f"/streams/{other}/tickets", key="k"), 422, "IDEMPOTENCY_CONFLICT")
    assert await balance(fan) == 60


async def test_a_repeated_call_is_answered_and_a_new_one_refused(users: Users, drain: DRAINS) -> None:
    creator, fan = await users.online_creator(), await users.fan(100)
    await check_repeats(fan, "/calls/init", {"creatorId": str(creator.user_id)}, drain)


async def test_a_repeated_payout_is_answered_and_a_new_one_refused(
    context: Context, users: Users, drain: DRAINS
) -> None:
    creator = await earner(context, users, 2_000)
    await check_repeats(creator, "/payouts", {"tokens": 1_000}, drain)
    assert await balance(creator) == 1_000


async def test_a_stream_is_neither_announced_nor_started_but_is_ended(users: Users, drain: DRAINS) -> None:
    creator, wanted = await users.creator(), {"title": "Live", "type": "public"}
    stream = (await creator.post("/streams", wanted)).json()["stream"]["id"]
    drain()
    check(await creator.post("/streams", wanted), 503, "DRAINING")
    check(await creator.post(f"/streams/{stream}/start"), 503, "DRAINING")
    assert (await creator.post(f"/streams/{stream}/end")).json()["stream"]["status"] == "ended"


async def check_repeats(caller: Caller, path: str, body: Any, drain: DRAINS) -> None:
    """Send a request twice under one key, the second time while the server drains, and then under other keys."""
    first = await caller.post(path, body, key="k")
    assert first.is_success
    drain()
    again = await caller.post(path, body, key="k")
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    for key in ("new", None):
        check(await caller.post(path, body, key=key), 503, "DRAINING")
