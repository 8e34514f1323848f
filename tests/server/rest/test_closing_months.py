"""Three months are closed from the exports alone: journal, wallets, statements and overview agree to the token.

The history is random, with days of 23 and 25 hours and postings on the very boundaries of months; its seed is printed.
"""

import csv
import io
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from domain.billing.posting import Kind
from domain.ids import ESCROW, LOSSES, PAYOUTS, PROMOTIONS, TOKEN_SALES, RoomId
from server.config.time_zones import start_of_day
from server.context import Context
from storage.postgres import Connection
from tests.server.rest.conftest import Caller
from tests.server.rest.ended_calls import book, call_of
from tests.server.rest.shop import Shop, open_shop
from tests.storage.ledger_pair import in_room, purchase, tip

MONTHS = ("2025-09", "2025-10", "2025-11")
FIRST, AFTER = date(2025, 9, 1), date(2025, 12, 1)
# Clocks change on October 26, on November 2, and by half an hour on October 5.
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC")
STEPS = 120
SYSTEM = {"escrow": ESCROW, "token_sales": TOKEN_SALES, "promotions": PROMOTIONS, "payouts": PAYOUTS, "losses": LOSSES}
CAMEL = {"users": "users", "escrow": "escrow", "tokenSales": "token_sales", "promotions": "promotions"} | {
    name: name for name in ("payouts", "losses")
}

Row = dict[str, str]


@pytest.fixture
async def shop(dsn: str) -> AsyncIterator[Shop]:
    async with open_shop(dsn) as opened:
        yield opened
        await opened.check_ledger()


# The history


class History:
    """Random payments between a few users."""

    def __init__(self, shop: Shop, chance: random.Random, fans: list[Caller], creators: list[Caller]) -> None:
        self._shop, self._chance, self._fans, self._creators = shop, chance, fans, creators
        self._operator: Caller
        self._tips: list[str] = []
        self._calls: list[RoomId] = []
        self._tickets: list[tuple[RoomId, str]] = []
        self._payouts: list[str] = []

    async def make(self, operator: Caller) -> None:
        """Book everything, at present."""
        self._operator = operator
        for fan in self._fans:
            await fan.get("/me")
            await book(self._shop.context, purchase(fan.user_id, 3_000))
        kinds = (self._buy, self._give, self._tip, self._tip, self._call, self._show, self._refund, self._cash_out)
        for _ in range(STEPS):
            await self._chance.choice(kinds)(self._chance.choice(self._fans), self._chance.choice(self._creators))

    async def _buy(self, fan: Caller, creator: Caller) -> None:
        await book(self._shop.context, purchase(fan.user_id, self._chance.choice((100, 500))))

    async def _give(self, fan: Caller, creator: Caller) -> None:
        gift = {"userId": str(fan.user_id), "tokens": self._chance.randint(1, 50), "reason": "welcome"}
        assert (await self._operator.post("/admin/credits", gift)).status_code == 201

    async def _tip(self, fan: Caller, creator: Caller) -> None:
        sent = await fan.post("/tips/send", {"toCreatorId": str(creator.user_id), "amountTokens": 20})
        self._tips.append(sent.json()["tipId"])

    async def _call(self, fan: Caller, creator: Caller) -> None:
        self._calls.append(await call_of(self._shop, fan, creator, self._chance.randint(1, 3)))

    async def _show(self, fan: Caller, creator: Caller) -> None:
        show = {"title": "A show", "type": "private", "ticketPriceTokens": 25}
        stream = RoomId(UUID((await creator.post("/streams", show)).json()["stream"]["id"]))
        bought = await fan.post(f"/streams/{stream}/tickets")
        assert bought.status_code == 201, bought.text
        if self._chance.random() < 0.3:
            await self._give_back(ticketId=bought.json()["ticket"]["ticketId"])
        if self._chance.random() < 0.7:
            await self._shop.context.actor.release(stream)
            await book(self._shop.context, in_room(tip(fan.user_id, creator.user_id, 5), stream))

    async def _refund(self, fan: Caller, creator: Caller) -> None:
        if self._tips and self._chance.random() < 0.6:
            await self._give_back(tipId=self._tips.pop())
        elif self._calls:
            await self._give_back(callId=str(self._calls.pop()))

    async def _give_back(self, **target: str) -> None:
        answer = await self._operator.post("/admin/refunds", {**target, "reason": "sorry", "confirm": True})
        assert answer.status_code == 201, answer.text

    async def _cash_out(self, fan: Caller, creator: Caller) -> None:
        cashable = (await creator.get("/wallet")).json()["cashable"]
        if cashable and self._chance.random() < 0.7:
            asked = await creator.post("/payouts", {"tokens": cashable})
            self._payouts.append(asked.json()["payoutId"])
        elif self._payouts:
            await self._operator.post(f"/admin/payouts/{self._payouts.pop()}", {"status": "rejected"})


async def spread(context: Context, chance: random.Random) -> None:
    """Date the journal back, in its order, over the three months; some postings are on boundaries of months."""
    first, last = datetime(2025, 8, 31, 12, tzinfo=UTC), datetime(2025, 12, 1, 11, tzinfo=UTC)
    boundaries = [
        start_of_day(date(2025, month, 1), ZoneInfo(zone)) + off
        for month in (9, 10, 11, 12)
        for zone in ZONES
        for off in (timedelta(microseconds=-1), timedelta(0))
    ]
    changes = [datetime(2025, 10, 25, 22, tzinfo=UTC), datetime(2025, 11, 2, 4, tzinfo=UTC)]

    async def change(connection: Connection) -> None:
        times = [row[0] for row in await connection.fetch("SELECT DISTINCT created_at FROM journal ORDER BY 1")]
        dates = [moment.astimezone(UTC) for moment in boundaries if first < moment < last]
        dates += [chance.choice(changes) + timedelta(hours=6) * chance.random() for _ in range(len(times) // 4)]
        while len(set(dates)) < len(times):
            dates.append(first + (last - first) * chance.random())
        later = dict(zip(times, sorted(chance.sample(sorted(set(dates)), len(times))), strict=True))
        await connection.execute("ALTER TABLE journal DISABLE TRIGGER journal_is_append_only")
        await connection.executemany("UPDATE journal SET created_at = $2 WHERE created_at = $1", list(later.items()))
        await connection.execute("ALTER TABLE journal ENABLE TRIGGER journal_is_append_only")
        await connection.execute(
            "UPDATE debts d SET created_at = j.created_at FROM journal j WHERE j.key = d.advance_key"
        )
        await connection.execute("DELETE FROM quarter_postings")
        await connection.execute("UPDATE figures SET through = $1", first)

    await context.postgres.transaction(change)


# An accountant has CSV and arithmetic


class Accounts:
    """The accounts of one time zone, from the exports."""

    def __init__(self, operator: Caller, zone: str) -> None:
        self._operator = operator
        self.zone = zone

    def period(self, month: str) -> dict[str, str]:
        """The query of a month."""
        first = date.fromisoformat(f"{month}-01")
        after = (first + timedelta(days=31)).replace(day=1)
        return {"from": f"{first}", "to": f"{after}", "tz": self.zone}

    async def csv(self, path: str, **query: str) -> list[Row]:
        answer = await self._operator.get(path, format="csv", **query)
        assert answer.status_code == 200, answer.text
        return list(csv.DictReader(io.StringIO(answer.text)))

    async def json(self, path: str, **query: str) -> dict[str, Any]:
        answer = await self._operator.get(path, **query)
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown


def changes(rows: Iterable[Row]) -> Counter[str]:
    """The change of each wallet by these postings."""
    changed: Counter[str] = Counter()
    for row in rows:
        changed[row["debit"]] -= int(row["tokens"])
        changed[row["credit"]] += int(row["tokens"])
    return changed


def balances(change: Counter[str]) -> dict[str, int]:
    """The changes as an overview sums them: all users together."""
    users = sum(tokens for wallet, tokens in change.items() if wallet not in SYSTEM)
    return {name: users if wallet == "users" else change[wallet] for name, wallet in CAMEL.items()}


def booked(rows: Iterable[Row], kind: str) -> tuple[int, int]:
    """The number of the postings of a kind, and their tokens."""
    tokens = [int(row["tokens"]) for row in rows if row["kind"] == kind]
    return len(tokens), sum(tokens)


def refunded(rows: Iterable[Row], kind: str) -> tuple[int, int]:
    """The number of refunds of a kind, and their tokens; one refund may be two postings of the same time."""
    given = [row for row in rows if row["refundOf"] == kind]
    return len({(row["followsId"], row["at"]) for row in given}), sum(int(row["tokens"]) for row in given)


def check_volume(volume: dict[str, int], rows: Sequence[Row], kind: str) -> None:
    """Check one figure of the overview against the rows."""
    (count, tokens), (refunds, back) = booked(rows, kind), refunded(rows, kind)
    assert volume == {"count": count, "tokens": tokens - back, "refunds": refunds, "refundedTokens": back}, kind


def entry_of(row: Row, wallet: str) -> Iterator[tuple[str, str, str, int]]:
    """A posting as an entry of this wallet: its kind, what it refunds, side and tokens; nothing if it is not one."""
    for side, sign in (("debit", -1), ("credit", 1)):
        if row[side] == wallet:
            yield row["kind"], row["refundOf"], side, sign * int(row["tokens"])


class Closed(NamedTuple):
    """The result of closing a month."""

    rows: list[Row]
    closing: dict[str, int]


async def close(accounts: Accounts, month: str, before: Counter[str]) -> Closed:
    """Close one month after those with these changes, and check that all reads agree."""
    period = accounts.period(month)
    rows = await accounts.csv("/admin/journal", **period)
    overview = await accounts.json("/admin/overview", **period)
    assert overview["opening"] == balances(before)
    assert overview["closing"] == balances(added(before, changes(rows)))
    total = overview["total"]
    for name, kind in (
        ("purchases", "purchase"), ("credits", "credit"), ("tips", "tip"), ("blocks", "block"),
        ("ticketSales", "ticket"), ("payouts", "payout"),
    ):  # fmt: skip
        check_volume(total[name], rows, kind)
        for day in overview["days"]:
            check_volume(day[name], [row for row in rows if row["day"] == day["day"]], kind)
    assert total["losses"]["repaid"] == booked(rows, "repayment")[1]
    assert total["losses"]["advanced"] == sum(
        int(row["tokens"]) for row in rows if row["kind"] == "refund" and row["debit"] == "losses"
    )
    return Closed(rows, overview["closing"])


def added(one: Counter[str], other: Counter[str]) -> Counter[str]:
    """Add changes; Counter's own `+` drops what is negative."""
    both = Counter(one)
    both.update(other)
    return both


async def check_wallet(accounts: Accounts, month: str, wallet: str, rows: Sequence[Row], before: int) -> int:
    """Check a wallet's export and statement of a month against the journal; returns its closing balance."""
    path = f"/admin/wallets/{SYSTEM.get(wallet, wallet)}"
    entries = await accounts.csv(f"{path}/export", **accounts.period(month))
    lines = Counter[tuple[str, str, str]]()
    counts = Counter[tuple[str, str, str]]()
    for row in rows:
        for kind, refund_of, side, tokens in entry_of(row, wallet):
            lines[kind, refund_of, side] += tokens
            counts[kind, refund_of, side] += 1
    shown = await accounts.json(f"{path}/statement", month=month, tz=accounts.zone)
    told = {(each["kind"], each["refundOf"] or "", each["side"]): each for each in shown["lines"]}
    assert {key: line["tokens"] for key, line in told.items()} == {key: lines[key] for key in counts}
    assert {key: line["count"] for key, line in told.items()} == counts
    assert [int(entry["tokens"]) for entry in entries] == [
        tokens for row in sorted(rows, key=lambda row: _number(row, wallet)) for *_, tokens in entry_of(row, wallet)
    ]
    assert (shown["openingBalance"], shown["closingBalance"]) == (before, before + sum(lines.values()))
    assert shown["complete"]
    if entries:
        assert int(entries[-1]["balanceAfter"]) == shown["closingBalance"]
        assert (int(entries[0]["n"]), int(entries[-1]["n"])) == (shown["firstN"], shown["lastN"])
    return int(shown["closingBalance"])


def _number(row: Row, wallet: str) -> int:
    return int(row["debitN"] if row["debit"] == wallet else row["creditN"])


async def test_three_months_with_changes_of_the_clocks_close_to_the_token(shop: Shop) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    fans = [shop.users.stranger() for _ in range(4)]
    creators = [await shop.users.creator() for _ in range(3)]
    operator = await shop.users.operator()
    await History(shop, chance, fans, creators).make(operator)
    await spread(shop.context, chance)
    while (await operator.get("/admin/overview", days=1)).json()["through"] < f"{datetime.now(UTC):%Y-%m-%d}":
        pass  # a request sums up some days
    whole = await Accounts(operator, "UTC").csv("/admin/journal")
    assert {Kind[row["kind"].upper()] for row in whole} >= set(Kind) - {Kind.REPAYMENT}
    wallets = [str(each.user_id) for each in (*fans, *creators)] + list(SYSTEM)
    for zone in ZONES:
        accounts = Accounts(operator, zone)
        start = start_of_day(FIRST, ZoneInfo(zone))
        earlier = [row for row in whole if datetime.fromisoformat(row["at"]) < start]
        later = [row for row in whole if datetime.fromisoformat(row["at"]) >= start_of_day(AFTER, ZoneInfo(zone))]
        held = changes(earlier)
        rows = list(earlier)
        for month in MONTHS:
            closed = await close(accounts, month, held)
            for wallet in wallets:
                after = await check_wallet(accounts, month, wallet, closed.rows, held[wallet])
                held[wallet] = after
            assert closed.closing == balances(held)
            rows += closed.rows
        rows += later
        assert [row["id"] for row in rows] == [row["id"] for row in whole]
    held.update(changes(later))
    stored = await shop.context.postgres.fetch("SELECT id, balance FROM wallets")
    named = {str(wallet_id): name for name, wallet_id in SYSTEM.items()}
    for row in stored:
        assert held[named.get(str(row["id"]), str(row["id"]))] == row["balance"]
