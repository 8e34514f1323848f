"""The wallet and its statement."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from domain.billing.posting import Outcome
from domain.instant import next_day, rfc3339
from server.context import Context
from tests.server.rest.conftest import Users
from tests.server.rest.problems import check
from tests.storage.ledger_pair import tip
from tests.support.servers import give


async def test_the_wallet_sums_earnings_and_spendings(users: Users) -> None:
    fan, creator = await users.fan(100), await users.creator(60)
    call_id, _, _ = await users.start_call(fan, creator)
    tokens = (await fan.post(f"/billing/{call_id}/stop")).json()["call"]["tokens"]
    assert tokens >= 1
    limits = {"dailySpendLimit": None}
    fans, creators = (await fan.get("/wallet")).json(), (await creator.get("/wallet")).json()
    assert fans == {
        "balance": 100 - tokens,
        "promotional": 100 - tokens,
        "cashable": 0,
        "held": 0,
        "owed": 0,
        "lifetimeEarned": 0,
        "lifetimeSpent": tokens,
        "limits": limits,
        "frozen": False,
    }
    assert creators == {
        "balance": tokens,
        "promotional": tokens,
        "cashable": 0,
        "held": 0,
        "owed": 0,
        "lifetimeEarned": tokens,
        "lifetimeSpent": 0,
        "limits": limits,
        "frozen": False,
    }


async def test_the_statement_has_every_entry_with_the_balance_after_it(context: Context, users: Users) -> None:
    fan, creator = await users.fan(100), await users.creator(60)
    call_id, _, _ = await users.start_call(fan, creator)
    await fan.post(f"/billing/{call_id}/stop")
    await give(context, fan.user_id, 5)
    entries = (await fan.get("/wallet/ledger")).json()["items"]
    assert [entry["kind"] for entry in entries[:2]] == ["credit", "block"]
    assert entries[-1]["kind"] == "credit"
    assert entries[-1]["counterparty"] == "promotions"
    block = entries[-2]
    assert (block["tokens"], block["balanceAfter"], block["roomId"], block["blockNo"]) == (-1, 99, call_id, 1)
    assert block["counterparty"] == str(creator.user_id)
    assert [entry["n"] for entry in entries] == list(range(len(entries), 0, -1))
    for later, earlier in pairwise(entries):
        assert later["balanceAfter"] == earlier["balanceAfter"] + later["tokens"]


async def test_the_statement_is_paged_by_a_cursor_that_new_entries_do_not_shift(context: Context, users: Users) -> None:
    fan = await users.fan(1)
    for tokens in (2, 3, 4, 5):
        await give(context, fan.user_id, tokens)
    for kind in ({}, {"kind": "credit"}):
        page = await fan.get("/wallet/ledger", limit=2, **kind)
        total = page.json()["total"]
        await give(context, fan.user_id, 99)
        shown = [entry["n"] for entry in page.json()["items"]]
        while "next" in page.links:
            assert ("kind=credit" in page.links["next"]["url"]) is bool(kind)
            assert len(shown) < total, "the pages go round in circles"
            page = await fan.follow(page.links["next"]["url"])
            shown += [entry["n"] for entry in page.json()["items"]]
        assert shown == list(range(total, 0, -1))


async def test_the_statement_is_filtered_by_kind_and_time(context: Context, users: Users) -> None:
    fan = await users.fan(1)
    await give(context, fan.user_id, 2)
    rows = await context.postgres.fetch("SELECT created_at FROM journal ORDER BY credit_n DESC LIMIT 1")
    latest: datetime = rows[0]["created_at"]
    assert len((await fan.get("/wallet/ledger", kind="credit")).json()["items"]) == 2
    assert (await fan.get("/wallet/ledger", kind="tip")).json()["total"] == 0
    hour = timedelta(hours=1)
    now = datetime.now(UTC)
    for query, count in (
        ({"from": (now - hour).isoformat()}, 2),
        ({"from": (now + hour).isoformat()}, 0),
        ({"to": (now + hour).isoformat()}, 2),
        ({"to": (now - hour).isoformat()}, 0),
        ({"from": latest.isoformat(), "kind": "credit"}, 1),
        ({"to": latest.isoformat(), "kind": "credit"}, 1),
    ):
        assert (await fan.get("/wallet/ledger", **query)).json()["total"] == count, query


async def test_a_cursor_that_is_no_entrys_number_is_refused(users: Users) -> None:
    fan = await users.fan(1)
    for cursor in ("x", "-1", "1.5", "2147483648", "9" * 10, "9" * 11):
        fields = check(await fan.get("/wallet/ledger", before=cursor), 400, "VALIDATION_FAILED")
        assert [error["field"] for error in fields["errors"]] == ["before"]


async def test_no_user_sees_anothers_entries(users: Users) -> None:
    rich, poor = await users.fan(1000), await users.fan(0)
    answer = await poor.get("/wallet/ledger")
    assert answer.json()["items"] == []
    assert (await rich.get("/wallet/ledger")).json()["total"] == 1


# Users' own spend limits


async def test_a_limit_counts_at_once_and_the_wallet_shows_it(context: Context, users: Users) -> None:
    fan, creator = await users.fan(100), await users.creator(60)
    answer = await fan.put("/wallet/limits", {"dailySpendLimit": 50})
    assert answer.status_code == 200
    midnight = rfc3339(next_day(context.clock.now()))
    assert answer.json() == {"dailySpendLimit": 50, "spent": 0, "resetsAt": midnight}
    receipts = await context.actor.post([tip(fan.user_id, creator.user_id, tokens) for tokens in (30, 21)])
    assert [receipt.outcome for receipt in receipts] == [Outcome.COMMITTED, Outcome.LIMITED]
    limits = {"dailySpendLimit": 50, "spent": 30, "resetsAt": midnight}
    assert (await fan.get("/wallet")).json()["limits"] == limits
    assert (await fan.get("/me")).json()["wallet"]["limits"] == limits
    assert (await creator.get("/wallet")).json()["limits"] == {"dailySpendLimit": None}


@pytest.mark.parametrize("wanted", [60, None])
async def test_a_higher_limit_or_none_counts_after_a_day(context: Context, users: Users, wanted: int | None) -> None:
    fan = await users.fan(100)
    await fan.put("/wallet/limits", {"dailySpendLimit": 50})
    limits = (await fan.put("/wallet/limits", {"dailySpendLimit": wanted})).json()
    assert (limits["dailySpendLimit"], limits["next"]["dailySpendLimit"]) == (50, wanted)
    wait = datetime.fromisoformat(limits["next"]["at"]) - datetime.now(UTC)
    assert timedelta(hours=23, minutes=59) < wait <= timedelta(hours=24)
    await context.postgres.execute("UPDATE spend_limits SET next_at = now()")
    assert (await fan.get("/wallet")).json()["limits"]["dailySpendLimit"] == wanted


async def test_an_invalid_limit_is_refused_by_name(users: Users) -> None:
    fan = await users.fan(100)
    for body in ({}, *({"dailySpendLimit": value} for value in (-1, "5", 1.5, 2**53))):
        fields = check(await fan.put("/wallet/limits", body), 400, "VALIDATION_FAILED")
        assert [error["field"] for error in fields["errors"]] == ["dailySpendLimit"]
    assert (await fan.get("/wallet")).json()["limits"] == {"dailySpendLimit": None}
