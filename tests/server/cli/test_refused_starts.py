"""A server that would lose money, accept forged tokens or not be reached does not start; it prints why in one line."""

from pathlib import Path

import pytest

from storage.embedded.data_directory import DataDir
from tests.support.processes import free_ports, listen_on, run_command


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[packs]\ncurrency = 'INR'\n", "payouts.exchange_rate must say how many USD one INR is worth"),
        ("[auth]\nalgorithms = ['ES256']\njwks_url = 'http://issuer.example/jwks.json'\n", "auth.jwks_url must be"),
    ],
    ids=["packs in another currency", "keys over plain http"],
)
def test_settings_that_would_lose_money_or_accept_anybody_stop_the_server(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    ended = run_command("serve", "--data", str(tmp_path / "data"), cwd=tmp_path)
    assert (ended.exit_code, ended.out, len(ended.errors)) == (1, "", 1)
    assert line in ended.errors[0]


def test_a_taken_port_is_noticed_before_a_database_is_made(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    with listen_on(port):
        finished = run_command("serve", "--data", "new", "--http", "127.0.0.1:0", "--ws", address, cwd=tmp_path)
    assert finished.errors == [f"halfminute: cannot listen on {address}: Address already in use"]
    assert finished.exit_code == 1
    assert not DataDir(tmp_path / "new").cluster.exists()
