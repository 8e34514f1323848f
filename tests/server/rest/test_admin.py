"""Operators' routes: credits under a key, the audit, and the live rooms."""

from typing import Any
from uuid import UUID

import httpx
import pytest
import trio

from domain.ids import PROMOTIONS
from server.context import Context
from server.rest.routes import admin
from storage.database_errors import StatementRefused
from storage.ledger.audit import audit
from tests.server.rest.conftest import Caller, Users
from tests.server.rest.problems import SOMEBODY, check


def credit(user: Caller, tokens: Any = 50, reason: Any = "welcome") -> dict[str, Any]:
    return {"userId": str(user.user_id), "tokens": tokens, "reason": reason}


async def balance(user: Caller) -> int:
    return int((await user.get("/wallet")).json()["balance"])


async def test_a_credit_reaches_the_wallet_and_its_owner_sees_the_reason(users: Users) -> None:
    fan, operator = await users.fan(10), await users.operator()
    phone = await users.phone(fan)
    given = await operator.post("/admin/credits", credit(fan, 50, " wel\u0007come "))
    assert given.status_code == 201
    fields = given.json()
    assert UUID(fields["creditId"]).version == 7
    assert fields == {**credit(fan), "creditId": fields["creditId"], "wallet": {"balance": 60}}
    entry = (await fan.get("/wallet/ledger")).json()["items"][0]
    assert (entry["kind"], entry["tokens"], entry["balanceAfter"]) == ("credit", 50, 60)
    assert (entry["counterparty"], entry["refId"], entry["memo"]) == ("promotions", fields["creditId"], "welcome")
    changed = await trio.to_thread.run_sync(phone.wait_for, "wallet:changed")
    assert (changed["balance"], changed["tokens"], changed["cause"]) == (60, 50, "credit")


async def test_a_correction_debits_never_more_than_the_balance(context: Context, users: Users) -> None:
    fan, operator = await users.fan(10), await users.operator()
    taken = await operator.post("/admin/credits", credit(fan, -4, "mistake"))
    assert (taken.status_code, taken.json()["tokens"], taken.json()["wallet"]) == (201, -4, {"balance": 6})
    fields = check(await operator.post("/admin/credits", credit(fan, -7, "mistake")), 400, "INSUFFICIENT_TOKENS")
    assert [fields[name] for name in ("required", "current", "shortfall")] == [7, 6, 1]
    assert await balance(fan) == 6
    assert [finding async for finding in audit(context.postgres) if finding.rows] == []


async def test_an_invalid_credit_is_refused_by_name(users: Users) -> None:
    fan, operator = await users.fan(10), await users.operator()
    for field, values in {
        "tokens": (0, "5", 5.0, 1_000_000_001, -1_000_000_001, 2**63, None),
        "reason": ("", "\n\t", "a\u0000b", "x" * 501, 5),
        "userId": ("nobody", 5),
    }.items():
        for value in values:
            answer = await operator.post("/admin/credits", {**credit(fan), field: value})
            fields = check(answer, 400, "VALIDATION_FAILED")
            assert [error["field"] for error in fields["errors"]] == [field]
    assert await balance(fan) == 10


async def test_an_unknown_user_cannot_be_credited(users: Users) -> None:
    operator = await users.operator()
    for user_id in (SOMEBODY, PROMOTIONS):
        answer = await operator.post("/admin/credits", {"userId": str(user_id), "tokens": 1, "reason": "x"})
        check(answer, 404, "NOT_FOUND")


# The same key


async def test_the_same_key_gives_once_and_answers_the_same(users: Users) -> None:
    fan, operator = await users.fan(0), await users.operator()
    first = await operator.post("/admin/credits", credit(fan), key="k")
    await operator.post("/admin/credits", credit(fan, 1))
    for key in ("k", '"k"'):
        again = await operator.post("/admin/credits", credit(fan), key=key)
        assert (again.status_code, again.json()) == (201, first.json())
    assert await balance(fan) == 51


async def test_a_correction_is_repeated_whatever_the_wallet_has_by_then(users: Users) -> None:
    fan, operator = await users.fan(10), await users.operator()
    first = await operator.post("/admin/credits", credit(fan, -10), key="k")
    again = await operator.post("/admin/credits", credit(fan, -10), key="k")
    assert (again.status_code, again.json()) == (201, first.json())
    assert await balance(fan) == 0


async def test_without_a_key_each_request_gives(users: Users) -> None:
    fan, operator = await users.fan(0), await users.operator()
    ids = {(await operator.post("/admin/credits", credit(fan))).json()["creditId"] for _ in range(2)}
    assert (len(ids), await balance(fan)) == (2, 100)


async def test_the_same_key_with_other_content_is_a_conflict(users: Users) -> None:
    fan, other, operator = await users.fan(0), await users.fan(0), await users.operator()
    await operator.post("/admin/credits", credit(fan), key="k")
    for changed in (credit(other), credit(fan, 51), credit(fan, -50), credit(fan, 50, "again")):
        check(await operator.post("/admin/credits", changed, key="k"), 422, "IDEMPOTENCY_CONFLICT")
    nobody = {"userId": str(SOMEBODY), "tokens": 50, "reason": "welcome"}
    check(await operator.post("/admin/credits", nobody, key="k"), 422, "IDEMPOTENCY_CONFLICT")
    assert (await balance(fan), await balance(other)) == (50, 0)


async def test_one_key_space_for_calls_and_credits(users: Users) -> None:
    fan, operator, creator = await users.fan(0), await users.operator(), await users.online_creator()
    ring = {"creatorId": str(creator.user_id)}
    await operator.get("/me")
    colleague, gift = await users.operator(), {"userId": str(operator.user_id), "tokens": 100, "reason": "a test call"}
    assert (await colleague.post("/admin/credits", gift)).status_code == 201
    assert (await operator.post("/admin/credits", credit(fan), key="a")).status_code == 201
    check(await operator.post("/calls/init", ring, key="a"), 422, "IDEMPOTENCY_CONFLICT")
    assert (await operator.post("/calls/init", ring, key="b")).status_code == 201
    check(await operator.post("/admin/credits", credit(fan), key="b"), 422, "IDEMPOTENCY_CONFLICT")


async def test_nobody_credits_themselves(users: Users) -> None:
    operator = await users.operator()
    await operator.get("/me")
    gift = {"userId": str(operator.user_id), "tokens": 100, "reason": "self"}
    check(await operator.post("/admin/credits", gift), 400, "SELF_PAYMENT")
    assert await balance(operator) == 0


async def test_every_credit_and_refund_is_kept_with_its_operator_and_reason(context: Context, users: Users) -> None:
    fan, operator, creator = await users.fan(0), await users.operator(), await users.creator()
    given = (await operator.post("/admin/credits", credit(fan), key="k")).json()
    await operator.post("/admin/credits", credit(fan), key="k")
    tip = (await fan.post("/tips/send", {"toCreatorId": str(creator.user_id), "amountTokens": 40})).json()
    await operator.post("/admin/refunds", {"tipId": tip["tipId"], "reason": "a slip"})
    kept = (await operator.get("/admin/actions", targetId=str(fan.user_id))).json()["items"]
    assert [(each["action"], each["tokens"], each["refId"], each["reason"]) for each in kept] == [
        ("refund", 40, tip["tipId"], "a slip"),
        ("credit", given["tokens"], given["creditId"], given["reason"]),
    ]
    assert {each["operatorId"] for each in kept} == {str(operator.user_id)}
    check(await fan.get("/admin/actions"), 403, "FORBIDDEN")
    with pytest.raises(StatementRefused):
        await context.postgres.execute("UPDATE operator_actions SET reason = 'nothing'")


async def test_a_key_is_each_operators_own(users: Users) -> None:
    fan, one, other = await users.fan(0), await users.operator(), await users.operator()
    for operator in (one, other):
        assert (await operator.post("/admin/credits", credit(fan), key="k")).status_code == 201
    assert await balance(fan) == 100


async def test_twenty_at_once_under_one_key_give_once(users: Users) -> None:
    fan, operator = await users.fan(0), await users.operator()
    answers: list[httpx.Response] = []

    async def give() -> None:
        answers.append(await operator.post("/admin/credits", credit(fan), key="k"))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(give)
    assert [answer.status_code for answer in answers] == [201] * 20
    assert len({answer.text for answer in answers}) == 1
    assert await balance(fan) == 50


async def test_twenty_different_at_once_under_one_key_leave_one_winner(users: Users) -> None:
    fan, operator = await users.fan(0), await users.operator()
    answers: list[httpx.Response] = []

    async def give(tokens: int) -> None:
        answers.append(await operator.post("/admin/credits", credit(fan, tokens), key="k"))

    async with trio.open_nursery() as nursery:
        for tokens in range(1, 21):
            nursery.start_soon(give, tokens)
    assert sorted(answer.status_code for answer in answers) == [201] + [422] * 19
    winner = next(answer for answer in answers if answer.status_code == 201)
    assert await balance(fan) == winner.json()["tokens"]


async def test_a_server_that_drains_returns_earlier_credits_and_gives_no_more(
    context: Context, users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    fan, operator = await users.fan(0), await users.operator()
    first = await operator.post("/admin/credits", credit(fan), key="k")
    monkeypatch.setattr(context, "draining", True)
    assert (await operator.post("/admin/credits", credit(fan), key="k")).json() == first.json()
    check(await operator.post("/admin/credits", credit(fan)), 503, "DRAINING")
    assert await balance(fan) == 50


# Reads by operators


async def test_the_audit_checks_the_ledger(users: Users) -> None:
    fan, operator, creator = await users.fan(10), await users.operator(), await users.creator()
    call_id, _, _ = await users.start_call(fan, creator)
    await fan.post(f"/billing/{call_id}/stop")
    proved = (await operator.get("/admin/audit")).json()
    assert proved["holds"] is True
    assert len(proved["proofs"]) >= 6
    assert all(proof["holds"] and proof["rows"] == [] and proof["proof"] for proof in proved["proofs"])


async def test_the_audit_shows_each_violation(context: Context, users: Users) -> None:
    fan, operator = await users.fan(10), await users.operator()
    await context.postgres.execute("ALTER TABLE wallets DISABLE TRIGGER only_booking_writes_balances")
    await context.postgres.execute("UPDATE wallets SET balance = balance + 1 WHERE id = $1", fan.user_id)
    found = (await operator.get("/admin/audit")).json()
    broken = {proof["proof"]: proof["rows"] for proof in found["proofs"] if not proof["holds"]}
    assert found["holds"] is False
    assert broken["all balances sum to zero"] == [{"sum": "1"}]
    assert [row["id"] for row in broken["each wallet equals its journal, and so does each part of it"]] == [
        str(fan.user_id)
    ]


async def test_one_audit_at_a_time(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    operator = await users.operator()
    begun, enough = trio.Event(), trio.Event()
    statuses: list[int] = []

    async def wait_first(postgres: Any) -> Any:
        begun.set()
        await enough.wait()
        async for finding in audit(postgres):
            yield finding

    async def prove() -> None:
        statuses.append((await operator.get("/admin/audit")).status_code)

    monkeypatch.setattr(admin, "audit", wait_first)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(prove)
        await begun.wait()
        check(await operator.get("/admin/audit"), 503, "OVERLOADED")
        enough.set()
    assert statuses == [200]
    assert (await operator.get("/admin/audit")).status_code == 200


async def test_live_rooms_are_listed_newest_first(users: Users) -> None:
    operator = await users.operator()
    assert (await operator.get("/admin/rooms")).json()["items"] == []
    made = []
    for _ in range(3):
        fan, creator = await users.fan(), await users.online_creator()
        made.append((await fan.post("/calls/init", {"creatorId": str(creator.user_id)})).json())
    page = await operator.get("/admin/rooms", limit=2)
    rest = await operator.follow(page.links["next"]["url"])
    items = page.json()["items"] + rest.json()["items"]
    assert [(item["roomId"], item["channel"], item["kind"], item["call"]["status"]) for item in items] == [
        (call["callId"], call["channel"], "call", "ringing") for call in reversed(made)
    ]
    assert (page.json()["total"], "next" in rest.links) == (3, False)
    check(await operator.get("/admin/rooms", before="x"), 400, "VALIDATION_FAILED")
