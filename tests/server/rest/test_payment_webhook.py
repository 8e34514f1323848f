"""The payment webhook: it accepts recent signatures of the provider, and bounds the size and number of events."""

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import trio

from server.context import Context
from server.rest.http import bodies
from tests.server.rest.problems import check
from tests.server.rest.raw import exchange
from tests.server.rest.shop import Shop, balance, open_shop
from tests.support.stripe_stand_in import signature

PAID = "checkout.session.completed"


@pytest.fixture
async def shop(dsn: str) -> AsyncIterator[Shop]:
    async with open_shop(dsn) as opened:
        yield opened


async def counted(shop: Shop, outcome: str) -> float:
    """Return the value that /metrics has for events with this outcome."""
    name = f'halfminute_payments_total{{outcome="{outcome}"}} '
    lines = shop.context.metrics.exposition().decode().splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


# Signatures


async def test_an_event_without_a_recent_signature_of_the_provider_moves_nothing(shop: Shop) -> None:
    fan = shop.users.stranger()
    raw, now = shop.stripe.event(await shop.buy(fan)), time.time()
    good = signature(raw, now)
    for sign in (
        "",
        "t=,v1=",
        good.partition(",")[0],
        good.replace("v1=", "v0="),
        good.replace("v1=", "v1=0"),
        good.upper(),
        signature(raw + b" ", now),
        signature(raw, now, "whsec_" + "x" * 40),
        signature(raw, now - 310),
        signature(raw, now + 310),
        good.replace("t=", "t=0"),
        f"t={int(now)},{good}",
        "t=٣,v1=é",
        "v1=" + ",v1=" * 2000,
    ):
        answer = await shop.send_event(raw, sign=sign)
        check(answer, 403, "FORBIDDEN")
    assert await balance(fan) == 0
    assert await counted(shop, "refused") == 14


async def test_one_of_several_signatures_suffices_and_five_minutes_are_allowed(shop: Shop) -> None:
    fan = shop.users.stranger()
    for ago, others in ((0, ""), (290, ""), (-290, ""), (0, ",v1=" + "0" * 64)):
        raw = shop.stripe.event(await shop.buy(fan))
        moment, _, rest = signature(raw, time.time() - ago).partition(",")
        assert (await shop.send_event(raw, sign=f"{moment}{others},{rest}")).status_code == 200
    assert await balance(fan) == 400


async def test_without_a_secret_the_webhook_refuses_everything(context: Context, web: httpx.AsyncClient) -> None:
    raw = b'{"id": "evt", "type": "ping"}'
    headers = {"Stripe-Signature": signature(raw, time.time())}
    check(await web.post("/api/payments/webhook/stripe", content=raw, headers=headers), 403, "FORBIDDEN")
    check(await web.post("/api/payments/webhook/nobody", content=raw, headers=headers), 404, "NOT_FOUND")


async def test_a_signed_event_that_cannot_be_read_is_refused(shop: Shop) -> None:
    for raw in (b"", b"[]", b'{"id": 5, "type": "x"}', b'{"id": "e", "type": "%s"}' % PAID.encode(), b"\xff"):
        check(await shop.send_event(raw), 403, "FORBIDDEN")
    assert (await counted(shop, "unreadable"), await counted(shop, "refused")) == (5, 0)


@pytest.mark.parametrize(
    "wrong",
    [{"amount_total": -1}, {"amount_total": 10**30}, {"client_reference_id": "a\0b"}, {"checkout": "c" * 256}],
    ids=str,
)
async def test_a_signed_payment_that_the_database_cannot_store_is_refused_and_raises_an_alert(
    shop: Shop, wrong: dict[str, Any]
) -> None:
    check(await shop.send_event(shop.stripe.event(await shop.buy(shop.users.stranger()), **wrong)), 403, "FORBIDDEN")
    assert await counted(shop, "unreadable") == 1


async def test_a_checkout_without_a_reference_is_found_by_its_metadata(shop: Shop) -> None:
    fan = shop.users.stranger()
    purchase = await shop.buy(fan)
    await shop.pay(purchase, client_reference_id=None, metadata={"purchase_id": purchase["purchaseId"]})
    assert await balance(fan) == 100


# Sizes


async def test_a_large_event_of_another_type_is_acknowledged_and_so_is_a_large_payment(shop: Shop) -> None:
    fan = shop.users.stranger()
    raw = shop.stripe.event(await shop.buy(fan), "invoice.paid", lines="x" * 900_000)
    assert len(raw) > 900_000
    answer = await shop.send_event(raw)
    assert (answer.status_code, answer.json()) == (200, {"received": True})
    assert await balance(fan) == 0
    check(await shop.send_event(raw, sign=signature(raw + b" ", time.time())), 403, "FORBIDDEN")
    await shop.pay(await shop.buy(fan), line_items="x" * 100_000)
    assert await balance(fan) == 100


async def test_beyond_its_own_bound_an_event_is_too_large_and_other_paths_keep_theirs(shop: Shop) -> None:
    fan = shop.users.stranger()
    head = b"POST /api/payments/webhook/stripe HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1048577\r\n"
    assert (await exchange(shop.context, head + b"\r\n")).startswith(b"HTTP/1.1 413")
    check(await fan.post("/tokens/purchases", {"packId": "x" * 65_537}), 413, "PAYLOAD_TOO_LARGE")


async def test_the_number_of_large_events_in_memory_is_bounded_and_payments_do_not_wait_for_them(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_hand, all_in_hand, wait_for_room = set[int](), trio.Event(), bodies.BodyReader._wait_for_room

    async def note(reader: bodies.BodyReader) -> None:
        await wait_for_room(reader)
        if reader._taken > 65_536:
            in_hand.add(id(reader))
            if len(in_hand) == bodies.LARGE_AT_ONCE:
                all_in_hand.set()

    monkeypatch.setattr(bodies.BodyReader, "_wait_for_room", note)
    fan = shop.users.stranger()
    large = shop.stripe.event(await shop.buy(fan), "invoice.paid", lines="x" * 100_000)
    purchase = await shop.buy(fan)
    half_sent = [await begin_event(shop, large, len(large) - 1) for _ in range(bodies.LARGE_AT_ONCE)]
    await all_in_hand.wait()
    answers: list[httpx.Response] = []

    async def send() -> None:
        answers.append(await shop.send_event(large))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await shop.pay(purchase)
        assert answers == []
        for stream in half_sent:
            await stream.send_all(large[-1:])
    assert [answer.status_code for answer in answers] == [200]
    for stream in half_sent:
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
        await stream.aclose()


async def begin_event(shop: Shop, raw: bytes, count: int) -> trio.SocketStream:
    """Open a connection over which the first `count` bytes of an event's body have come."""
    stream = await trio.open_tcp_stream("127.0.0.1", shop.context.http_port)
    head = f"POST /api/payments/webhook/stripe HTTP/1.1\r\nHost: a\r\nContent-Length: {len(raw)}\r\n"
    await stream.send_all(f"{head}Stripe-Signature: {signature(raw, time.time())}\r\n\r\n".encode() + raw[:count])
    return stream
