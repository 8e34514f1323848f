"""Fifty requests at the same moment, and several that spend the same last tokens: one of them comes first."""

import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import httpx
import pytest
import trio

from domain.billing.posting import Kind
from server.context import Context
from storage.ledger.audit import audit
from tests.server.rest.conftest import Caller, Users
from tests.support.clients import Phone

AT_ONCE = 50
RATE = 600  # 10 tokens a block: these servers have blocks of one second
BLOCK_TOKENS = 10
# Before the block falls due, so that each of the competing requests comes first now and then.
OFFSETS_SECONDS = (-0.03, -0.02, -0.01, 0.0)

Request = Callable[[], Awaitable[httpx.Response]]


async def test_fifty_buyers_of_one_ticket_at_once_are_charged_once(context: Context, users: Users) -> None:
    fan, creator = await users.fan(5000), await users.creator()
    buy = partial(fan.post, f"/streams/{await _ticketed(creator, 30)}/tickets")
    answers = await _at_once([partial(buy, key=f"tap {number}") for number in range(AT_ONCE)])
    assert _errors(answers) == ["ALREADY_PURCHASED"] * (AT_ONCE - 1)
    assert await _balances(fan, creator) == [4970, 0], "it is in escrow"
    assert await _booked(context, fan, Kind.TICKET) == [30]
    await _check_ledger(context)


@pytest.mark.parametrize("in_room", [False, True])
async def test_of_fifty_tips_at_once_those_are_booked_that_can_be_paid(
    context: Context, users: Users, in_room: bool
) -> None:
    fan, creator = await users.fan(100), await users.creator()
    where = {"streamId": await _live(creator, "id")} if in_room else {}
    body = {"toCreatorId": str(creator.user_id), "amountTokens": 7, "context": where}
    answers = await _at_once([partial(fan.post, "/tips/send", body)] * AT_ONCE)
    assert _errors(answers) == ["INSUFFICIENT_TOKENS"] * 36, "14 times 7 is all that a hundred pays"
    left = [answer.json()["newBalance"] for answer in answers if answer.status_code == 200]
    assert sorted(left) == list(range(2, 100, 7)), "each giver receives another balance"
    assert await _balances(fan, creator) == [2, 98]
    assert await _booked(context, fan, Kind.TIP) == [7] * 14
    await _check_ledger(context)


async def test_tips_of_many_sizes_leave_a_balance_that_pays_none_of_those_refused(
    context: Context, users: Users
) -> None:
    fan, creator = await users.fan(200), await users.creator()
    body = {"toCreatorId": str(creator.user_id)}
    tips = [partial(fan.post, "/tips/send", {**body, "amountTokens": tokens}) for tokens in range(1, AT_ONCE + 1)]
    answers = await _at_once(tips)
    given = [answer.json()["amount"] for answer in answers if answer.status_code == 200]
    refused = [answer.json() for answer in answers if answer.status_code == 400]
    assert len(given) + len(refused) == AT_ONCE
    assert all(no["required"] > no["current"] >= 200 - sum(given) >= 0 for no in refused)
    assert await _balances(fan, creator) == [200 - sum(given), sum(given)]
    assert sorted(await _booked(context, fan, Kind.TIP)) == sorted(given)
    await _check_ledger(context)


async def test_one_key_fifty_times_at_once_over_http_and_websocket_moves_once(context: Context, users: Users) -> None:
    fan, creator = await users.fan(5000), await users.creator()
    channel, phone = await _live(creator, "channel"), await users.phone(fan)
    await trio.to_thread.run_sync(phone.join, channel)
    body = {"toCreatorId": str(creator.user_id), "amountTokens": 30, "context": {"channel": channel}}
    tap = {"type": "tip:send", "channel": channel, "amountTokens": 30, "key": "tap"}
    over_websocket: list[dict[str, Any]] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, _tap, phone, tap, over_websocket)
        answers = await _at_once([partial(fan.post, "/tips/send", body, key="tap")] * (AT_ONCE // 2))
    assert [answer.status_code for answer in answers] == [200] * (AT_ONCE // 2)
    results = [answer.json() for answer in answers] + over_websocket
    assert len(results) == AT_ONCE
    assert {(each["tip"]["tipId"], each["wallet"]["balance"]) for each in results} == {(results[0]["tipId"], 4970)}
    assert await _balances(fan, creator) == [4970, 30]
    assert await _booked(context, fan, Kind.TIP) == [30]
    await _check_ledger(context)


@pytest.mark.parametrize("offset", OFFSETS_SECONDS)
async def test_stop_and_pause_and_the_last_block_at_once_end_in_one_state(
    context: Context, users: Users, offset: float
) -> None:
    fan, creator = await users.fan(2 * BLOCK_TOKENS), await users.creator(RATE)
    call_id, phone, _ = await users.start_call(fan, creator)
    await _until_due(phone, offset)
    pause, stop = (
        partial(each.post, f"/billing/{call_id}/{what}") for each, what in ((fan, "pause"), (creator, "stop"))
    )
    answers = await _at_once([pause, stop, partial(fan.get, f"/billing/{call_id}")])
    assert set(_errors(answers)) <= {"CALL_ENDED"}, "only the pause can be too late"
    ended = await trio.to_thread.run_sync(phone.wait_for, "call:ended")
    call, totals = (await _billing(fan, call_id))["call"], (await _billing(creator, call_id))["totals"]
    blocks, returned = await _booked(context, fan, Kind.BLOCK), await _booked(context, creator, Kind.REFUND)
    paid = sum(blocks) - sum(returned)
    assert (call["status"], call["endReason"], ended["reason"]) == ("ended", "creator_ended", "creator_ended")
    assert blocks in ([BLOCK_TOKENS], [BLOCK_TOKENS] * 2)
    assert returned in ([], [BLOCK_TOKENS]), "the block that the creator cut short"
    assert (ended["blocks"], ended["tokens"]) == (totals["blocks"], totals["tokens"]) == (len(blocks), paid)
    assert await _balances(fan, creator) == [2 * BLOCK_TOKENS - paid, paid]
    await _check_ledger(context)


@pytest.mark.parametrize("offset", OFFSETS_SECONDS)
async def test_a_tip_and_a_ticket_and_a_block_for_the_same_last_tokens_are_one_of_them(
    context: Context, users: Users, offset: float
) -> None:
    fan, creator, other = await users.fan(2 * BLOCK_TOKENS), await users.creator(RATE), await users.creator()
    stream = await _ticketed(other, BLOCK_TOKENS)
    _, phone, _ = await users.start_call(fan, creator)
    body = {"toCreatorId": str(other.user_id), "amountTokens": BLOCK_TOKENS}
    await _until_due(phone, offset)
    asked = [partial(fan.post, "/tips/send", body), partial(fan.post, f"/streams/{stream}/tickets")]
    answers = await _at_once(asked)
    ended = await trio.to_thread.run_sync(phone.wait_for, "call:ended")
    won = sum(answer.is_success for answer in answers)
    assert set(_errors(answers)) == {"INSUFFICIENT_TOKENS"}, "they cannot both be paid"
    assert (ended["reason"], ended["blocks"]) == ("insufficient_funds", 2 - won)
    bought = await _booked(context, fan, Kind.TIP) + await _booked(context, fan, Kind.TICKET)
    assert bought == [BLOCK_TOKENS] * won
    assert await _booked(context, fan, Kind.BLOCK) == [BLOCK_TOKENS] * (2 - won)
    assert await _balances(fan) == [0]
    await _check_ledger(context)


async def _at_once(asked: Sequence[Request]) -> list[httpx.Response]:
    answers: list[httpx.Response] = []

    async def ask(one: Request) -> None:
        answers.append(await one())

    async with trio.open_nursery() as nursery:
        for one in asked:
            nursery.start_soon(ask, one)
    return answers


def _tap(phone: Phone, command: dict[str, Any], answers: list[dict[str, Any]]) -> None:
    """Send half of the taps before the first is answered."""
    refs = [f"tap {number}" for number in range(AT_ONCE // 2)]
    for ref in refs:
        phone.send({**command, "ref": ref})
    answers += [phone.wait_for("ok", ref=ref) for ref in refs]


async def _ticketed(creator: Caller, price: int) -> str:
    wanted = {"title": "Behind the scenes", "type": "private", "ticketPriceTokens": price}
    stream: dict[str, str] = (await creator.post("/streams", wanted)).json()["stream"]
    return stream["id"]


async def _live(creator: Caller, field: str) -> str:
    stream = (await creator.post("/streams", {"title": "Live", "type": "public"})).json()["stream"]
    started: dict[str, str] = (await creator.post(f"/streams/{stream['id']}/start")).json()["stream"]
    return started[field]


async def _until_due(phone: Phone, offset: float) -> None:
    """Wait until so many seconds after the call's second block falls due."""
    due_at = datetime.fromisoformat(phone.all_events("block:charged")[0]["nextAt"]).timestamp()
    await trio.sleep(max(0, due_at - time.time() + offset))


async def _billing(caller: Caller, call_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = (await caller.get(f"/billing/{call_id}")).json()
    return answer


def _errors(answers: list[httpx.Response]) -> list[str]:
    """Return the errors of the refused requests."""
    return [answer.json()["error"] for answer in answers if answer.is_error]


async def _balances(*callers: Caller) -> list[int]:
    return [(await caller.get("/wallet")).json()["balance"] for caller in callers]


async def _booked(context: Context, payer: Caller, kind: Kind) -> list[int]:
    """Return the tokens of each of the payer's postings of this kind, as the journal has them."""
    rows = await context.postgres.fetch(
        "SELECT tokens FROM journal WHERE debit_wallet = $1 AND kind = $2 ORDER BY debit_n", payer.user_id, kind
    )
    return [row["tokens"] for row in rows]


async def _check_ledger(context: Context) -> None:
    assert [finding.sentence async for finding in audit(context.postgres) if finding.rows] == []
