"""Sessions have the same settings whatever the database and its role are configured to, and dates are in ISO 8601."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from domain.billing.posting import Outcome
from storage.ledger.audit import audit
from storage.postgres import open_postgres
from storage.rooms.billing_stats import billing_stats
from tests.storage.ledger_pair import block, open_ledger_pair, tip
from tests.support.databases import Databases

STRANGE = {
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Tokyo",
    "default_transaction_isolation": "serializable",
    "search_path": "public",
    "standard_conforming_strings": "off",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "lock_timeout": "1",
    "statement_timeout": "200",
    "client_encoding": "LATIN1",
}


@pytest.fixture
def strange_dsn(dsn: str, databases: Databases) -> Iterator[str]:
    name = urlsplit(dsn).path[1:]
    for setting, value in STRANGE.items():
        databases.execute(f"ALTER DATABASE \"{name}\" SET {setting} = '{value}'")
    yield dsn
    databases.execute(f'ALTER DATABASE "{name}" RESET ALL')


async def test_sessions_set_the_settings_that_they_depend_on(strange_dsn: str) -> None:
    async with open_postgres(strange_dsn, pool_size=1) as postgres:
        names = ["DateStyle", "IntervalStyle", "TimeZone", "default_transaction_isolation", "search_path"]
        rows = await postgres.fetch("SELECT current_setting(name) AS value FROM unnest($1::text[]) name", names)
        assert [row["value"] for row in rows] == ["ISO, YMD", "postgres", "UTC", "read committed", "halfminute"]
        assert (await postgres.fetch("SELECT now()::date::text AS day"))[0]["day"][4::3] == "--"


async def test_the_ledger_is_the_same_under_any_settings(strange_dsn: str) -> None:
    async with open_ledger_pair(strange_dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        room = await ledgers.add_room(fan)
        receipts = await ledgers.actor.post([tip(fan, creator, 1), block(room, fan, creator, 1)])
        assert [receipt.outcome for receipt in receipts] == [Outcome.COMMITTED] * 2
        assert [finding.sentence async for finding in audit(ledgers.postgres) if finding.rows] == []
        as_fan, _ = await billing_stats(ledgers.postgres, fan, None, None, "Europe/Berlin")
        assert [re.fullmatch(r"\d{4}-\d\d-\d\d", day.day) is not None for day in as_fan.by_day] == [True]
