"""Behind a pooler: session mode works as a direct connection does; in any other mode the start fails with one line."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from domain.billing.posting import Outcome
from storage.ledger.audit import audit
from storage.migrate import MigrationError, migrate
from storage.postgres import Postgres, open_postgres
from tests.storage.ledger_pair import credit, open_ledger_pair, tip
from tests.storage.own_postgres import OwnPostgres, own_postgres
from tests.storage.poolers import pooler
from tests.support.clients import SECRET
from tests.support.processes import ServerProcess, run_command

OURS = {
    "search_path": "halfminute",
    "lock_timeout": "5s",
    "statement_timeout": "20s",
    "TimeZone": "UTC",
    "jit": "off",
    "application_name": "halfminute",
    "DateStyle": "ISO, YMD",
}
REFUSAL = "the database is behind a pooler in transaction mode; halfminute needs a session of its own: "


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPostgres]:
    with own_postgres(tmp_path_factory.mktemp("pooled") / "postgres") as running:
        yield running


async def test_in_session_mode_every_session_has_our_settings_and_commits_postings(postgres: OwnPostgres) -> None:
    with pooler(postgres, "session") as dsn:
        async with open_postgres(dsn, pool_size=3) as pooled:
            assert not await pooled.shares_sessions()
            await migrate(pooled)
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(_see_settings, pooled)
        async with open_ledger_pair(dsn) as ledgers:
            fan, creator = await ledgers.add_user(100), await ledgers.add_user()
            receipts = await ledgers.actor.post([tip(fan, creator, 1), credit(creator, 5)])
            assert [receipt.outcome for receipt in receipts] == [Outcome.COMMITTED] * 2
            assert [finding.sentence async for finding in audit(ledgers.postgres) if finding.rows] == []


async def test_a_session_that_another_client_has_left_behind_gets_our_settings_again(postgres: OwnPostgres) -> None:
    with pooler(postgres, "session", pool_size=1) as dsn:
        for _ in range(2):
            async with open_postgres(dsn, pool_size=1) as pooled:
                await _see_settings(pooled)
                await pooled.execute("SET search_path = public")


def test_a_server_runs_behind_a_pooler_in_session_mode(postgres: OwnPostgres, tmp_path: Path) -> None:
    with pooler(postgres, "session") as dsn:
        settings = {"DATABASE_URL": dsn, "HALFMINUTE_JWT_SECRET": SECRET}
        with ServerProcess(tmp_path / "data", settings=settings) as server:
            assert server.get("/readyz").status_code == 200
            server.terminate()
            assert server.wait_exit() == 0


@pytest.mark.parametrize("round_robin", [0, 1])
@pytest.mark.parametrize("pool_size", [1, 2, 20])
@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_any_other_mode_is_noticed(postgres: OwnPostgres, mode: str, pool_size: int, round_robin: int) -> None:
    with pooler(postgres, mode, pool_size=pool_size, round_robin=round_robin) as dsn:
        async with open_postgres(dsn, pool_size=1) as pooled:
            assert await pooled.shares_sessions()
            with pytest.raises(MigrationError, match=f"^{REFUSAL}"):
                await migrate(pooled)


def test_the_start_says_in_one_line_what_is_wrong(postgres: OwnPostgres, tmp_path: Path) -> None:
    with pooler(postgres, "transaction") as dsn:
        settings = {"DATABASE_URL": dsn, "HALFMINUTE_JWT_SECRET": SECRET}
        for command in ("serve", "migrate", "audit"):
            ended = run_command(command, cwd=tmp_path, settings=settings)
            assert ended.exit_code == 1
            assert [line for line in ended.errors if not line.startswith(("{", "20"))] == [
                f"halfminute: {REFUSAL}let DATABASE_URL lead to the pooler's session mode, or to the database itself"
            ]


async def _see_settings(postgres: Postgres) -> None:
    names = list(OURS)
    rows = await postgres.fetch("SELECT name, current_setting(name) AS value FROM unnest($1::text[]) name", names)
    assert {row["name"]: row["value"] for row in rows} == OURS
