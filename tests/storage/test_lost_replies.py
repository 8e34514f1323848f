"""The connection breaks before, within and after statements: each posting is booked exactly once."""

import random
import tempfile
from pathlib import Path

import pytest
import trio

from domain.billing.posting import Outcome, Posting
from storage.ledger import actor
from storage.ledger.audit import audit
from storage.postgres import open_postgres
from tests.storage.cutting_proxy import CUTS, cutting
from tests.storage.ledger_pair import LedgerPair, block, open_ledger_pair, tip

CUTS_WANTED = 500
POST_SECONDS_MAX = 20.0  # for one batch, however often its connection breaks


async def test_five_hundred_cuts_lose_nothing_and_double_nothing(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actor, "RETRY_SECONDS", (0.0,))
    chance = random.Random(500)
    with tempfile.TemporaryDirectory(prefix="hm-") as directory:
        async with (
            cutting(dsn, Path(directory), chance, often=0.5) as (proxy, cut_dsn),
            open_ledger_pair(dsn) as ledgers,
        ):
            fan, creator = await ledgers.add_user(1_000_000_000), await ledgers.add_user()
            room = await ledgers.add_room(fan)
            async with open_postgres(cut_dsn, pool_size=1) as behind_proxy:
                ledgers.actor._postgres = behind_proxy
                ledgers.actor.abandon()
                next_block = 1
                while sum(proxy.cuts.values()) < CUTS_WANTED:
                    blocks = chance.randint(0, 5)  # none, so that only the key identifies a repeated tip
                    batch = [block(room, fan, creator, next_block + i) for i in range(blocks)]
                    batch += [tip(fan, creator, chance.randint(1, 9)) for _ in range(chance.randint(1, 5))]
                    await _post_once(ledgers, batch)
                    next_block += blocks
            assert set(proxy.cuts) == set(CUTS), proxy.cuts
            assert await ledgers.wallets_in_database() == ledgers.model.wallets
            assert await ledgers.meters_in_database() == ledgers.model.meters
            count = await ledgers.postgres.fetch("SELECT count(*) FROM journal")
            assert count[0][0] == len(ledgers.model.journal)
            assert [finding.sentence async for finding in audit(ledgers.postgres) if finding.rows] == []


async def _post_once(ledgers: LedgerPair, batch: list[Posting]) -> None:
    with trio.fail_after(POST_SECONDS_MAX):
        in_database, in_model = await ledgers.post_in_both(batch)
    for receipt, expected in zip(in_database, in_model, strict=True):
        assert receipt.outcome in (Outcome.COMMITTED, Outcome.ALREADY), "it is paid, now or by an earlier try"
        assert (receipt.debit_after, receipt.credit_after) == (expected.debit_after, expected.credit_after)
