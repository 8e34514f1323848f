"""An accountant closes a month with the README's commands and a spreadsheet's arithmetic."""

import csv
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import trio

from tests.server.rest.shop import Shop, open_shop
from tests.storage.ledger_pair import purchase, tip
from tests.support.days import wait_past_midnight

README = Path(__file__).parents[3] / "README.md"
SYSTEM = {"escrow": "escrow", "tokenSales": "token_sales", "promotions": "promotions", "payouts": "payouts"}


@pytest.fixture
async def shop(dsn: str) -> AsyncIterator[Shop]:
    await wait_past_midnight()
    async with open_shop(dsn) as opened:
        yield opened


def commands() -> str:
    """Return the README's commands, for the present month."""
    found = re.search(r"^\*\*Accounting\..*?^```sh\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    today = datetime.now(UTC)
    written, replaced = re.subn(r"from=[\d-]+&to=[\d-]+", f"from={today:%Y-%m}-01&to={today.year + 1}-01-01", found[1])
    assert replaced == 1
    return f"set -e\n{written}"


@pytest.mark.skipif(shutil.which("curl") is None and "CI" not in os.environ, reason="the README's commands use curl")
async def test_the_journal_explains_the_balances_of_the_overview(shop: Shop, tmp_path: Path) -> None:
    fan, creator, operator = await shop.users.fan(0), await shop.users.creator(), await shop.users.operator()
    posted = [purchase(fan.user_id, 1_000), tip(fan.user_id, creator.user_id, 40)]
    assert all(receipt.paid for receipt in await shop.context.actor.post(posted))
    assert (await creator.post("/payouts", {"tokens": 30})).status_code == 201
    variables = {
        "PATH": "/usr/bin:/bin",
        "URL": f"http://127.0.0.1:{shop.context.http_port}",
        "TOKEN": operator.token,
    }

    def run() -> None:
        words = ["bash", "-c", commands()]
        ended = subprocess.run(words, cwd=tmp_path, env=variables, capture_output=True, timeout=60)
        assert ended.returncode == 0, ended.stderr

    await trio.to_thread.run_sync(run)
    overview = msgspec.json.decode((tmp_path / "overview.json").read_bytes())
    changed = Counter[str]()
    with (tmp_path / "journal.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            changed[row["debit"]] -= int(row["tokens"])
            changed[row["credit"]] += int(row["tokens"])
    assert changed.total() == 0 and changed[str(creator.user_id)] == 10
    for name, wallet in SYSTEM.items():
        assert overview["closing"][name] - overview["opening"][name] == changed[wallet], name
    assert overview["closing"]["users"] == 970
