"""A PgBouncer for one test, in front of a PostgreSQL for one test."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat

from storage.embedded.cluster import DATABASE, PORT, USER, choose_launch
from tests.server.peers.absent import leave_out
from tests.storage.own_postgres import OwnPostgres
from tests.storage.postgres_processes import bin_dir
from tests.support.processes import eventually, free_ports

DAY = timedelta(days=1)
SETTINGS = """
[databases]
* = host={socket_dir} port={port}
[pgbouncer]
unix_socket_dir = {directory}
listen_port = {listen_port}
listen_addr = {listen_addr}
auth_type = trust
auth_file = {directory}/users.txt
pool_mode = {mode}
default_pool_size = {pool_size}
max_client_conn = 100
server_round_robin = {round_robin}
logfile = {directory}/pgbouncer.log
pidfile =
"""
TLS = """
client_tls_sslmode = require
client_tls_key_file = {directory}/key.pem
client_tls_cert_file = {directory}/certificate.pem
"""


@contextmanager
def pooler(
    postgres: OwnPostgres, mode: str, *, pool_size: int = 20, round_robin: int = 0, tls: bool = False
) -> Iterator[str]:
    """Run a pooler in `session`, `transaction` or `statement` mode, and yield its connection string.

    With `tls` it takes connections over TCP with TLS, otherwise over a socket of Unix.
    """
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"  # Debian's directory, which is not in every PATH
    if not Path(program).exists():
        leave_out("there is no pgbouncer here: apt-get install pgbouncer")
    directory = Path(tempfile.mkdtemp(prefix="halfminute-pooler-", dir="/tmp"))
    try:
        launch = choose_launch(bin_dir(), directory)
        (port,) = free_ports(1) if tls else (PORT,)
        if tls:
            write_certificate(directory)
        (directory / "users.txt").write_text(f'"{USER}" ""\n')
        (directory / "pgbouncer.ini").write_text(
            (SETTINGS + TLS * tls).format(
                socket_dir=postgres.socket_dir,
                port=PORT,
                listen_port=port,
                listen_addr="127.0.0.1" if tls else "",
                directory=directory,
                mode=mode,
                pool_size=pool_size,
                round_robin=round_robin,
            )
        )
        for path in (directory, *directory.glob("*.pem")):
            shutil.chown(path, launch.owner_uid)
        words = [*launch.prefix, program, "-q", str(directory / "pgbouncer.ini")]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                eventually(lambda: _answers(directory / f".s.PGSQL.{port}"), "a pooler that takes connections")
                host = "127.0.0.1&sslmode=require" if tls else directory
                yield f"postgresql://{USER}@/{DATABASE}?host={host}&port={port}"
            finally:
                process.kill()
    finally:
        shutil.rmtree(directory)


def write_certificate(directory: Path) -> None:
    """Write the key and the certificate of a server of this machine that signs for itself."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + DAY)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    builder = builder.add_extension(names, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    (directory / "key.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (directory / "certificate.pem").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0
