"""Each object of one user as another requests it; a route that names an object and is not in the table fails here."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest

from domain.refusals import Code
from server.context import Context
from server.rest.app import ROUTES
from server.rest.route import Needs, Route
from tests.server.rest.conftest import Caller, Users
from tests.server.rest.problems import check

# Public to any user; about the caller's own relation to a user; and on sale to any user.
PUBLIC, OWN, SOLD = 200, 200, 201


class Seen(NamedTuple):
    """The owner or the kind of an object, and the response that a stranger gets."""

    object: str
    answer: Code | int


BY_PATH = {
    "GET /api/creators/{userId}": Seen("creator", PUBLIC),
    "PUT /api/creators/me/blocks/{userId}": Seen("fan", Code.NOT_A_CREATOR),
    "DELETE /api/creators/me/blocks/{userId}": Seen("fan", OWN),
    "POST /api/calls/{callId}/accept": Seen("call", Code.NOT_FOUND),
    "POST /api/calls/{callId}/decline": Seen("call", Code.NOT_FOUND),
    "POST /api/calls/{callId}/cancel": Seen("call", Code.NOT_FOUND),
    "GET /api/calls/{callId}": Seen("call", Code.NOT_FOUND),
    "POST /api/billing/{callId}/pause": Seen("call", Code.NOT_FOUND),
    "POST /api/billing/{callId}/resume": Seen("call", Code.NOT_FOUND),
    "POST /api/billing/{callId}/stop": Seen("call", Code.NOT_FOUND),
    "GET /api/billing/{callId}": Seen("call", Code.NOT_FOUND),
    "GET /api/billing/streams/{streamId}": Seen("stream", Code.NOT_FOUND),
    "GET /api/streams/{streamId}": Seen("stream", PUBLIC),
    "GET /api/streams/{streamId}/access": Seen("stream", OWN),
    "POST /api/streams/{streamId}/start": Seen("stream", Code.FORBIDDEN),
    "POST /api/streams/{streamId}/end": Seen("stream", Code.FORBIDDEN),
    "POST /api/streams/{streamId}/tickets": Seen("stream", SOLD),
    "GET /api/tokens/purchases/{purchaseId}": Seen("purchase", Code.NOT_FOUND),
    "GET /api/payments/demo/{purchaseId}": Seen("purchase", Code.NOT_FOUND),
    "POST /api/payments/demo/{purchaseId}": Seen("purchase", Code.NOT_FOUND),
    "POST /api/admin/payouts/{payoutId}": Seen("payout", Code.FORBIDDEN),
    "POST /api/admin/payments/{paymentId}/settle": Seen("payment", Code.FORBIDDEN),
    "POST /api/admin/reversals/{reversalId}/settle": Seen("payment", Code.FORBIDDEN),
    "POST /api/admin/purchases/{purchaseId}/settle": Seen("purchase", Code.FORBIDDEN),
    "DELETE /api/overlay-tokens/{tokenId}": Seen("overlay", Code.NOT_FOUND),
    "DELETE /api/admin/bans/{userId}": Seen("fan", Code.FORBIDDEN),
    "GET /api/admin/users/{userId}": Seen("fan", Code.FORBIDDEN),
    "GET /api/admin/users/{userId}/wallet": Seen("fan", Code.FORBIDDEN),
    "GET /api/admin/users/{userId}/sessions": Seen("fan", Code.FORBIDDEN),
    "GET /api/admin/users/{userId}/ledger": Seen("fan", Code.FORBIDDEN),
    "GET /api/admin/users/{userId}/blocks": Seen("fan", Code.FORBIDDEN),
    "GET /api/admin/users/{userId}/tips": Seen("fan", Code.FORBIDDEN),
    "GET /api/admin/users/{userId}/calls": Seen("fan", Code.FORBIDDEN),
    "GET /api/admin/users/{userId}/streams": Seen("fan", Code.FORBIDDEN),
    "GET /api/admin/users/{userId}/purchases": Seen("fan", Code.FORBIDDEN),
    "GET /api/admin/users/{userId}/payouts": Seen("fan", Code.FORBIDDEN),
    "GET /api/admin/users/{userId}/reports": Seen("fan", Code.FORBIDDEN),
    "GET /api/admin/users/{userId}/bans": Seen("fan", Code.FORBIDDEN),
    "GET /api/admin/calls/{callId}": Seen("call", Code.FORBIDDEN),
    "GET /api/admin/streams/{streamId}": Seen("stream", Code.FORBIDDEN),
    "GET /api/admin/streams/{streamId}/blocks": Seen("stream", Code.FORBIDDEN),
    "GET /api/admin/wallets/{walletId}/export": Seen("fan", Code.FORBIDDEN),
    "GET /api/admin/wallets/{walletId}/statement": Seen("fan", Code.FORBIDDEN),
}
# Lists of one's own that can be narrowed to an object: filtered by another user's object they are empty.
BY_QUERY = {
    "GET /api/billing/history callId": "call",
    "GET /api/tips callId": "call",
    "GET /api/tips streamId": "call",
}
# Shown in test_stream_billing.py: the scene here has no blocks of a stream.
BY_STREAM = {"GET /api/billing/history streamId"}
PUBLIC_BY_QUERY = {"GET /api/streams creatorId", "GET /api/tips/leaderboard creatorId"}


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


def objects_in_query(route: Route) -> Iterator[str]:
    """Return the names of its parameters that are ids."""
    if route.query is None or route.needs is Needs.OPERATOR:  # operators may see every user's
        return
    for field in msgspec.structs.fields(route.query):
        if "UUIDType" in repr(msgspec.inspect.type_info(field.type)):
            yield f"{name_of(route)} {field.encode_name}"


def test_every_route_that_names_an_object_is_in_the_table() -> None:
    assert {name_of(route) for route in ROUTES if route.parameters} == BY_PATH.keys()
    assert {
        name for route in ROUTES for name in objects_in_query(route)
    } == BY_QUERY.keys() | BY_STREAM | PUBLIC_BY_QUERY


class Scene(NamedTuple):
    """A fan and a creator in a running call, the creator's private stream, and two users who have no part in either."""

    fan: Caller
    creator: Caller
    strangers: tuple[Caller, ...]
    ids: dict[str, str]

    async def as_the_parties_see_it(self) -> Any:
        """Return all that a stranger must not change; the clock may."""
        call = (await self.fan.get(f"/calls/{self.ids['call']}")).json()["call"]
        stream = (await self.creator.get(f"/streams/{self.ids['stream']}")).json()["stream"]
        return {name: call[name] for name in ("status", "holds", "endReason", "maxTokens", "startedAt")} | stream


@pytest.fixture
async def scene(context: Context, users: Users) -> Scene:
    fan, creator = await users.fan(1000), await users.creator()
    call_id, _, _ = await users.start_call(fan, creator)
    tip = {"toCreatorId": str(creator.user_id), "amountTokens": 1, "context": {"callId": call_id}}
    assert (await fan.post("/tips/send", tip)).status_code == 200
    announced = await creator.post("/streams", {"title": "Soon", "type": "private", "ticketPriceTokens": 5})
    ids = {
        "call": call_id,
        "stream": announced.json()["stream"]["id"],
        "fan": str(fan.user_id),
        "creator": str(creator.user_id),
    }
    assert (await creator.get(f"/streams/{ids['stream']}/access")).json()["hasAccess"]
    ids["purchase"] = await _buy(context, fan)
    ids["overlay"] = (await creator.post("/overlay-tokens", {"name": "scene"})).json()["overlayTokenId"]
    ids["payout"] = ids["payment"] = str(UUID(int=8))  # for operators alone, whether or not it exists
    return Scene(fan, creator, (await users.fan(1000), await users.creator(tokens=1000)), ids)


async def _buy(context: Context, fan: Caller) -> str:
    """Buy while tokens are sold; afterwards there is no such page any more."""
    context.payments.open_demo("http://127.0.0.1")
    purchase_id: str = (await fan.post("/tokens/purchases", {"packId": "small"})).json()["purchaseId"]
    context.payments.demo = None
    return purchase_id


async def test_a_stranger_sees_and_changes_nothing_of_anothers(scene: Scene) -> None:
    before = await scene.as_the_parties_see_it()
    for name, (kind, expected) in BY_PATH.items():
        method, path = name.split()
        place = re.sub(r"\{\w+\}", scene.ids[kind], path.removeprefix("/api"))
        for stranger in scene.strangers[:1] if expected is Code.NOT_A_CREATOR else scene.strangers:
            answer = await stranger.ask(method, place)
            if isinstance(expected, Code):
                fields = check(answer, expected.status, expected.name)
                assert not fields.keys() & {"call", "channel", "blocks"}
            else:
                assert answer.status_code == expected, name
                assert answer.json().get("hasAccess") is not True, name
    assert await scene.as_the_parties_see_it() == before


async def test_a_list_of_ones_own_contains_nothing_of_anothers_object(scene: Scene) -> None:
    for name, kind in BY_QUERY.items():
        _, path, parameter = name.split()
        for caller, has_some in ((scene.fan, True), *((stranger, False) for stranger in scene.strangers)):
            listed = (await caller.get(path.removeprefix("/api"), **{parameter: scene.ids[kind]})).json()
            assert bool(listed["items"]) is has_some, name
            assert (listed["total"] > 0) is has_some


async def test_a_missing_object_looks_like_anothers(scene: Scene) -> None:
    """Otherwise ids could be probed."""
    (stranger, _), nobody = scene.strangers, str(UUID(int=7))
    for name, (kind, expected) in BY_PATH.items():
        if expected is Code.NOT_FOUND:
            method, path = name.split()
            refusals = []
            for object_id in (scene.ids[kind], nobody):
                place = re.sub(r"\{\w+\}", object_id, path.removeprefix("/api"))
                fields = (await stranger.ask(method, place)).json()
                refusals.append({**fields, "requestId": ""})
            assert refusals[0] == refusals[1], name
