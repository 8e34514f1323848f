"""Requests to every REST route on the large database: every route once, every list with every filter."""

from collections.abc import Callable
from typing import Any

import httpx
import trio

from domain.ids import ESCROW, RoomId
from server.context import Context
from server.ids import new_channel, new_uuid
from server.money.refunds_due import give_back_due
from server.rest.app import ROUTES
from storage.ledger.batch import as_uuid
from storage.ledger.refunds_due import note_refunds_due
from tests.server.rest.conftest import Caller, client_of, users_of
from tests.storage.ledger_pair import block, make_stream, purchase, ticket, tip
from tests.storage.old_server import EARNER, LONG_CALL, LONG_FAN, STAR, TIPPED
from tests.storage.tour import PAGES, PERIODS, Query, Tour, queries
from tests.storage.tour_of_operators import look_at_users, read_accounts
from tests.support.clients import Phone
from tests.support.stripe_stand_in import StripeStandIn

ALL = {f"{route.method} {route.path}" for route in ROUTES}
AUDIT = "GET /api/admin/audit"


async def make_tour(context: Context, trying: Callable[[str], None], stripe: StripeStandIn, *, audit: bool) -> set[str]:
    """Request all routes and return their names, the audit only if asked, since it takes seconds; each must succeed."""
    async with users_of(context) as users, client_of(context) as web:
        tour = Tour(web, users, trying)
        fan, creator, operator = users.stranger(), users.stranger(), await users.operator()
        await _settle_in(tour, fan, creator, operator)
        await _ring(tour, context, fan, creator)
        call_id = await _hold_call(tour, fan, creator, operator)
        await _give_back(tour, context, fan, creator, call_id)
        await _stream(tour, creator)
        await _settle_payments(tour, stripe, operator)  # before the demo's purchases
        await _buy(tour, context, stripe)
        await _cash_out(tour, context, creator, operator)
        await _keep_safe(tour, creator, operator)
        for user_id in (EARNER, TIPPED, STAR):
            await _look_back(tour, tour.old(user_id))
        for user_id in (EARNER, LONG_FAN, STAR):
            await _sum_up(tour, tour.old(user_id))
        await look_at_users(tour, operator, call_id)
        await read_accounts(tour, operator, tour.old(EARNER))
        if audit:
            await tour.ask(operator, AUDIT)
        return tour.tried


async def _settle_in(tour: Tour, fan: Caller, creator: Caller, operator: Caller) -> None:
    documents = ("/api/asyncapi.json", "/api/openapi.json", "/api/docs", "/api/docs/quickstart")
    for path in ("/healthz", "/readyz", "/metrics", "/api/config", *documents):
        await tour.ask(None, f"GET {path}")
    terms = {"rateTokensPerMin": 60, "displayName": "Cleo"}
    await tour.ask(creator, "PUT /api/creators/me", body=terms)
    await tour.ask(creator, "PUT /api/creators/me/blocks/{userId}", userId=LONG_FAN)
    await tour.ask(creator, "GET /api/creators/me/blocks")
    await tour.ask(creator, "DELETE /api/creators/me/blocks/{userId}", userId=LONG_FAN)
    await tour.ask(fan, "GET /api/me")
    await tour.ask(fan, "PUT /api/me", body={"displayName": "Fay"})
    gift = {"userId": str(fan.user_id), "tokens": 1000, "reason": "welcome"}
    for _ in range(2):
        await tour.ask(operator, "POST /api/admin/credits", body=gift)
    for limit in (5_000, None):
        await tour.ask(fan, "PUT /api/wallet/limits", body={"dailySpendLimit": limit})
    await tour.ask(fan, "GET /api/wallet")
    await tour.ask(fan, "GET /api/creators/{userId}", userId=EARNER)
    first = await tour.ask(fan, "GET /api/creators")
    await tour.ask(fan, "GET /api/creators", before=httpx.URL(first.links["next"]["url"]).params["before"])
    await tour.ask(fan, "GET /api/creators", limit=100, offset=1_900)
    await tour.ask(fan, "GET /api/creators", name="creator")
    await tour.ask(fan, "GET /api/creators", presence="online")
    await tour.ask(fan, "GET /api/creators", presence="offline", name="creator")


async def _ring(tour: Tour, context: Context, fan: Caller, creator: Caller) -> None:
    await tour.users.phone(creator)
    for name, answer in (
        ("POST /api/calls/initiate", "POST /api/calls/{callId}/cancel"),
        ("POST /api/calls/init", "POST /api/calls/{callId}/decline"),
    ):
        other = await tour.users.fan(1000)
        rung = await tour.ask(other, name, body={"creatorId": str(creator.user_id)})
        await tour.ask(other if "cancel" in answer else creator, answer, callId=rung.json()["callId"])
        for room in list(context.registry):  # its parties are busy until its end is stored
            await room.settled.wait()


async def _hold_call(tour: Tour, fan: Caller, creator: Caller, operator: Caller) -> str:
    """Make a call between the two, and return its id."""
    phones = [await tour.users.phone(creator), await tour.users.phone(fan)]
    rung = await tour.ask(fan, "POST /api/calls/init", body={"creatorId": str(creator.user_id)})
    call_id: str = rung.json()["callId"]
    await tour.ask(creator, "POST /api/calls/{callId}/accept", callId=call_id)
    for phone in phones:
        await trio.to_thread.run_sync(phone.join, rung.json()["channel"])
    await trio.to_thread.run_sync(_wait_for_block, phones[1])
    await tour.ask(fan, "POST /api/billing/{callId}/pause", callId=call_id)
    for name in ("GET /api/calls/{callId}", "GET /api/billing/{callId}"):
        await tour.ask(fan, name, callId=call_id)
    await tour.ask(operator, "GET /api/admin/rooms")
    await tour.ask(None, "POST /api/billing/meter")
    await tour.ask(fan, "POST /api/billing/{callId}/resume", callId=call_id)
    await tour.ask(fan, "POST /api/billing/{callId}/stop", callId=call_id)
    for party, ended in ((fan, call_id), (creator, call_id), (tour.old(LONG_FAN), LONG_CALL)):
        for name in ("GET /api/calls/{callId}", "GET /api/billing/{callId}"):
            await tour.ask(party, name, callId=ended)
    return call_id


async def _give_back(tour: Tour, context: Context, fan: Caller, creator: Caller, call_id: str) -> None:
    stream = RoomId(new_uuid())
    await context.postgres.execute(
        "INSERT INTO rooms (id, kind, channel) VALUES ($1, 'stream', $2)", stream, new_channel()
    )
    await make_stream(context.postgres, stream, creator.user_id)
    paid = tip(fan.user_id, creator.user_id, 5), ticket(stream, fan.user_id, creator.user_id, 5)
    await context.actor.post(paid)
    await context.postgres.execute("INSERT INTO meters (room_id, payer_id) VALUES ($1, $2)", stream, fan.user_id)
    await tour.ask(fan, "GET /api/billing/streams/{streamId}", streamId=stream)
    for target in (
        {"tipId": paid[0].ref_id},
        {"ticketId": paid[1].ref_id},
        {"streamId": stream, "userId": fan.user_id},
        {"callId": call_id},
    ):
        body = {name: str(value) for name, value in target.items()} | {"reason": "sorry"}
        await tour.ask(await tour.users.operator(), "POST /api/admin/refunds", body=body)


async def _stream(tour: Tour, creator: Caller) -> None:
    wanted = {"title": "Live", "type": "private", "ticketPriceTokens": 5}
    stream = (await tour.ask(creator, "POST /api/streams", body=wanted)).json()["stream"]
    stream_id, guests = stream["id"], [await tour.users.fan(100) for _ in range(3)]
    await tour.ask(creator, "POST /api/streams/{streamId}/start", streamId=stream_id)
    for name in ("GET /api/streams/{streamId}", "GET /api/streams/{streamId}/access"):
        await tour.ask(guests[0], name, streamId=stream_id)
    await tour.ask(guests[0], "POST /api/streams/{streamId}/tickets", streamId=stream_id)
    to_tip = {"toCreatorId": str(creator.user_id), "amountTokens": 5}
    await tour.ask(guests[1], "POST /api/tips/send", body=to_tip)
    await tour.ask(guests[0], "GET /api/tips", streamId=stream_id)
    await tour.ask(guests[0], "GET /api/tips/leaderboard", channel=stream["channel"])
    await _evict(tour, creator, stream)
    await tour.ask(creator, "POST /api/streams/{streamId}/end", streamId=stream_id)
    for query in queries(({}, {"status": "live"}), ({}, {"creatorId": str(creator.user_id)}), PAGES[:2]):
        await tour.ask(guests[2], "GET /api/streams", **query)


async def _evict(tour: Tour, creator: Caller, stream: dict[str, Any]) -> None:
    """Have one ticket refunded because its holder is removed, and another because its holder is blocked."""
    removed, blocked = [await tour.users.fan(100) for _ in range(2)]
    for guest in (removed, blocked):
        await tour.ask(guest, "POST /api/streams/{streamId}/tickets", streamId=stream["id"])
    phone = await tour.users.phone(creator)
    await trio.to_thread.run_sync(phone.join, stream["channel"])
    removal = {"type": "member:remove", "channel": stream["channel"], "userId": str(removed.user_id)}
    await trio.to_thread.run_sync(phone.ask_ok, removal)
    await tour.ask(creator, "PUT /api/creators/me/blocks/{userId}", userId=blocked.user_id)


async def do_rounds(context: Context, trying: Callable[[str], None]) -> None:
    """Run the background work on tickets and blocks to be refunded, with some of each."""
    trying("rounds")
    late, now = RoomId(new_uuid()), RoomId(new_uuid())
    async with users_of(context) as users:
        fan, creator = await users.fan(100), await users.creator()
    for stream in (late, now):
        rooms = "INSERT INTO rooms (id, kind, channel, opened) VALUES ($1, 'stream', $2, false)"  # no server adopts it
        await context.postgres.execute(rooms, stream, new_channel())
        await make_stream(context.postgres, stream, creator.user_id)
        assert (await context.actor.post([ticket(stream, fan.user_id, ESCROW, 5)]))[0].paid
    await context.postgres.execute("UPDATE streams SET created_at = now() - interval '8 days' WHERE id = $1", late)
    await context.postgres.execute("INSERT INTO meters (room_id, payer_id) VALUES ($1, $2)", now, fan.user_id)
    paid = block(now, fan.user_id, creator.user_id, 1)
    assert (await context.actor.post([paid]))[0].paid
    assert await note_refunds_due(context.postgres, now, 1, [paid.key])
    await context.postgres.execute("UPDATE refunds_due SET next_try_at = now() WHERE paid_key = $1", as_uuid(paid.key))
    assert await context.actor.release(now, 1) == 1
    context.tickets.request_round()
    await context.tickets.next_round()
    await give_back_due(context.postgres, context.actor)


async def _buy(tour: Tour, context: Context, stripe: StripeStandIn) -> None:
    await tour.ask(None, "GET /api/tokens/packs")
    buyer, other = tour.users.stranger(), tour.users.stranger()
    for _ in range(2):
        purchase = (await tour.ask(buyer, "POST /api/tokens/purchases", body={"packId": "small"})).json()
    for kind in ("checkout.session.expired", "checkout.session.completed"):
        await tour.ask(None, "POST /api/payments/webhook/stripe", raw=stripe.event(purchase, kind))
    for query in queries(({}, {"status": "paid"}), PERIODS):
        await tour.ask(buyer, "GET /api/tokens/purchases", **query)
    await tour.ask(buyer, "GET /api/tokens/purchases/{purchaseId}", purchaseId=purchase["purchaseId"])
    context.payments.open_demo(f"http://127.0.0.1:{context.http_port}")
    purchase = (await tour.ask(other, "POST /api/tokens/purchases", body={"packId": "small"})).json()
    for name in ("GET /api/payments/demo/{purchaseId}", "POST /api/payments/demo/{purchaseId}"):
        await tour.ask(None, name, purchaseId=purchase["purchaseId"])
    await tour.ask(None, "GET /api/demo/users")


async def _settle_payments(tour: Tour, stripe: StripeStandIn, operator: Caller) -> None:
    for query in queries(
        ({}, *({"status": each} for each in ("paid", "review", "paid_twice"))), ({}, {"userId": STAR}), PAGES[:2]
    ):
        await tour.ask(operator, "GET /api/admin/purchases", **query)
    for query in queries(({}, *({"status": each} for each in ("open", "accepted", "rejected"))), PAGES[:2]):
        await tour.ask(operator, "GET /api/admin/payments", **query)
    await tour.ask(operator, "GET /api/admin/payments", purchaseId=STAR)
    purchase = (await tour.ask(tour.users.stranger(), "POST /api/tokens/purchases", body={"packId": "small"})).json()
    event = stripe.event(purchase, amount_total=1)
    await tour.ask(None, "POST /api/payments/webhook/stripe", raw=event)
    payment = (await tour.ask(operator, "GET /api/admin/payments", status="open")).json()["items"][0]
    decided = {"action": "reject", "reason": "The money went back"}
    paid_for, payment_id = purchase["purchaseId"], payment["paymentId"]
    operator = await tour.users.operator()  # one key for each user
    await tour.ask(operator, "POST /api/admin/payments/{paymentId}/settle", body=decided, paymentId=payment_id)
    operator, decided = await tour.users.operator(), {"action": "credit", "reason": "It was paid after all"}
    await tour.ask(operator, "POST /api/admin/purchases/{purchaseId}/settle", body=decided, purchaseId=paid_for)
    await tour.ask(None, "POST /api/payments/webhook/stripe", raw=stripe.refund(purchase))
    for query in queries(({}, *({"status": each} for each in ("open", "expected", "released"))), PAGES[:2]):
        await tour.ask(operator, "GET /api/admin/reversals", **query)
    reversal = (await tour.ask(operator, "GET /api/admin/reversals")).json()["items"][0]
    operator, decided = await tour.users.operator(), {"action": "release", "reason": "Cleared up"}
    reversal_id = reversal["reversalId"]
    await tour.ask(operator, "POST /api/admin/reversals/{reversalId}/settle", body=decided, reversalId=reversal_id)


async def _cash_out(tour: Tour, context: Context, creator: Caller, operator: Caller) -> None:
    fan = await tour.users.fan(0)
    paid = purchase(fan.user_id, 5), tip(fan.user_id, creator.user_id, 5)  # operators' credits cannot be cashed out
    assert all(receipt.paid for receipt in await context.actor.post(paid))
    await tour.ask(creator, "GET /api/payouts/terms")
    for _ in range(2):
        payout = (await tour.ask(creator, "POST /api/payouts", body={"tokens": 5})).json()
    for query in queries(({}, {"status": "paid"}), PERIODS):
        await tour.ask(creator, "GET /api/payouts", **query)
    for query in queries(({}, {"status": "requested"}, {"status": "paid"})):
        await tour.ask(operator, "GET /api/admin/payouts", **query)
    rejected = {"status": "rejected"}
    await tour.ask(operator, "POST /api/admin/payouts/{payoutId}", body=rejected, payoutId=payout["payoutId"])
    for user_id in (EARNER, TIPPED):
        await tour.ask(tour.old(user_id), "GET /api/payouts/terms")


async def _keep_safe(tour: Tour, creator: Caller, operator: Caller) -> None:
    about = {"userId": str(EARNER), "reason": "rude"}
    await tour.ask(creator, "POST /api/reports", body=about)
    for query in queries(({}, {"userId": EARNER})):
        await tour.ask(operator, "GET /api/admin/reports", **query)
    token = (await tour.ask(creator, "POST /api/overlay-tokens", body={"name": "scene"})).json()
    await tour.ask(creator, "GET /api/overlay-tokens")
    await tour.ask(creator, "DELETE /api/overlay-tokens/{tokenId}", tokenId=token["overlayTokenId"])
    banned = await tour.users.fan()
    await tour.ask(operator, "POST /api/admin/bans", body={**about, "userId": str(banned.user_id)})
    await tour.ask(operator, "GET /api/admin/bans")
    await tour.ask(operator, "DELETE /api/admin/bans/{userId}", userId=banned.user_id)
    await tour.ask(operator, "GET /api/admin/overview", days=92)
    for query in queries(({}, *({"status": each} for each in ("open", "repaid", "written_off"))), PAGES[:2]):
        await tour.ask(operator, "GET /api/admin/debts", **query)
    await tour.ask(operator, "GET /api/admin/debts", userId=creator.user_id)
    for query in queries(({}, {"action": "refund"}, {"operatorId": operator.user_id}), PERIODS, PAGES[:2]):
        await tour.ask(operator, "GET /api/admin/actions", **query)


def _wait_for_block(phone: Phone) -> None:
    phone.wait_for("block:charged")


async def _look_back(tour: Tour, who: Caller) -> None:
    kinds: tuple[Query, ...] = ({}, {"kind": "block"}, {"kind": "tip"}, {"kind": "refund"})
    roles: tuple[Query, ...] = ({}, {"role": "fan"}, {"role": "creator"})
    for query in queries(kinds, PERIODS, PAGES):
        await tour.ask(who, "GET /api/wallet/ledger", **query)
    for query in queries(({}, {"role": "received"}), PERIODS, PAGES):
        await tour.ask(who, "GET /api/tips", **query)
    for query in queries(PERIODS):
        await tour.ask(who, "GET /api/tips/leaderboard", creatorId=who.user_id, **query)
    for query in queries(({}, {"callId": LONG_CALL}), roles, PERIODS, PAGES):
        await tour.ask(who, "GET /api/billing/history", **query)
    for query in queries(({}, {"status": "active"}), roles, PERIODS, PAGES[:2]):
        await tour.ask(who, "GET /api/calls/history", **query)
    first = await tour.ask(who, "GET /api/calls/history", limit=1)
    if "next" in first.links:
        await tour.ask(who, "GET /api/calls/history", before=httpx.URL(first.links["next"]["url"]).params["before"])


async def _sum_up(tour: Tour, who: Caller) -> None:
    for query in queries(PERIODS):
        for name in ("GET /api/calls/stats", "GET /api/billing/stats"):
            await tour.ask(who, name, **query)
