"""Cash-out: only earned tokens, once under a key, settled by operators, returned when rejected."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
import trio

from domain.billing.posting import Kind, Posting
from domain.ids import PAYOUTS, TOKEN_SALES, PostingKey, UserId, client_key
from server.context import Context
from server.ids import new_uuid
from storage.database_errors import StorageUnavailable
from storage.ledger.actor import StorageActor
from storage.ledger.audit import audit
from storage.market.payouts import NewPayout, reserve_payout
from tests.server.rest.conftest import Caller, Users, users_of
from tests.server.rest.problems import SOMEBODY, check
from tests.server.rest.shop import balance
from tests.support.servers import give, running_server, with_section


@pytest.fixture
async def context(dsn: str) -> AsyncIterator[Context]:
    """A server where ten tokens can be cashed out."""
    async with running_server(dsn, with_section("payouts", min_tokens=10)) as running:
        yield running
        assert [finding.sentence async for finding in audit(running.postgres) if finding.rows] == []


@pytest.fixture
async def users(context: Context) -> AsyncIterator[Users]:
    async with users_of(context) as made:
        yield made


async def move(context: Context, kind: Kind, debit: UUID, credit: UUID, tokens: int) -> PostingKey:
    posting = Posting(
        key=client_key(UserId(debit), str(new_uuid())),
        kind=kind,
        debit=UserId(debit),
        credit=UserId(credit),
        tokens=tokens,
    )
    assert (await context.actor.post([posting]))[0].paid
    return posting.key


async def earner(context: Context, users: Users, tokens: int) -> Caller:
    """A creator who was tipped by a user who had bought the tokens."""
    creator, fan = await users.creator(), await users.creator()
    await _buy(context, fan, tokens)
    await move(context, Kind.TIP, fan.user_id, creator.user_id, tokens)
    return creator


async def _buy(context: Context, caller: Caller, tokens: int) -> None:
    await move(context, Kind.PURCHASE, TOKEN_SALES, caller.user_id, tokens)


async def cashable(creator: Caller) -> int:
    return int((await creator.get("/payouts/terms")).json()["cashableTokens"])


async def test_a_payout_takes_the_tokens_and_states_their_value(context: Context, users: Users) -> None:
    creator = await earner(context, users, 100)
    phone = await users.phone(creator)
    answer = await creator.post("/payouts", {"tokens": 60})
    assert answer.status_code == 201, answer.text
    payout = answer.json()
    assert UUID(payout["payoutId"]).version == 7
    assert payout == {
        "payoutId": payout["payoutId"],
        "creatorId": str(creator.user_id),
        "status": "requested",
        "tokens": 60,
        "returnedTokens": 0,
        "amount": "3.00",
        "amountCents": 300,
        "currency": "USD",
        "note": "",
        "createdAt": payout["createdAt"],
        "settledAt": None,
        "wallet": {"balance": 40},
    }
    entry = (await creator.get("/wallet/ledger", kind="payout")).json()["items"][0]
    assert (entry["tokens"], entry["counterparty"], entry["refId"]) == (-60, "payouts", payout["payoutId"])
    changed = await trio.to_thread.run_sync(phone.wait_for, "wallet:changed")
    assert (changed["balance"], changed["cause"], changed["ref"]) == (40, "payout", {"payoutId": payout["payoutId"]})
    del payout["wallet"]
    assert (await creator.get("/payouts")).json()["items"] == [payout]


# Cashable tokens


async def test_only_earned_tokens_can_be_cashed_out(context: Context, users: Users) -> None:
    creator = await earner(context, users, 50)
    await move(context, Kind.PURCHASE, TOKEN_SALES, creator.user_id, 200)
    await give(context, creator.user_id, 30)
    assert (await balance(creator), await cashable(creator)) == (280, 50)
    fields = check(await creator.post("/payouts", {"tokens": 51}), 400, "INSUFFICIENT_TOKENS")
    assert [fields[name] for name in ("required", "current", "shortfall")] == [51, 50, 1]
    assert (await creator.post("/payouts", {"tokens": 50})).status_code == 201
    assert (await balance(creator), await cashable(creator)) == (230, 0)


async def test_bought_tokens_are_spent_before_earned_ones(context: Context, users: Users) -> None:
    creator, other = await earner(context, users, 50), await users.creator()
    await move(context, Kind.PURCHASE, TOKEN_SALES, creator.user_id, 40)
    await move(context, Kind.TIP, creator.user_id, other.user_id, 40)
    assert (await cashable(creator), await cashable(other)) == (50, 40)
    await move(context, Kind.TIP, creator.user_id, other.user_id, 15)
    assert (await cashable(creator), await cashable(other)) == (35, 55)


async def test_promotional_tokens_are_spent_first_and_remain_promotional_in_any_wallet(
    context: Context, users: Users
) -> None:
    creator, other = await earner(context, users, 50), await users.creator()
    await give(context, creator.user_id, 40)
    await move(context, Kind.TIP, creator.user_id, other.user_id, 60)
    assert (await cashable(creator), await cashable(other)) == (30, 20)
    await move(context, Kind.TIP, other.user_id, creator.user_id, 40)
    assert (await cashable(creator), await cashable(other)) == (30, 20)


async def test_refunded_tokens_are_no_earnings(context: Context, users: Users) -> None:
    creator, fan = await earner(context, users, 50), await users.creator()
    await move(context, Kind.PURCHASE, TOKEN_SALES, fan.user_id, 100)
    tip = await move(context, Kind.TIP, fan.user_id, creator.user_id, 20)
    refunded = await context.actor.refund([tip], "a mistake")
    assert [receipt.paid for receipt in refunded.receipts] == [True]
    await give(context, creator.user_id, 100)
    assert (await cashable(creator), await cashable(fan)) == (50, 0)


@pytest.mark.parametrize("tokens", [0, -1, 9, "10", 10.0, 1_000_000_001, 2**63, None])
async def test_an_invalid_number_is_refused_by_name(context: Context, users: Users, tokens: Any) -> None:
    creator = await earner(context, users, 50)
    fields = check(await creator.post("/payouts", {"tokens": tokens}), 400, "VALIDATION_FAILED")
    assert [error["field"] for error in fields["errors"]] == ["tokens"]
    assert await balance(creator) == 50


async def test_only_creators_cash_out(context: Context, users: Users) -> None:
    fan, other = await users.fan(100), await users.creator()
    check(await fan.post("/payouts", {"tokens": 20}), 409, "NOT_A_CREATOR")
    assert (await fan.get("/payouts/terms")).json() == {
        "centsPerToken": 5,
        "currency": "USD",
        "minTokens": 10,
        "holdingDays": 0,
        "cashableTokens": 0,
        "heldTokens": 0,
    }
    assert (await other.get("/payouts")).json()["items"] == []


# The same key


async def test_the_same_key_cashes_out_once(context: Context, users: Users) -> None:
    creator = await earner(context, users, 50)
    first = await creator.post("/payouts", {"tokens": 50}, key="k")
    again = await creator.post("/payouts", {"tokens": 50}, key='"k"')
    assert (again.status_code, again.json()) == (201, first.json())
    check(await creator.post("/payouts", {"tokens": 49}, key="k"), 422, "IDEMPOTENCY_CONFLICT")
    check(await creator.post("/payouts", {"tokens": 9}, key="k"), 422, "IDEMPOTENCY_CONFLICT")
    assert (await balance(creator), (await creator.get("/payouts")).json()["total"]) == (0, 1)


async def test_one_key_space_for_payouts_and_credits(context: Context, users: Users) -> None:
    operator = await users.operator()
    await operator.put("/creators/me", {"rateTokensPerMin": 60})
    fan = await users.fan(100)
    await _buy(context, fan, 100)
    await move(context, Kind.TIP, fan.user_id, operator.user_id, 200)
    gift = {"userId": str(fan.user_id), "tokens": 5, "reason": "welcome"}
    assert (await operator.post("/admin/credits", gift, key="a")).status_code == 201
    check(await operator.post("/payouts", {"tokens": 20}, key="a"), 422, "IDEMPOTENCY_CONFLICT")
    assert (await operator.post("/payouts", {"tokens": 20}, key="b")).status_code == 201
    check(await operator.post("/admin/credits", gift, key="b"), 422, "IDEMPOTENCY_CONFLICT")


async def test_a_refusal_is_not_remembered(context: Context, users: Users) -> None:
    creator, fan = await earner(context, users, 10), await users.fan(0)
    await _buy(context, fan, 10)
    check(await creator.post("/payouts", {"tokens": 20}, key="k"), 400, "INSUFFICIENT_TOKENS")
    await move(context, Kind.TIP, fan.user_id, creator.user_id, 10)
    assert (await creator.post("/payouts", {"tokens": 20}, key="k")).status_code == 201


async def test_fifty_at_once_under_one_key_cash_out_once(context: Context, users: Users) -> None:
    creator = await earner(context, users, 50)
    answers = await _at_once(50, lambda i: creator.post("/payouts", {"tokens": 20}, key="tap"))
    assert [answer.status_code for answer in answers] == [201] * 50, {answer.text for answer in answers}
    assert len({answer.text for answer in answers}) == 1
    assert (await balance(creator), (await creator.get("/payouts")).json()["total"]) == (30, 1)


async def test_many_at_once_never_cash_out_more_than_was_earned(context: Context, users: Users) -> None:
    creator = await earner(context, users, 50)
    await give(context, creator.user_id, 500)  # the balance would suffice
    answers = await _at_once(20, lambda i: creator.post("/payouts", {"tokens": 20}, key=f"k{i}"))
    assert sorted(answer.status_code for answer in answers) == [201] * 2 + [400] * 18
    assert (await balance(creator), await cashable(creator)) == (510, 10)


async def _at_once(count: int, ask: Callable[[int], Awaitable[httpx.Response]]) -> list[httpx.Response]:
    answers: list[httpx.Response] = []

    async def ask_one(i: int) -> None:
        answers.append(await ask(i))

    async with trio.open_nursery() as nursery:
        for i in range(count):
            nursery.start_soon(ask_one, i)
    return answers


# After a crash


async def test_a_payout_that_was_stored_and_not_booked_is_booked_by_the_next(context: Context, users: Users) -> None:
    creator = await earner(context, users, 50)
    wish = NewPayout(
        id=new_uuid(),
        creator_id=creator.user_id,
        posting_key=client_key(creator.user_id, "lost"),
        tokens=20,
        min_tokens=10,
        holding_days=0,
        cents=100,
        currency="USD",
    )
    await reserve_payout(context.postgres, wish)
    assert (await cashable(creator), (await creator.get("/payouts")).json()["total"]) == (30, 0)
    check(await creator.post("/payouts", {"tokens": 40}), 400, "INSUFFICIENT_TOKENS")
    assert (await balance(creator), (await creator.get("/payouts")).json()["total"]) == (30, 1)
    again = await creator.post("/payouts", {"tokens": 20}, key="lost")
    assert (again.json()["payoutId"], again.json()["wallet"]) == (str(wish.id), {"balance": 30})


async def test_a_payout_that_cannot_be_booked_any_more_is_abandoned(context: Context, users: Users) -> None:
    creator, other = await earner(context, users, 50), await users.creator()
    wish = NewPayout(
        id=new_uuid(),
        creator_id=creator.user_id,
        posting_key=client_key(creator.user_id, "lost"),
        tokens=40,
        min_tokens=10,
        holding_days=0,
        cents=200,
        currency="USD",
    )
    await reserve_payout(context.postgres, wish)
    await move(context, Kind.TIP, creator.user_id, other.user_id, 20)
    assert (await creator.post("/payouts", {"tokens": 30}, key="lost")).status_code == 201, "its key is free again"
    assert (await balance(creator), (await creator.get("/payouts")).json()["total"]) == (0, 1)


# Settling


async def test_an_operator_pays_a_payout_and_records_it(context: Context, users: Users) -> None:
    creator, operator = await earner(context, users, 50), await users.operator()
    payout = (await creator.post("/payouts", {"tokens": 20})).json()
    path = f"/admin/payouts/{payout['payoutId']}"
    paid = await operator.post(path, {"status": "paid", "note": " bank\u0007 reference 5 "})
    assert (paid.status_code, paid.json()["status"], paid.json()["note"]) == (200, "paid", "bank reference 5")
    assert (await operator.post(path, {"status": "paid", "note": "another"})).json() == paid.json()
    check(await operator.post(path, {"status": "rejected"}), 409, "PAYOUT_SETTLED")
    assert (await creator.get("/payouts", status="paid")).json()["items"] == [paid.json()]
    assert (await creator.get("/payouts", status="requested")).json()["items"] == []
    assert await balance(creator) == 30


async def test_a_rejected_payout_is_returned_once_and_can_be_requested_again(context: Context, users: Users) -> None:
    creator, operator = await earner(context, users, 50), await users.operator()
    first = (await creator.post("/payouts", {"tokens": 50}, key="k")).json()
    path = f"/admin/payouts/{first['payoutId']}"
    answers = await _at_once(10, lambda i: operator.post(path, {"status": "rejected"}))
    assert [answer.status_code for answer in answers] == [200] * 10
    assert (await balance(creator), await cashable(creator)) == (50, 50)
    check(await operator.post(path, {"status": "paid"}), 409, "PAYOUT_SETTLED")
    again = (await creator.post("/payouts", {"tokens": 50}, key="k")).json()
    assert (again["payoutId"], again["status"]) == (first["payoutId"], "rejected"), "the key is used"
    assert (await creator.post("/payouts", {"tokens": 50})).status_code == 201
    entries = (await creator.get("/wallet/ledger")).json()["items"]
    assert [(entry["kind"], entry["tokens"]) for entry in entries[:3]] == [
        ("payout", -50),
        ("refund", 50),
        ("payout", -50),
    ]


async def test_paid_and_rejected_at_once_are_one_of_the_two(context: Context, users: Users) -> None:
    creator, operator = await earner(context, users, 500), await users.operator()
    for _ in range(5):
        payout = (await creator.post("/payouts", {"tokens": 10})).json()
        before = await balance(creator)
        answers = await _settle_both_ways(operator, payout["payoutId"])
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        won = next(answer.json()["status"] for answer in answers if answer.status_code == 200)
        assert await balance(creator) == before + (10 if won == "rejected" else 0)


async def _settle_both_ways(operator: Caller, payout_id: str) -> list[httpx.Response]:
    ways = ("paid", "rejected")
    return await _at_once(2, lambda i: operator.post(f"/admin/payouts/{payout_id}", {"status": ways[i]}))


async def test_tokens_that_a_server_had_no_time_to_return_are_returned_later(
    context: Context, users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    creator, operator = await earner(context, users, 50), await users.operator()
    payout = (await creator.post("/payouts", {"tokens": 50})).json()

    async def away(*_: object) -> Any:
        raise StorageUnavailable("just now")

    with monkeypatch.context() as broken:
        broken.setattr(StorageActor, "post", away)
        answer = await operator.post(f"/admin/payouts/{payout['payoutId']}", {"status": "rejected"})
        check(answer, 503, "STORAGE_UNAVAILABLE")
    assert await balance(creator) == 0
    for _ in range(2):
        await context.payouts.give_back_rejected()
    assert await balance(creator) == 50


async def test_only_operators_settle_and_see_all(context: Context, users: Users) -> None:
    creator, operator = await earner(context, users, 50), await users.operator()
    other = await earner(context, users, 50)
    payouts = [(await each.post("/payouts", {"tokens": 20})).json() for each in (creator, other)]
    path = f"/admin/payouts/{payouts[0]['payoutId']}"
    check(await creator.post(path, {"status": "paid"}), 403, "FORBIDDEN")
    check(await creator.get("/admin/payouts"), 403, "FORBIDDEN")
    check(await operator.post(f"/admin/payouts/{SOMEBODY}", {"status": "paid"}), 404, "NOT_FOUND")
    for body in ({}, {"status": "requested"}, {"status": "paid", "note": "x" * 501}):
        check(await operator.post(path, body), 400, "VALIDATION_FAILED")
    page = await operator.get("/admin/payouts", status="requested", limit=1)
    rest = await operator.follow(page.links["next"]["url"])
    ids = [item["payoutId"] for item in page.json()["items"] + rest.json()["items"]]
    assert ids == [payouts[1]["payoutId"], payouts[0]["payoutId"]]
    row = await context.postgres.fetchrow("SELECT balance FROM wallets WHERE id = $1", PAYOUTS)
    assert row is not None and row["balance"] == 40
