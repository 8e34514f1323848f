"""Every kind of fault: how it is made, how long it may last, and how soon the server must have recovered."""

import os
import random
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import httpx

from server.observability.memory_limit import CHECK_SECONDS, RESERVE_BYTES_MIN
from tests.fault_run.faulty_server import FaultyServer
from tests.storage.own_postgres import OwnPostgres
from tests.storage.postgres_processes import bin_dir
from tests.support.databases import SUPERUSER
from tests.support.tokens import EC, OTHER_EC, Answer, jwks, signed_by

REQUESTS = 20  # while a log is not written: each writes a line
SOCKETS = 20  # opened while the server has no descriptor left
GOOD_KEYS: Answer = (200, jwks([EC.as_dict(private=False)]))
BROKEN_KEYS: tuple[Answer, ...] = ((200, b"{}"), (200, b'{"keys": []}'), (500, b""), (200, b"<html>"))
FULL = (
    "CREATE FUNCTION halfminute.disk_is_full() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = '53100'; END $$",
    "CREATE TRIGGER disk_is_full BEFORE INSERT ON halfminute.journal EXECUTE FUNCTION halfminute.disk_is_full()",
    "CREATE TRIGGER disk_is_full BEFORE INSERT OR UPDATE ON halfminute.servers"
    " EXECUTE FUNCTION halfminute.disk_is_full()",
)
NOT_FULL = "DROP FUNCTION halfminute.disk_is_full() CASCADE"


class FaultContext(NamedTuple):
    """The server and the database that a fault is applied to."""

    server: FaultyServer
    postgres: OwnPostgres
    keys: dict[str, Answer]
    chance: random.Random

    def execute(self, *statements: str) -> None:
        """Run statements in the server's database as superuser, in a session of their own."""
        dsn = self.postgres.dsn.replace("//halfminute@", f"//{SUPERUSER}@")
        words = [str(bin_dir() / "psql"), "-XAtqw", "-v", "ON_ERROR_STOP=1", dsn]
        for statement in statements:
            words += ["-c", statement]
        subprocess.run(words, check=True, capture_output=True, timeout=30.0)


class Fault(NamedTuple):
    """One kind of fault. `bound_seconds`: from its end to a further block of every honest payer, on a busy machine."""

    name: str
    make: Callable[[FaultContext], Iterator[None]]
    short_seconds: tuple[float, ...]
    long_seconds_max: float
    bound_seconds: float
    why: str


def database_read_only(context: FaultContext) -> Iterator[None]:
    context.execute("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    yield
    context.execute("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")


def database_full(context: FaultContext) -> Iterator[None]:
    """Let the database refuse writes with 53100, as on a full disk."""
    context.execute(*FULL)
    yield
    context.execute(NOT_FULL)


def database_away(context: FaultContext) -> Iterator[None]:
    context.postgres.stop()
    yield
    context.postgres.start()


def log_unread(context: FaultContext) -> Iterator[None]:
    context.server.log.stop_reading()
    _ask(context)
    yield
    context.server.log.read()


def log_gone(context: FaultContext) -> Iterator[None]:
    context.server.log.lose_reader()
    _ask(context)
    yield
    context.server.log.read()


def log_full(context: FaultContext) -> Iterator[None]:
    context.server.world.fill_disk(True)
    _ask(context)
    yield
    context.server.world.fill_disk(False)


def process_stopped(context: FaultContext) -> Iterator[None]:
    os.kill(context.server.pid, signal.SIGSTOP)
    yield
    os.kill(context.server.pid, signal.SIGCONT)


def keys_broken(context: FaultContext) -> Iterator[None]:
    """Revoke the key; a token of an unknown key makes the server fetch the keys."""
    context.keys["/keys.json"] = context.chance.choice(BROKEN_KEYS)
    answer = context.server.get("/api/me", signed_by(OTHER_EC, "ES256", {"sub": str(uuid4()), "exp": time.time() + 60}))
    assert answer.status_code == 401, answer.text
    yield
    context.keys["/keys.json"] = GOOD_KEYS


def clock_set(context: FaultContext) -> Iterator[None]:
    """Set the clock an hour ahead or behind, and back again."""
    context.server.world.set_clock(context.chance.choice((-3600.0, 3600.0)))
    yield
    context.server.world.set_clock(0.0)


def files_out(context: FaultContext) -> Iterator[None]:
    """Let the server open no more files; clients continue to connect."""
    pid = context.server.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")), before[1]))
    with ExitStack() as stack:
        for _ in range(SOCKETS):
            stack.enter_context(socket.create_connection(("127.0.0.1", context.server.websocket_port), 5.0))
        yield
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def memory_limit_reached(context: FaultContext) -> Iterator[None]:
    """Limit the memory of the server process, but not of its database, to what it has and the least reserve.

    New connections are refused on both ports until there is more; those that are open stay.
    """
    pid = context.server.pid
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    before = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (pages * resource.getpagesize() + RESERVE_BYTES_MIN, before[1]))
    time.sleep(2 * CHECK_SECONDS)  # until the server reads the limit; it signals nothing
    for port in (context.server.http_port, context.server.websocket_port):
        for _ in range(SOCKETS):
            assert _is_refused(port), "a newcomer was taken although there is no memory left for it"
    yield
    resource.prlimit(pid, resource.RLIMIT_AS, before)


def _is_refused(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 5.0) as newcomer:
        try:
            newcomer.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return newcomer.recv(1) == b""
        except ConnectionError:
            return True


FAULTS = (
    Fault("database read-only", database_read_only, (2.5,), 20.0, 12.0, "the next try, at most 5 s later, books"),
    Fault("database full", database_full, (2.5,), 20.0, 12.0, "the next try, at most 5 s later, books"),
    Fault("database away", database_away, (2.0,), 20.0, 15.0, "it recovers, is connected to, and booked to"),
    Fault("log unread", log_unread, (1.0,), 20.0, 5.0, "nobody waits for the log"),
    Fault("log gone", log_gone, (1.0,), 20.0, 5.0, "nobody waits for the log"),
    Fault("log full", log_full, (1.0,), 20.0, 5.0, "nobody waits for the log"),
    Fault("process stopped", process_stopped, (3.0, 7.5), 30.0, 12.0, "6 s to read what came, and a ping's way"),
    Fault("keys broken", keys_broken, (1.0,), 20.0, 5.0, "the keys that are known hold"),
    Fault("clock set", clock_set, (1.0,), 20.0, 5.0, "rooms never look at the wall clock"),
    Fault("files out", files_out, (1.0,), 20.0, 5.0, "connections that are open need none"),
    Fault("memory limit", memory_limit_reached, (2.0,), 20.0, 20.0, "newcomers are refused, and calls go on"),
)


@contextmanager
def made(fault: Fault, context: FaultContext) -> Iterator[None]:
    """Make the fault, and undo it at the end."""
    yield from fault.make(context)


def lasts(fault: Fault, context: FaultContext, seconds: float) -> float:
    """Make the fault, wait `seconds`, and undo it. Return how long it lasted."""
    began = time.monotonic()
    with made(fault, context):
        time.sleep(seconds)  # a fault lasts for so long, whatever the server does
    return time.monotonic() - began


def _ask(context: FaultContext) -> None:
    """Send requests that are logged; all are answered."""
    for _ in range(REQUESTS):
        answer = httpx.get(f"http://127.0.0.1:{context.server.http_port}/api/config", timeout=5.0, verify=False)
        assert answer.status_code == 200, answer.text
