"""The README's commands back up and restore both kinds of database, and the ledger holds afterwards."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from server.demo.seed import FAN_TOKENS
from server.demo.users import FANS
from storage.ledger.audit import audit
from storage.migrate import require_present_schema
from storage.postgres import open_postgres
from tests.storage.ledger_pair import open_ledger_pair, tip
from tests.support.databases import Databases
from tests.support.processes import ServerProcess, run_command

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def empty_dsn(databases: Databases) -> Iterator[str]:
    with databases.fresh(template="template0") as dsn:
        yield dsn


def commands(first_words: str) -> str:
    """Return the commands of the README's backup that follow the comment with these first words, and set BIN."""
    found = re.search(r"^\*\*Backup\..*?^```sh\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    setting, *parts = found[1].replace(".venv/bin/python", sys.executable).split("\n\n")
    (part,) = (part for part in parts if part.startswith(f"# {first_words}"))
    return f"set -e\n{setting}\n{part}"


def run(script: str, cwd: Path, **variables: str) -> None:
    words = ["bash", "-c", script]
    ended = subprocess.run(words, cwd=cwd, env={"PATH": "/usr/bin:/bin", **variables}, capture_output=True, timeout=120)
    assert ended.returncode == 0, ended.stderr


def test_a_private_database_is_backed_up_while_its_server_runs(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    with ServerProcess(source, "--demo") as server:
        words = "token", "--sub", str(FANS[0].user_id), "--data", str(source)
        token = run_command(*words, cwd=tmp_path).out.strip()
        before = server.get("/api/wallet", token=token).json()
        assert before["balance"] == FAN_TOKENS
        run(commands("The private database"), tmp_path, FROM=str(source), TO=str(copy))
        server.terminate()
        assert server.wait_exit() == 0
    with ServerProcess(copy) as restored:
        assert restored.get("/api/wallet", token=token).json() == before
        proved = run_command("audit", "--data", str(copy), cwd=tmp_path)
        assert (proved.exit_code, proved.out.splitlines()[-1]) == (0, "the ledger is sound")


async def test_a_database_is_dumped_and_restored(dsn: str, empty_dsn: str, tmp_path: Path) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        await ledgers.post_in_both([tip(fan, creator, 30)])
        before = await ledgers.wallets_in_database()
        script = commands("Your own database")
        await trio.to_thread.run_sync(lambda: run(script, tmp_path, DATABASE_URL=dsn, EMPTY_DATABASE_URL=empty_dsn))
    async with open_postgres(empty_dsn, pool_size=1) as restored:
        await require_present_schema(restored)
        assert [finding.sentence async for finding in audit(restored) if finding.rows] == []
    async with open_ledger_pair(empty_dsn) as ledgers:
        assert await ledgers.wallets_in_database() == before
        await ledgers.actor.post([tip(fan, creator, 5, "after")])
        assert (await ledgers.wallets_in_database())[fan].balance == 65
