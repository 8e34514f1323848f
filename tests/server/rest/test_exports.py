"""Exports of the journal and of wallets: every posting once, in each form, whole or resumed, and with bounds."""

import csv
import gzip
import io
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from domain.billing.posting import Kind
from domain.ids import ESCROW, TOKEN_SALES, RoomId
from domain.instant import rfc3339_of
from server.context import Context
from server.rest.routes import exports
from storage.accounting.journal import COLUMNS as JOURNAL_COLUMNS
from storage.accounting.journal import JournalEntry
from storage.accounting.wallet_entries import COLUMNS as WALLET_COLUMNS
from storage.accounting.wallet_entries import WalletEntry
from storage.postgres import Row
from tests.server.rest.conftest import Caller
from tests.server.rest.problems import SOMEBODY, check
from tests.server.rest.shop import Shop, open_shop
from tests.storage.ledger_pair import in_room, purchase, tip
from tests.support.days import wait_past_midnight


@pytest.fixture
async def shop(dsn: str) -> AsyncIterator[Shop]:
    await wait_past_midnight()
    async with open_shop(dsn) as opened:
        yield opened
        await opened.check_ledger()


class Booked:
    """A fan and a creator with one posting of each kind between them and the system wallets."""

    def __init__(self, shop: Shop, fan: Caller, creator: Caller, operator: Caller) -> None:
        self.shop, self.fan, self.creator, self.operator = shop, fan, creator, operator

    async def rows(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """The rows of an operator's export in NDJSON."""
        return await self.rows_for(self.operator, path, **query)

    async def rows_for(self, caller: Caller, path: str, **query: Any) -> list[dict[str, Any]]:
        """The rows of one user's export in NDJSON."""
        answer = await caller.get(path, format="ndjson", **query)
        assert answer.status_code == 200, answer.text
        return [msgspec.json.decode(line) for line in answer.content.splitlines()]


@pytest.fixture
async def booked(shop: Shop) -> Booked:
    fan, creator, operator = await shop.users.fan(0), await shop.users.creator(), await shop.users.operator()
    post = shop.context.actor.post
    assert (await post([purchase(fan.user_id, 1_000)]))[0].paid
    show = {"title": "A show", "type": "private", "ticketPriceTokens": 25}
    stream = RoomId(UUID((await creator.post("/streams", show)).json()["stream"]["id"]))
    assert (await post([in_room(tip(fan.user_id, creator.user_id, 40), stream)]))[0].paid
    assert (await fan.post(f"/streams/{stream}/tickets")).status_code == 201
    sent = await fan.post("/tips/send", {"toCreatorId": str(creator.user_id), "amountTokens": 7})
    refund = {"tipId": sent.json()["tipId"], "reason": "sorry"}
    assert (await operator.post("/admin/refunds", refund)).status_code == 201
    await shop.context.actor.release(stream)
    assert (await creator.post("/payouts", {"tokens": 30})).status_code == 201
    gift = {"userId": str(fan.user_id), "tokens": 50, "reason": '=1+1, "welcome"\n'}
    assert (await operator.post("/admin/credits", gift)).status_code == 201
    return Booked(shop, fan, creator, operator)


async def in_journal(context: Context) -> list[Row]:
    return await context.postgres.fetch("SELECT * FROM journal ORDER BY created_at, key")


async def test_the_journal_has_every_posting_once_with_both_wallets(booked: Booked) -> None:
    rows = await booked.rows("/admin/journal", tz="Europe/Berlin")
    stored = await in_journal(booked.shop.context)
    assert [row["id"] for row in rows] == [str(row["key"]) for row in stored]
    named = {booked.fan.user_id: str(booked.fan.user_id), booked.creator.user_id: str(booked.creator.user_id)}
    system = {1: "token_sales", 2: "promotions", 3: "payouts", 4: "losses", 5: "escrow"}
    for row, posting in zip(rows, stored, strict=True):
        entry = msgspec.convert(row, JournalEntry)
        assert (entry.tokens, entry.debit_after, entry.credit_after) == (
            posting["tokens"], posting["debit_after"], posting["credit_after"],
        )  # fmt: skip
        assert (entry.debit_n, entry.credit_n) == (posting["debit_n"], posting["credit_n"])
        for name, wallet in ((entry.debit, posting["debit_wallet"]), (entry.credit, posting["credit_wallet"])):
            assert name == named.get(wallet) or name == system[wallet.int & 0xF]
        assert entry.kind == Kind(posting["kind"]).name.lower()
        assert entry.at == rfc3339_of(posting["created_at"])
    kinds = {row["kind"] for row in rows}
    assert kinds == {"purchase", "credit", "tip", "ticket", "refund", "release", "payout"}
    (refund,) = (row for row in rows if row["kind"] == "refund")
    (tipped,) = (row for row in rows if row["kind"] == "tip" and row["tokens"] == 7)
    assert (refund["followsId"], refund["refundOf"], refund["refId"]) == (tipped["id"], "tip", tipped["refId"])
    assert tipped["followsId"] is None


async def test_a_wallets_entries_add_up_to_its_balance(booked: Booked) -> None:
    for caller in (booked.fan, booked.creator):
        rows = await booked.rows_for(caller, "/wallet/export")
        assert rows == await booked.rows(f"/admin/wallets/{caller.user_id}/export")
        balance = 0
        for n, row in enumerate(rows, 1):
            balance += row["tokens"]
            assert (row["n"], row["balanceAfter"]) == (n, balance)
            assert (row["side"] == "debit") == (row["tokens"] < 0)
            msgspec.convert(row, WalletEntry)
        assert balance == (await caller.get("/wallet")).json()["balance"]


async def test_system_wallets_can_be_exported(booked: Booked) -> None:
    (sold,) = await booked.rows(f"/admin/wallets/{TOKEN_SALES}/export")
    assert (sold["tokens"], sold["counterparty"]) == (-1_000, str(booked.fan.user_id))
    escrow = await booked.rows(f"/admin/wallets/{ESCROW}/export")
    assert [row["tokens"] for row in escrow] == [25, -25]


async def test_csv_has_the_same_rows_under_a_header(booked: Booked) -> None:
    for path, columns in (
        ("/admin/journal", JOURNAL_COLUMNS),
        (f"/admin/wallets/{booked.fan.user_id}/export", WALLET_COLUMNS),
    ):
        answer = await booked.operator.get(path, format="csv")
        read = list(csv.DictReader(io.StringIO(answer.text)))
        assert answer.text.splitlines()[0] == ",".join(columns)
        assert '"' not in answer.text and "=1+1" not in answer.text
        rows = await booked.rows(path)
        assert read == [{name: "" if row[name] is None else str(row[name]) for name in columns} for row in rows]


def test_the_columns_are_those_of_the_documented_rows() -> None:
    for kind, columns in ((JournalEntry, JOURNAL_COLUMNS), (WalletEntry, WALLET_COLUMNS)):
        assert [field.encode_name for field in msgspec.structs.fields(kind)] == list(columns)


async def test_pages_of_json_lead_to_the_end(booked: Booked) -> None:
    for path in ("/admin/journal", f"/admin/wallets/{booked.fan.user_id}/export"):
        rows, pages = [], 0
        answer = await booked.operator.get(path, limit=2)
        while True:
            page = answer.json()
            rows += page["items"]
            pages += 1
            if "next" not in answer.links:
                break
            assert len(page["items"]) == 2
            answer = await booked.operator.follow(answer.links["next"]["url"])
        assert rows == await booked.rows(path)
        assert pages >= len(rows) / 2


@pytest.mark.parametrize("rows", [1, 2, 3])
async def test_portions_of_any_size_make_the_same_export(
    booked: Booked, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    paths = ("/admin/journal", f"/admin/wallets/{booked.fan.user_id}/export")
    whole = [await booked.rows(path) for path in paths]
    monkeypatch.setattr(exports, "ROWS", rows)
    assert [await booked.rows(path) for path in paths] == whole


async def test_an_export_goes_on_behind_any_of_its_rows(booked: Booked) -> None:
    for path, name in (("/admin/journal", "id"), (f"/admin/wallets/{booked.fan.user_id}/export", "n")):
        rows = await booked.rows(path)
        for position, row in enumerate(rows, 1):
            assert await booked.rows(path, after=row[name]) == rows[position:]
    check(await booked.operator.get("/admin/journal", after=SOMEBODY), 400, "VALIDATION_FAILED")


async def test_a_period_is_half_open_and_days_are_those_of_the_zone(booked: Booked) -> None:
    rows = await booked.rows("/admin/journal", tz="Asia/Kathmandu")
    for row in rows:
        local = datetime.fromisoformat(row["at"]) + timedelta(hours=5, minutes=45)
        assert row["day"] == f"{local:%Y-%m-%d}"
    times = [row["created_at"] for row in await in_journal(booked.shop.context)]
    middle = times[len(times) // 2]
    before = await booked.rows("/admin/journal", to=middle.isoformat())
    after = await booked.rows("/admin/journal", **{"from": middle.isoformat()})
    assert [row["id"] for row in before + after] == [row["id"] for row in rows]
    assert datetime.fromisoformat(after[0]["at"]) <= middle
    for path in ("/admin/journal", "/wallet/export"):
        assert await booked.rows(path, **{"from": "2020-01-01", "to": "2020-02-01", "tz": "UTC"}) == []
        assert await booked.rows(path, **{"from": "2199-01-01"}) == []


async def test_the_next_export_begins_where_the_last_one_ended(booked: Booked) -> None:
    first = await booked.operator.get("/admin/journal", format="ndjson")
    through = first.headers["Export-Through"]
    assert (await booked.fan.post("/tips/send", {"toCreatorId": str(booked.creator.user_id), "amountTokens": 3})).json()
    again = await booked.operator.get("/admin/journal", format="ndjson", to=through)
    rest = await booked.rows("/admin/journal", **{"from": through})
    assert again.content == first.content
    assert [row["tokens"] for row in rest] == [3]
    page = await booked.operator.get("/admin/journal", to=through, limit=1)
    assert page.json()["through"] == through


async def test_a_file_has_a_name(booked: Booked) -> None:
    answer = await booked.operator.get("/admin/journal", **{"format": "csv", "from": "2026-01-01", "to": "2026-02-01"})
    assert answer.headers["Content-Disposition"] == 'attachment; filename="journal_2026-01-01_2026-02-01.csv"'
    assert "Content-Length" not in answer.headers
    mine = await booked.fan.get("/wallet/export", format="ndjson", to="2026-02-01")
    assert mine.headers["Content-Disposition"] == 'attachment; filename="wallet_2026-02-01.ndjson"'
    theirs = await booked.operator.get(f"/admin/wallets/{ESCROW}/export", format="csv", to="2026-02-01")
    assert theirs.headers["Content-Disposition"] == 'attachment; filename="escrow_2026-02-01.csv"'


async def test_a_client_that_accepts_gzip_gets_it(booked: Booked) -> None:
    plain = await booked.operator.ask(
        "GET", "/admin/journal", params={"format": "csv"}, headers={"Accept-Encoding": "identity"}
    )
    request = booked.operator._web.build_request(
        "GET",
        "/api/admin/journal?format=csv",
        headers={"Authorization": f"Bearer {booked.operator.token}", "Accept-Encoding": "gzip"},
    )
    async with httpx.AsyncClient(verify=False) as web:
        packed = await web.send(request, stream=True)
        raw = b"".join([part async for part in packed.aiter_raw()])
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert gzip.decompress(raw) == plain.content
