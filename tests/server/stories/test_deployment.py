"""A new installation: an empty database is migrated, a server starts on it, and unconfigured features are disabled."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.migrate import migrations
from tests.support.clients import ring_and_join
from tests.support.database_reader import DatabaseReader
from tests.support.databases import Databases
from tests.support.live_server import BILLING_SECRET, LiveServer, live_server_on
from tests.support.processes import run_command

TABLES = {"users", "creators", "wallets", "journal", "calls", "streams", "stream_tickets", "meters", "payouts"}


@pytest.fixture
def empty_dsn(databases: Databases) -> Iterator[str]:
    with databases.fresh(template="template0") as dsn:
        yield dsn


def test_an_empty_database_is_migrated_once_and_serves(empty_dsn: str, tmp_path: Path) -> None:
    names, database = [each.name for each in migrations()], {"DATABASE_URL": empty_dsn}
    first, second = (run_command("migrate", cwd=tmp_path, settings=database) for _ in range(2))
    assert (first.exit_code, second.exit_code) == (0, 0), first.errors + second.errors
    assert first.out.splitlines() == [*(f"applied {name}" for name in names), "the database is up to date"]
    assert second.out.splitlines() == ["the database is up to date"]
    rows = DatabaseReader(empty_dsn).fetch("SELECT tablename::text FROM pg_tables WHERE schemaname = 'halfminute'")
    assert {row["tablename"] for row in rows} >= TABLES
    with live_server_on(empty_dsn, tmp_path) as live_server:
        _hold_a_call(live_server)


def test_without_a_billing_secret_the_webhook_is_closed_and_one_line_says_so(dsn: str, tmp_path: Path) -> None:
    with live_server_on(dsn, tmp_path, BILLING_WEBHOOK_SECRET=None) as live_server:
        for secret in ("", "None", BILLING_SECRET):
            answer = live_server.sweep(secret)
            assert (answer.status_code, answer.json()["error"]) == (403, "UNAUTHORIZED")
        assert len(live_server.server.logged("billing_webhook.closed")) == 1


def _hold_a_call(live_server: LiveServer) -> None:
    fan, creator = live_server.fan(100), live_server.creator()
    ring = ring_and_join(fan, creator)
    fan.wait_for("block:charged", blockNo=1)
    fan.send({"type": "call:end", "callId": ring["callId"]})
    assert creator.wait_for("call:ended")["reason"] == "hangup"
    live_server.check_ledger()
