"""A PgBouncer for one test, in front of a PostgreSQL for one test."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.embedded.cluster import DATABASE, PORT, USER, choose_launch
from tests.server.peers.absent import leave_out
from tests.storage.own_postgres import OwnPostgres
from tests.storage.postgres_processes import bin_dir
from tests.support.processes import eventually

SETTINGS = """
[databases]
* = host={socket_dir} port={port}
[pgbouncer]
unix_socket_dir = {directory}
listen_port = {port}
listen_addr =
auth_type = trust
auth_file = {directory}/users.txt
pool_mode = {mode}
default_pool_size = {pool_size}
max_client_conn = 100
server_round_robin = {round_robin}
logfile = {directory}/pgbouncer.log
pidfile =
"""


@contextmanager
def pooler(postgres: OwnPostgres, mode: str, *, pool_size: int = 20, round_robin: int = 0) -> Iterator[str]:
    """Run a pooler in `session`, `transaction` or `statement` mode, and yield its connection string."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"  # Debian's directory, which is not in every PATH
    if not Path(program).exists():
        leave_out("there is no pgbouncer here: apt-get install pgbouncer")
    directory = Path(tempfile.mkdtemp(prefix="halfminute-pooler-", dir="/tmp"))
    try:
        launch = choose_launch(bin_dir(), directory)
        (directory / "users.txt").write_text(f'"{USER}" ""\n')
        (directory / "pgbouncer.ini").write_text(
            SETTINGS.format(
                socket_dir=postgres.socket_dir,
                port=PORT,
                directory=directory,
                mode=mode,
                pool_size=pool_size,
                round_robin=round_robin,
            )
        )
        shutil.chown(directory, launch.owner_uid)
        words = [*launch.prefix, program, "-q", str(directory / "pgbouncer.ini")]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                eventually(lambda: _answers(directory / f".s.PGSQL.{PORT}"), "a pooler that takes connections")
                yield f"postgresql://{USER}@/{DATABASE}?host={directory}&port={PORT}"
            finally:
                process.kill()
    finally:
        shutil.rmtree(directory)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0
