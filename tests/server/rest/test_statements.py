"""The statement of a month: its lines explain the difference between both balances, for users and system wallets."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.ids import ESCROW, TOKEN_SALES
from tests.server.rest.conftest import Caller
from tests.server.rest.problems import SOMEBODY, check
from tests.server.rest.shop import Shop, open_shop
from tests.storage.ledger_pair import purchase, tip
from tests.support.days import wait_past_midnight


@pytest.fixture
async def shop(dsn: str) -> AsyncIterator[Shop]:
    await wait_past_midnight()
    async with open_shop(dsn) as opened:
        yield opened


async def statement(caller: Caller, path: str = "/wallet/statement", **query: str) -> dict[str, Any]:
    answer = await caller.get(path, **query)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    assert shown["openingBalance"] + sum(line["tokens"] for line in shown["lines"]) == shown["closingBalance"]
    assert sum(line["count"] for line in shown["lines"]) == shown["lastN"] - shown["firstN"] + 1
    return shown


def lines(shown: dict[str, Any]) -> set[tuple[str, str | None, int, int]]:
    """The kind, what was refunded, the number of entries and the tokens of each line."""
    return {(each["kind"], each["refundOf"], each["count"], each["tokens"]) for each in shown["lines"]}


async def test_the_running_month_of_fan_creator_and_system_wallet(shop: Shop) -> None:
    fan, creator, operator = await shop.users.fan(0), await shop.users.creator(), await shop.users.operator()
    tips = [tip(fan.user_id, creator.user_id, tokens) for tokens in (40, 2)]
    assert all(receipt.paid for receipt in await shop.context.actor.post([purchase(fan.user_id, 1_000), *tips]))
    sent = await fan.post("/tips/send", {"toCreatorId": str(creator.user_id), "amountTokens": 7})
    refund = {"tipId": sent.json()["tipId"], "reason": "sorry"}
    assert (await operator.post("/admin/refunds", refund)).status_code == 201
    assert (await creator.post("/payouts", {"tokens": 30})).status_code == 201

    paid = await statement(fan)
    assert lines(paid) == {("purchase", None, 1, 1_000), ("tip", None, 3, -49), ("refund", "tip", 1, 7)}
    assert (paid["openingBalance"], paid["closingBalance"], paid["complete"]) == (0, 958, False)
    assert (paid["firstN"], paid["lastN"], paid["tz"]) == (1, 5, "UTC")
    earned = await statement(operator, f"/admin/wallets/{creator.user_id}/statement")
    assert lines(earned) == {("tip", None, 3, 49), ("refund", "tip", 1, -7), ("payout", None, 1, -30)}
    assert earned == await statement(creator) | {"through": earned["through"]}
    sold = await statement(operator, f"/admin/wallets/{TOKEN_SALES}/statement")
    assert lines(sold) == {("purchase", None, 1, -1_000)}
    assert lines(await statement(operator, f"/admin/wallets/{ESCROW}/statement")) == set()


async def test_a_month_without_entries_has_the_balance_of_the_one_before(shop: Shop) -> None:
    fan = await shop.users.fan(25)
    past = await statement(fan, month="2026-02", tz="Europe/Berlin")
    assert (past["from"], past["through"]) == ("2026-01-31T23:00:00.000Z", "2026-02-28T23:00:00.000Z")
    assert (past["openingBalance"], past["closingBalance"], past["complete"]) == (0, 0, True)
    assert (past["firstN"], past["lastN"], past["lines"]) == (1, 0, [])
    coming = await statement(fan, month="2099-12")
    assert (coming["openingBalance"], coming["closingBalance"], coming["complete"]) == (25, 25, False)


@pytest.mark.parametrize("month", ["2026-13", "2026-00", "26-01", "1999-12", "2100-01", "2026-01-01", "", "x"])
async def test_what_is_no_month_is_refused(shop: Shop, month: str) -> None:
    check(await (await shop.users.fan(0)).get("/wallet/statement", month=month), 400, "VALIDATION_FAILED")


async def test_only_operators_read_the_wallets_of_others(shop: Shop) -> None:
    fan, operator = await shop.users.fan(0), await shop.users.operator()
    for name in ("statement", "export"):
        for wallet in (TOKEN_SALES, SOMEBODY, fan.user_id):
            check(await fan.get(f"/admin/wallets/{wallet}/{name}"), 403, "FORBIDDEN")
        check(await operator.get(f"/admin/wallets/{SOMEBODY}/{name}"), 404, "NOT_FOUND")
    check(await fan.get("/admin/journal"), 403, "FORBIDDEN")
