"""SIGTERM and Ctrl-C during live calls: nothing new starts, postings in flight are charged, and calls go on later."""

import os
import pty
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.storage.postgres_processes import guardians_of, processes_on
from tests.support.client_pool import ClientPool, Party, party
from tests.support.clients import SECRET
from tests.support.database_reader import DatabaseReader
from tests.support.processes import (
    EXIT_SECONDS_MAX,
    START_SECONDS_MAX,
    ServerProcess,
    environment,
    eventually,
    free_ports,
    listen_on,
)

CALLS = 5
SETTINGS = {"HALFMINUTE_CALLS_BLOCK_SECONDS": "1"}
# A server that waited for its limit would take this long: far longer than a busy machine takes to stop at once.
LONG_SECONDS = 20


@pytest.mark.parametrize(
    "stop",
    [ServerProcess.terminate, ServerProcess.interrupt, ServerProcess.hang_up],
    ids=["SIGTERM", "Ctrl-C", "a closed terminal"],
)
def test_a_stopped_server_closes_every_session_and_its_calls_go_on_at_the_next_start(
    data_dir: Path, stop: Callable[[ServerProcess], None]
) -> None:
    with _live_calls(data_dir) as (server, pool):
        began = time.monotonic()
        stop(server)
        stop(server)  # a second signal, as impatient users send it
        assert server.wait_exit() == 0
        assert time.monotonic() - began < LONG_SECONDS  # every client closed when it was asked to
        _check_that_it_ended_well(server, pool)
        last_blocks = {pair.call_id: pair.last_block() for pair in pool.pairs}
        stopped_at = datetime.now(UTC)
        server.start()
        pool.wait_all(lambda pair: len(pair.fan.events_of("call:resumed")) == 1, "every call's going on")
        pool.wait_more_blocks()
        assert _blocks_before(DatabaseReader.beside(server.data_dir), stopped_at) == last_blocks
        for caller in pool.callers:
            _, again = caller.events_of("room:joined")
            assert (again["room"]["status"], again["room"]["holds"]) == ("paused", ["restart"])


def test_while_it_drains_nothing_new_starts_and_the_blocks_in_flight_are_charged(data_dir: Path) -> None:
    with _live_calls(data_dir) as (server, pool):
        with DatabaseReader.beside(server.data_dir).held() as database:
            eventually(database.has_waiting_postings, "a block that waits for the write lock")
            before = [pair.last_block() for pair in pool.pairs]
            server.terminate()
            eventually(lambda: server.get("/readyz").status_code == 503, "a server that is not ready")
            assert server.get("/healthz").status_code == 200
            refused = pool.init(pool.pairs[0])
            assert (refused.status_code, refused.json()["error"]) == (503, "DRAINING")
            assert "Retry-After" in refused.headers
            assert _close_code_of_a_new_session(server, pool.pairs[0].fan.party) == 4000
            assert server.running
        assert server.wait_exit() == 0
        _check_that_it_ended_well(server, pool)
        last_blocks = {pair.call_id: pair.last_block() for pair in pool.pairs}
        assert sum(last_blocks.values()) > sum(before)
        assert _blocks_before(DatabaseReader.at_rest(server.data_dir), datetime.now(UTC)) == last_blocks


def test_a_client_that_does_not_close_is_not_waited_for_longer_than_close_seconds(data_dir: Path) -> None:
    calls = _live_calls(data_dir, close_seconds=5)
    with calls as (server, pool), _mute_client(server, pool.pairs[0].fan.party):
        began = time.monotonic()
        server.terminate()
        pool.wait_all(lambda pair: all(caller.close_codes for caller in pair.both), "everybody's goodbye")
        assert time.monotonic() - began < 5
        assert server.wait_exit() == 0
        assert 5 < time.monotonic() - began < LONG_SECONDS
        _check_that_it_ended_well(server, pool)


def test_a_database_that_never_answers_is_not_waited_for_longer_than_drain_seconds(data_dir: Path) -> None:
    calls = _live_calls(data_dir, drain_seconds=4, close_seconds=1)
    with calls as (server, pool), DatabaseReader.beside(server.data_dir).held() as database:
        eventually(database.has_waiting_postings, "a block that waits for the write lock")
        began = time.monotonic()
        server.terminate()
        assert server.wait_exit() == 0
        assert 4 - 1 < time.monotonic() - began < LONG_SECONDS
        assert len(server.logged("server.drained_in_part")) == 1
        _check_that_nobody_was_left(server, pool)


def test_a_server_that_is_stopped_while_it_creates_its_database_leaves_nothing(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    server.launch()
    eventually(lambda: guardians_of(server.data_dir), "the guardian of its PostgreSQL")
    server.interrupt()
    assert server.wait_exit() == 0
    assert processes_on(server.data_dir) == guardians_of(server.data_dir) == []
    assert not any("Traceback" in line for line in server.errors.all())


def test_the_end_of_its_terminal_drains_a_server_that_prints_there(data_dir: Path) -> None:
    ours, theirs = pty.openpty()
    ports = free_ports(2)
    words = "serve", "--http", f"127.0.0.1:{ports[0]}", "--ws", f"127.0.0.1:{ports[1]}", "--data", str(data_dir)
    in_a_session = (  # with the default signal handling, also where the tests run under nohup
        "import fcntl, os, signal, termios; signal.signal(signal.SIGHUP, signal.SIG_DFL);"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0); from server.cli.main import main; main()"
    )
    command = [sys.executable, "-c", in_a_session, *words]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=environment({})
    ) as process:
        os.close(theirs)
        try:
            output = b""
            while b"halfminute serves " not in output:
                output += os.read(ours, 4096)
            os.close(ours)
            assert process.wait(EXIT_SECONDS_MAX) == 0
        finally:
            process.kill()
    assert processes_on(data_dir) == guardians_of(data_dir) == []


def test_a_server_under_nohup_outlives_its_terminal(data_dir: Path) -> None:
    with ServerProcess(data_dir, settings=SETTINGS, nohup=True) as server:
        server.hang_up()
        assert server.get("/readyz").status_code == 200
        assert server.logged("server.draining") == []
        server.terminate()
        assert server.wait_exit() == 0


@pytest.mark.parametrize("stop", [ServerProcess.terminate, ServerProcess.interrupt], ids=["SIGTERM", "Ctrl-C"])
def test_a_server_that_still_waits_for_its_database_stops_at_once(
    tmp_path: Path, stop: Callable[[ServerProcess], None]
) -> None:
    (port,) = free_ports(1)
    with listen_on(port) as silent:  # the kernel accepts connections and nothing answers on them
        address = f"postgresql://somebody@127.0.0.1:{port}/calls?connect_timeout=60"
        settings = {"DATABASE_URL": address, "HALFMINUTE_JWT_SECRET": SECRET}
        server = ServerProcess(tmp_path / "data", settings=settings)
        server.launch()
        try:
            silent.settimeout(START_SECONDS_MAX)
            with silent.accept()[0]:
                began = time.monotonic()
                stop(server)
                assert server.wait_exit() == 0
                assert time.monotonic() - began < LONG_SECONDS  # and not 60 s
        finally:
            if server.running:
                server.kill()


@contextmanager
def _live_calls(
    data_dir: Path, drain_seconds: int = 50, close_seconds: int = LONG_SECONDS
) -> Iterator[tuple[ServerProcess, ClientPool]]:
    limits = {
        "HALFMINUTE_SERVER_DRAIN_SECONDS": str(drain_seconds),
        "HALFMINUTE_WEBSOCKET_CLOSE_SECONDS": str(close_seconds),
    }
    with ServerProcess(data_dir, settings=SETTINGS | limits) as server:
        users, secret = DatabaseReader.beside(data_dir).add_pairs(CALLS, tokens=10_000), server.jwt_secret()
        with ClientPool(server, [(party(fan, secret), party(creator, secret)) for fan, creator in users]) as pool:
            pool.ring()
            yield server, pool


def _check_that_it_ended_well(server: ServerProcess, pool: ClientPool) -> None:
    _check_that_nobody_was_left(server, pool)
    assert server.out.all()[-1] == "halfminute has drained and stopped"
    assert server.logged("server.drained_in_part") == []


def _check_that_nobody_was_left(server: ServerProcess, pool: ClientPool) -> None:
    assert processes_on(server.data_dir) == guardians_of(server.data_dir) == []
    # Later codes are those of attempts to reconnect.
    assert {caller.close_codes[0] for caller in pool.callers} == {4000}


def _blocks_before(database: DatabaseReader, moment: datetime) -> dict[object, int]:
    """Return the last block of each call that was booked at that time."""
    rows = database.fetch(
        "SELECT room_id, max(block_no) AS last FROM journal WHERE kind = 1 AND created_at < $1 GROUP BY 1", moment
    )
    return {row["room_id"]: row["last"] for row in rows}


def _close_code_of_a_new_session(server: ServerProcess, somebody: Party) -> int | None:
    """Return the close code with which a new session is refused."""
    headers = {"Authorization": f"Bearer {somebody.token}"}
    with connect(f"ws://127.0.0.1:{server.websocket_port}/ws", additional_headers=headers, proxy=None) as websocket:
        with pytest.raises(ConnectionClosed):
            websocket.recv(timeout=LONG_SECONDS)
        return websocket.close_code


@contextmanager
def _mute_client(server: ServerProcess, somebody: Party) -> Iterator[None]:
    """Open a session that from then on neither reads nor answers."""
    with socket.create_connection(("127.0.0.1", server.websocket_port)) as sock:
        sock.sendall(
            f"GET /ws HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {somebody.token}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        received = b""
        while b"session:ready" not in received:
            received += sock.recv(4096)
        yield
