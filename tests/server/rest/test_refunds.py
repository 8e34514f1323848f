"""Refunds by operators: of a tip, a ticket, a call or a viewing session, each payment once; the ledger balances."""

from typing import Any

import httpx
import pytest
import trio

from domain.billing.posting import Posting
from domain.ids import LOSSES, RoomId
from server.context import Context
from server.ids import new_channel, new_uuid
from storage.ledger.audit import audit
from tests.server.rest.conftest import Caller, Users
from tests.server.rest.problems import SOMEBODY, check
from tests.storage.ledger_pair import block, make_stream, ticket, tip

AT_ONCE = 50
REFUNDS = "/admin/refunds"


async def book(context: Context, *postings: Posting) -> None:
    assert all(receipt.paid for receipt in await context.actor.post(postings))


async def balances(context: Context, *callers: Caller) -> list[int]:
    rows = await context.postgres.fetch("SELECT id, balance FROM wallets")
    found = {row["id"]: row["balance"] for row in rows}
    return [found[caller.user_id] for caller in callers]


async def losses(context: Context) -> int:
    rows = await context.postgres.fetch("SELECT -balance FROM wallets WHERE id = $1", LOSSES)
    return int(rows[0][0])


async def add_stream(context: Context, creator: Caller, viewer: Caller) -> RoomId:
    """Store a stream, and the meter of one of its viewers."""
    stream = RoomId(new_uuid())
    await context.postgres.execute(
        "INSERT INTO rooms (id, kind, channel, opened) VALUES ($1, 'stream', $2, false)", stream, new_channel()
    )
    await make_stream(context.postgres, stream, creator.user_id)
    await context.postgres.execute("INSERT INTO meters (room_id, payer_id) VALUES ($1, $2)", stream, viewer.user_id)
    return stream


def borne(*, escrow: int = 0, creator: int = 0, losses: int = 0) -> dict[str, int]:
    """Return who bore a refund, as the answer says it."""
    return {"fromEscrow": escrow, "fromCreator": creator, "fromLosses": losses}


async def test_a_tip_is_refunded_and_both_parties_are_notified(context: Context, users: Users) -> None:
    fan, creator, operator = await users.fan(100), await users.creator(), await users.operator()
    paid = tip(fan.user_id, creator.user_id, 40)
    await book(context, paid)
    phone = await users.phone(fan)
    answer = await operator.post(REFUNDS, {"tipId": str(paid.ref_id), "reason": " sor\u0007ry "})
    assert answer.status_code == 201
    assert answer.json() == {
        "userId": str(fan.user_id),
        "tokens": 40,
        "fromEscrow": 0,
        "fromCreator": 40,
        "fromLosses": 0,
    }
    assert await balances(context, fan, creator) == [100, 0]
    entry = (await fan.get("/wallet/ledger", kind="refund")).json()["items"][0]
    assert (entry["tokens"], entry["memo"], entry["refId"]) == (40, "sorry", str(paid.ref_id))
    changed = await trio.to_thread.run_sync(phone.wait_for, "wallet:changed")
    assert (changed["balance"], changed["tokens"], changed["cause"]) == (100, 40, "refund")
    await _check(context)


async def test_a_creator_with_too_little_refunds_the_balance_and_losses_the_rest(
    context: Context, users: Users
) -> None:
    fan, creator, operator = await users.fan(100), await users.creator(), await users.operator()
    paid = tip(fan.user_id, creator.user_id, 40)
    await book(context, paid, tip(creator.user_id, fan.user_id, 25))
    answer = await operator.post(REFUNDS, {"tipId": str(paid.ref_id), "reason": "sorry"})
    assert answer.json() == {
        "userId": str(fan.user_id),
        "tokens": 40,
        "fromEscrow": 0,
        "fromCreator": 15,
        "fromLosses": 25,
    }
    assert await balances(context, fan, creator) == [125, 0]
    assert await losses(context) == 25
    await _check(context)


async def test_a_call_is_refunded_with_all_its_blocks(context: Context, users: Users) -> None:
    fan, creator, operator = await users.fan(100), await users.creator(60), await users.operator()
    call_id, _, _ = await users.start_call(fan, creator)
    tokens = (await fan.post(f"/billing/{call_id}/stop")).json()["call"]["tokens"]
    answer = await operator.post(REFUNDS, {"callId": call_id, "reason": "sorry"})
    assert (answer.json()["tokens"], answer.json()["fromCreator"]) == (tokens, tokens)
    assert await balances(context, fan, creator) == [100, 0]
    await _check(context)


async def test_a_viewer_gets_their_own_blocks_and_ticket_refunded(context: Context, users: Users) -> None:
    fan, other, creator = await users.fan(100), await users.fan(100), await users.creator()
    stream, operator = await add_stream(context, creator, fan), await users.operator()
    paid = ticket(stream, fan.user_id, creator.user_id, 40)
    blocks = [block(stream, fan.user_id, creator.user_id, block_no, tokens=7) for block_no in (1, 2)]
    await book(context, paid, *blocks, ticket(stream, other.user_id, creator.user_id, 40))
    wanted = {"streamId": str(stream), "userId": str(fan.user_id), "reason": "sorry"}
    assert (await operator.post(REFUNDS, wanted)).json()["tokens"] == 54
    assert await balances(context, fan, other, creator) == [100, 60, 40]
    rows = await context.postgres.fetch("SELECT user_id FROM stream_tickets WHERE refunded_at IS NULL")
    assert [row["user_id"] for row in rows] == [other.user_id]
    check(await operator.post(REFUNDS, {**wanted, "userId": str(creator.user_id)}), 404, "NOT_FOUND")
    await _check(context)


@pytest.mark.parametrize("by_ticket", [True, False])
async def test_the_same_request_later_leaves_the_ticket_that_was_bought_meanwhile(
    context: Context, users: Users, by_ticket: bool
) -> None:
    fan, creator, operator = await users.fan(100), await users.creator(), await users.operator()
    stream = await add_stream(context, creator, fan)
    first, second = (ticket(stream, fan.user_id, creator.user_id, tokens) for tokens in (30, 40))
    await book(context, first)
    target = {"ticketId": str(first.ref_id)} if by_ticket else {"streamId": str(stream), "userId": str(fan.user_id)}
    given = await operator.post(REFUNDS, {**target, "reason": "sorry"}, key="k")
    assert given.json()["tokens"] == 30
    await book(context, second)
    assert (await operator.post(REFUNDS, {**target, "reason": "sorry"}, key="k")).json() == given.json()
    assert await balances(context, fan, creator) == [60, 40]
    await _check(context)


@pytest.mark.parametrize("keys", [[None], ["one"], [str(i) for i in range(AT_ONCE)]])
async def test_many_requests_at_once_refund_once(context: Context, users: Users, keys: list[str | None]) -> None:
    fan, creator, operator = await users.fan(100), await users.creator(), await users.operator()
    paid = tip(fan.user_id, creator.user_id, 40)
    await book(context, paid)
    answers: list[httpx.Response] = []

    async def ask(key: str | None) -> None:
        answers.append(await operator.post(REFUNDS, {"tipId": str(paid.ref_id), "reason": "sorry"}, key=key))

    async with trio.open_nursery() as nursery:
        for i in range(AT_ONCE):
            nursery.start_soon(ask, keys[i % len(keys)])
    assert [answer.status_code for answer in answers] == [201] * AT_ONCE, [answer.text for answer in answers]
    assert len({answer.text for answer in answers}) == 1
    assert await balances(context, fan, creator) == [100, 0]
    await _check(context)


async def test_a_key_that_was_used_for_another_request_refunds_nothing(context: Context, users: Users) -> None:
    fan, creator, operator = await users.fan(100), await users.creator(), await users.operator()
    one, other = tip(fan.user_id, creator.user_id, 10), tip(fan.user_id, creator.user_id, 20)
    await book(context, one, other)
    wanted = {"tipId": str(one.ref_id), "reason": "sorry"}
    await operator.post(REFUNDS, wanted, key="k")
    for changed in ({**wanted, "tipId": str(other.ref_id)}, {**wanted, "reason": "why not"}):
        check(await operator.post(REFUNDS, changed, key="k"), 422, "IDEMPOTENCY_CONFLICT")
    gift = {"userId": str(fan.user_id), "tokens": 5, "reason": "welcome"}
    check(await operator.post("/admin/credits", gift, key="k"), 422, "IDEMPOTENCY_CONFLICT")
    await operator.post("/admin/credits", gift, key="credit")
    check(await operator.post(REFUNDS, wanted, key="credit"), 422, "IDEMPOTENCY_CONFLICT")
    assert await balances(context, fan, creator) == [85, 20]


async def test_a_refusal_is_not_remembered(context: Context, users: Users) -> None:
    fan, creator, operator = await users.fan(100), await users.creator(), await users.operator()
    paid = tip(fan.user_id, creator.user_id, 10)
    wanted = {"tipId": str(paid.ref_id), "reason": "sorry"}
    check(await operator.post(REFUNDS, wanted, key="k"), 404, "NOT_FOUND")
    await book(context, paid)
    assert (await operator.post(REFUNDS, wanted, key="k")).status_code == 201


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"reason": ""}, "reason"),
        ({"reason": "\n\t"}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"tipId": None}, "body"),
        ({"callId": str(SOMEBODY)}, "body"),
        ({"tipId": None, "streamId": str(SOMEBODY)}, "body"),
        ({"tipId": None, "userId": str(SOMEBODY)}, "body"),
        ({"userId": str(SOMEBODY)}, "body"),
        ({"tipId": "x"}, "tipId"),
    ],
)
async def test_an_invalid_refund_is_refused_by_name(users: Users, changes: dict[str, Any], field: str) -> None:
    operator = await users.operator()
    answer = await operator.post(REFUNDS, {"tipId": str(SOMEBODY), "reason": "sorry", **changes})
    assert [error["field"] for error in check(answer, 400, "VALIDATION_FAILED")["errors"]] == [field]


async def test_a_missing_payment_is_not_found_and_only_operators_refund(users: Users) -> None:
    fan, operator = await users.fan(100), await users.operator()
    somebody = str(SOMEBODY)
    for target in (
        {"tipId": somebody},
        {"ticketId": somebody},
        {"callId": somebody},
        {"streamId": somebody, "userId": str(fan.user_id)},
    ):
        check(await operator.post(REFUNDS, {**target, "reason": "sorry"}), 404, "NOT_FOUND")
        check(await fan.post(REFUNDS, {**target, "reason": "sorry"}), 403, "FORBIDDEN")


async def _check(context: Context) -> None:
    assert [finding.sentence async for finding in audit(context.postgres) if finding.rows] == []
