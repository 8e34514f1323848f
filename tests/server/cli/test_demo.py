"""The demo's users are added only where that was requested."""

from pathlib import Path

import trio

from server.demo.users import DEMO_USERS
from storage.postgres import open_postgres
from tests.support.clients import SECRET
from tests.support.processes import ServerProcess, run_command


def count_users(dsn: str) -> int:
    async def count() -> int:
        async with open_postgres(dsn, pool_size=1) as postgres:
            return int((await postgres.fetch("SELECT count(*) FROM users"))[0][0])

    return trio.run(count)


def test_demo_users_are_added_to_a_configured_database_only_if_requested_twice(dsn: str, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": dsn, "HALFMINUTE_JWT_SECRET": SECRET}
    refused = run_command("serve", "--demo", cwd=tmp_path, settings=settings)
    assert (refused.exit_code, refused.out) == (1, "")
    assert refused.errors == [
        "halfminute: --demo would add an operator and users with tokens to the database of DATABASE_URL:"
        " unset it, or pass --yes-really as well"
    ]
    before = count_users(dsn)
    with ServerProcess(tmp_path / "data", "--yes-really", settings=settings):
        pass
    assert count_users(dsn) == before
    with ServerProcess(tmp_path / "data", "--demo", "--yes-really", settings=settings):
        pass
    assert count_users(dsn) == before + len(DEMO_USERS)
