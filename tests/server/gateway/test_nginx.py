"""The README's nginx block serves both ports under one name, with TLS."""

import getpass
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from server.demo.users import FANS
from server.loadtest.measures.figures import Result
from tests.server.peers.absent import leave_out
from tests.storage.poolers import write_certificate
from tests.support.lifeline import tied
from tests.support.processes import ServerProcess, eventually, free_ports, run_command

README = Path(__file__).parents[3] / "README.md"
FRAME = """
daemon off;
user {user};
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{block}
}}
"""
PATIENCE_SECONDS = 20.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    settings = {"HALFMINUTE_SERVER_TRUSTED_PROXIES": '["127.0.0.1/32"]'}
    with ServerProcess(tmp_path / "data", "--demo", settings=settings) as running:
        yield running


@contextmanager
def nginx_before(server: ServerProcess, directory: Path) -> Iterator[int]:
    """Run nginx with the README's block, and yield the port on which it speaks TLS."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"  # Debian's directory, which is not in every PATH
    if not Path(program).exists():
        leave_out("there is no nginx here: apt-get install nginx-light")
    directory.mkdir()
    write_certificate(directory)
    (port,) = free_ports(1)
    (directory / "nginx.conf").write_text(
        FRAME.format(user=getpass.getuser(), directory=directory, block=_block(server, directory, port))
    )
    words = [program, "-e", str(directory / "error.log"), "-c", str(directory / "nginx.conf")]
    with subprocess.Popen(words, preexec_fn=tied()) as process:
        try:
            eventually(lambda: (directory / "nginx.pid").exists(), "nginx")
            yield port
        finally:
            process.terminate()


def _block(server: ServerProcess, directory: Path, port: int) -> str:
    found = re.search(r"^```nginx\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    block = found[1]
    for documented, here in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/live.example.org.pem", str(directory / "certificate.pem")),
        ("/etc/ssl/live.example.org.key", str(directory / "key.pem")),
        ("127.0.0.1:8000", f"127.0.0.1:{server.http_port}"),
        ("127.0.0.1:8001", f"127.0.0.1:{server.websocket_port}"),
    ):
        assert block.count(documented) == 1
        block = block.replace(documented, here)
    return block


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def test_both_ports_are_served_under_one_name(server: ServerProcess, tmp_path: Path) -> None:
    with (
        nginx_before(server, tmp_path / "nginx") as port,
        httpx.Client(
            base_url=f"https://127.0.0.1:{port}", headers={"Host": f"live.example.org:{port}"}, verify=False
        ) as web,
    ):
        assert web.get("/api/config").json()["websocketUrl"] == f"wss://live.example.org:{port}/ws"
        assert web.get("/healthz").status_code == 200
        assert web.get("/metrics").status_code == 404
        assert web.post("/api/tips/send", json={}).json()["error"] == "UNAUTHENTICATED"
        with connect(f"wss://127.0.0.1:{port}/ws", ssl=unverified()) as websocket:
            websocket.send(msgspec.json.encode({"type": "session:open", "token": _token(server)}).decode())
            assert _next(websocket)["type"] == "session:ready"
            websocket.send('{"type": "ping", "ref": "a"}')
            assert _next(websocket) == {"type": "pong", "ref": "a"}
        with pytest.raises(InvalidStatus, match="403"), connect(f"wss://127.0.0.1:{port}/", ssl=unverified()):
            pass


def _token(server: ServerProcess) -> str:
    words = "token", "--sub", str(FANS[0].user_id), "--data", str(server.data_dir)
    return run_command(*words, cwd=server.data_dir.parent).out.strip()


def _next(websocket: Any) -> dict[str, Any]:
    event: dict[str, Any] = msgspec.json.decode(websocket.recv(PATIENCE_SECONDS))
    return event


def test_a_load_runs_over_tls(server: ServerProcess, tmp_path: Path) -> None:
    with nginx_before(server, tmp_path / "nginx") as port:
        words = ["--rooms", "2", "--members", "4", "--seconds", "2", "--tips-per-second", "20", "--kind", "mixed"]
        places = ["--url", f"https://localhost:{port}", "--secret-from", str(server.data_dir), "--out", "out"]
        trusted = {"SSL_CERT_FILE": str(tmp_path / "nginx" / "certificate.pem")}
        done = run_command("load", *places, *words, cwd=tmp_path, settings=trusted)
        refused = run_command("load", *places, *words, cwd=tmp_path)
    assert done.exit_code == 0, (done.out, done.errors)
    result = msgspec.json.decode((tmp_path / "out" / "load.json").read_bytes(), type=Result)
    assert (result.rooms, result.members, result.faults, result.errors) == (2, 8, {}, {})
    assert result.deliveries >= 4 * result.commands["tip:send"]
    assert refused.exit_code == 1 and "CERTIFICATE_VERIFY_FAILED" in refused.errors[0]
