"""The private PostgreSQL, with real processes, real signals and a real disk."""

import asyncio
import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
import trio
import trio.testing

from storage.embedded import guardian
from storage.embedded.cluster import AS_NOBODY, choose_launch, start_postmaster
from storage.embedded.data_directory import DataDir, try_lock
from storage.embedded.launcher import (
    DataDirectoryInUse,
    EmbeddedError,
    find_running,
    open_embedded,
    postmaster_pid,
)
from tests.storage.postgres_processes import (
    EVENTUALLY_SECONDS_MAX,
    being_made,
    bin_dir,
    environment,
    eventually,
    guardians_of,
    kill_postmaster,
    mode,
    open_for_ever,
    owner_uid,
    processes_on,
    query,
    server_process,
    wait_restarted,
    zombie,
)


async def test_a_first_start_makes_a_private_database_and_its_end_leaves_no_process(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    async with open_embedded(data_dir) as address:
        assert query(address, "SELECT current_user, current_database()") == "halfminute|halfminute"
        assert query(address, "SHOW server_version").startswith("18")
        shown = ["server_encoding", "data_checksums", "fsync", "synchronous_commit", "full_page_writes"]
        assert [query(address, f"SHOW {name}") for name in shown] == ["UTF8", "on", "on", "on", "on"]
        assert query(address, "SHOW listen_addresses") == ""
        described = "SELECT datlocprovider, datlocale, pg_get_userbyid(datdba) FROM pg_database"
        assert query(address, f"{described} WHERE datname = current_database()") == "b|C.UTF-8|halfminute"
        assert query(address, "SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user") == "f|t"
        assert mode(data_dir) == mode(address.socket_dir) == 0o700
    assert processes_on(data_dir) == []
    assert not address.socket_dir.exists()


async def test_a_second_start_finds_what_the_first_one_kept(data_dir: Path) -> None:
    async with open_embedded(data_dir) as address:
        query(address, "CREATE TABLE kept AS SELECT 30 AS seconds")
    async with open_embedded(data_dir) as address:
        assert query(address, "SELECT seconds FROM kept") == "30"


async def test_asyncpg_understands_the_address(data_dir: Path) -> None:
    async def answer(dsn: str) -> object:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval("SELECT 1")
        finally:
            await connection.close()

    async with open_embedded(data_dir) as address:
        assert await trio.to_thread.run_sync(lambda: asyncio.run(answer(address.dsn))) == 1


async def test_a_second_server_on_the_same_directory_is_refused_at_once_in_one_line(data_dir: Path) -> None:
    async with open_embedded(data_dir) as address:
        began = time.monotonic()
        with pytest.raises(DataDirectoryInUse) as refused:
            async with open_embedded(data_dir):
                pass
        assert time.monotonic() - began < 1
        assert str(refused.value) == f"another halfminute server uses the data directory {data_dir}"
        assert query(address, "SELECT 1") == "1"


async def test_a_running_database_is_found_only_while_it_runs(data_dir: Path) -> None:
    assert await find_running(data_dir / "missing") is None
    assert await find_running(data_dir) is None
    async with open_embedded(data_dir) as address:
        assert await find_running(data_dir) == address
    assert await find_running(data_dir) is None


async def test_looking_for_a_running_database_never_gets_in_a_servers_way(data_dir: Path) -> None:
    looking = try_lock(DataDir(data_dir).server_lock, fcntl.LOCK_SH)
    assert looking is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_for_ever, data_dir)
        await trio.testing.wait_all_tasks_blocked()
        os.close(looking)
        await eventually(lambda: postmaster_pid(data_dir) is not None)
        nursery.cancel_scope.cancel()


async def test_a_killed_server_leaves_no_process_and_the_next_one_starts(data_dir: Path) -> None:
    with server_process(data_dir) as (server, socket_dir):
        server.kill()
        server.wait()
        async with open_embedded(data_dir) as address:
            assert query(address, "SELECT 1") == "1"
        await eventually(lambda: processes_on(data_dir) == [] and guardians_of(data_dir) == [])
        assert not socket_dir.exists()


async def test_a_killed_server_takes_its_database_along_without_any_next_one(data_dir: Path) -> None:
    with server_process(data_dir) as (server, socket_dir):
        server.kill()
        await eventually(lambda: processes_on(data_dir) == [] and guardians_of(data_dir) == [])
        assert not socket_dir.exists()


async def test_ctrl_c_ends_the_server_and_then_its_database(own_data_dir: Path) -> None:
    with server_process(own_data_dir) as (server, socket_dir):
        os.killpg(server.pid, signal.SIGINT)
        await eventually(lambda: server.poll() is not None)
        assert processes_on(own_data_dir) == guardians_of(own_data_dir) == []
        assert not socket_dir.exists()
    assert "received fast shutdown request" in DataDir(own_data_dir).log.read_text()


async def test_the_signals_of_a_terminal_end_neither_guardian_nor_database(data_dir: Path) -> None:
    async with open_embedded(data_dir) as address:
        [guardian_pid], postmaster = guardians_of(data_dir), postmaster_pid(data_dir)
        assert os.getsid(guardian_pid) == guardian_pid != os.getsid(0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(guardian_pid, number)
        assert query(address, "SELECT 1") == "1"
        assert (guardians_of(data_dir), postmaster_pid(data_dir)) == ([guardian_pid], postmaster)


async def test_a_killed_postgres_is_started_again_at_the_same_address(data_dir: Path) -> None:
    async with open_embedded(data_dir) as address:
        await wait_restarted(data_dir, kill_postmaster(data_dir))
        assert await find_running(data_dir) == address
        assert query(address, "SELECT 1") == "1"


async def test_a_postgres_that_dies_too_often_ends_the_block_with_one_line(data_dir: Path) -> None:
    one_line = r"^PostgreSQL died 6 times within 60 s.*\(log: .*\)$"
    with pytest.RaisesGroup(pytest.RaisesExc(EmbeddedError, match=one_line)):
        async with open_embedded(data_dir):
            while True:
                await wait_restarted(data_dir, kill_postmaster(data_dir))
    assert processes_on(data_dir) == []


async def test_a_killed_guardian_ends_the_block_and_the_next_start_works(data_dir: Path) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(EmbeddedError, match="ended unexpectedly")):
        async with open_embedded(data_dir) as address:
            os.kill(guardians_of(data_dir)[0], signal.SIGKILL)
            await trio.sleep(EVENTUALLY_SECONDS_MAX)  # reason: it is cancelled at once, or the test fails
    async with open_embedded(data_dir) as next_address:
        assert query(next_address, "SELECT 1") == "1"
        assert not address.socket_dir.exists()


async def test_the_kernel_signals_postgres_that_its_guardian_was_killed(data_dir: Path) -> None:
    with server_process(data_dir) as (server, socket_dir):
        os.kill(server.pid, signal.SIGSTOP)  # so that only the kernel can have signalled it
        os.kill(guardians_of(data_dir)[0], signal.SIGKILL)
        await eventually(lambda: processes_on(data_dir) == [])
    socket_dir.rmdir()  # nothing is left in it


async def test_an_orphaned_postgres_is_stopped_first(data_dir: Path) -> None:
    launch = choose_launch(bin_dir(), data_dir)
    with tempfile.TemporaryDirectory(dir="/tmp") as socket_dir:
        orphan = start_postmaster(DataDir(data_dir), bin_dir(), launch, Path(socket_dir))
        await eventually(lambda: postmaster_pid(data_dir) == orphan.pid)
        async with open_embedded(data_dir) as address:
            assert orphan.wait() == 0
            assert query(address, "SELECT 1") == "1"


@pytest.mark.parametrize("named", ["a living process", "a zombie", "nobody", "nothing"])
async def test_a_stale_postmaster_pid_is_no_obstacle(data_dir: Path, named: str) -> None:
    ended = zombie()
    pids = {"a living process": os.getpid(), "a zombie": ended.pid, "nobody": 2**22 + 1, "nothing": ""}
    rest = f"{data_dir / 'cluster'}\n1700000000\n5432\n/tmp/gone\n\n  1234567        12\nready   \n"
    (data_dir / "cluster" / "postmaster.pid").write_text(f"{pids[named]}\n{rest}" if pids[named] else "")
    assert postmaster_pid(data_dir) is None
    async with open_embedded(data_dir) as address:
        assert query(address, "SELECT 1") == "1"
    ended.wait()


async def test_the_socket_directory_of_a_guardian_that_was_killed_is_removed_at_the_next_start(data_dir: Path) -> None:
    left = Path("/tmp") / f"halfminute-{os.urandom(6).hex()}"
    left.mkdir(mode=0o700)
    (left / ".s.PGSQL.5432").touch()
    DataDir(data_dir).socket_note.write_text(str(left))
    async with open_embedded(data_dir):
        assert not left.exists()


@pytest.mark.parametrize("place", ["a file", "/proc"])
async def test_a_directory_that_cannot_be_written_is_one_clear_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "a file").touch()
    data_dir = tmp_path / place / "data"
    with pytest.raises(EmbeddedError) as refused:
        async with open_embedded(data_dir):
            pass
    assert str(refused.value).startswith(f"cannot use the data directory {data_dir}: ")
    assert "\n" not in str(refused.value)


async def test_a_postgres_that_does_not_start_is_one_line_with_its_own_reason(own_data_dir: Path) -> None:
    (own_data_dir / "cluster" / "PG_VERSION").write_text("12\n")
    with pytest.raises(EmbeddedError) as refused:
        async with open_embedded(own_data_dir):
            pass
    reason = "PostgreSQL does not start: database files are incompatible with server"
    assert str(refused.value) == f"{reason} (log: {DataDir(own_data_dir).log})"
    assert guardians_of(own_data_dir) == []


async def test_missing_programs_are_named(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match=f"^no PostgreSQL here: {tmp_path}/initdb is missing"):
        async with open_embedded(tmp_path / "data", bin_dir=tmp_path):
            pass


async def test_the_path_of_the_data_directory_may_be_long_and_its_mode_is_kept(own_data_dir: Path) -> None:
    long = own_data_dir.parent / ("a" * 100)
    os.rename(own_data_dir, long)
    os.chmod(long, 0o755)
    async with open_embedded(long) as address:
        assert query(address, "SELECT 1") == "1"
        assert mode(long) == 0o755


async def test_a_first_start_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_for_ever, tmp_path)
        await eventually(lambda: being_made(tmp_path) != set())
        nursery.cancel_scope.cancel()
    assert processes_on(tmp_path) == guardians_of(tmp_path) == []
    assert set(os.listdir(tmp_path)) == {"server.lock", "guardian.lock", "postgres.log"}


async def test_a_first_start_that_is_killed_is_made_good_by_the_next_in_another_place(tmp_path: Path) -> None:
    with server_process(tmp_path, wait_ready=False) as (server, _):
        await eventually(lambda: being_made(tmp_path) != set())
        left = being_made(tmp_path)
        os.kill(guardians_of(tmp_path)[0], signal.SIGKILL)
        server.kill()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_for_ever, tmp_path)
        await eventually(lambda: being_made(tmp_path) - left != set())  # the initdb that is left will remove its own
        await eventually(lambda: postmaster_pid(tmp_path) is not None)
        nursery.cancel_scope.cancel()
    assert processes_on(tmp_path) == []


async def test_a_large_log_is_emptied_and_one_older_kept(own_data_dir: Path) -> None:
    files = DataDir(own_data_dir)
    files.log.write_bytes(b"long ago\n" * (guardian.LOG_BYTES_MAX // 9 + 1))
    async with open_embedded(own_data_dir):
        assert b"long ago" not in files.log.read_bytes()
        assert b"ready to accept connections" in files.log.read_bytes()
    assert files.older_log.stat().st_size > guardian.LOG_BYTES_MAX


async def test_postgres_sees_nothing_of_the_servers_secrets(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYMENT_SECRET", "very secret")
    monkeypatch.setenv("PGPORT", "1")
    async with open_embedded(data_dir):
        for pid in [*guardians_of(data_dir), postmaster_pid(data_dir)]:
            passed_on = environment(pid)
            assert b"PATH=" in passed_on
            assert b"secret" not in passed_on
            assert b"PGPORT" not in passed_on


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user to become")
async def test_where_no_user_namespace_is_allowed_root_becomes_nobody(
    own_data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = tmp_path / "bin" / "unshare"
    refusing.parent.mkdir()
    refusing.write_text("#!/bin/sh\nexit 1\n")
    refusing.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{refusing.parent}:{os.environ['PATH']}")
        async with open_embedded(own_data_dir) as address:
            assert owner_uid(postmaster_pid(own_data_dir)) == AS_NOBODY.owner_uid
            assert query(address, "SELECT 1") == "1"
    async with open_embedded(own_data_dir) as address:
        assert owner_uid(postmaster_pid(own_data_dir)) == 0
        assert query(address, "SELECT 1") == "1"


@pytest.fixture(scope="session")
def used_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("used") / "data"

    async def make() -> None:
        async with open_embedded(data_dir):
            pass

    trio.run(make)
    return data_dir


@pytest.fixture
def data_dir(used_data_dir: Path) -> Iterator[Path]:
    """A data directory with a cluster. After each test no process may run in it."""
    yield used_data_dir
    assert processes_on(used_data_dir) == guardians_of(used_data_dir) == []


@pytest.fixture
def own_data_dir(used_data_dir: Path, tmp_path: Path) -> Path:
    """A copy, for a test that changes it."""
    return Path(shutil.copytree(used_data_dir, tmp_path / "data"))
