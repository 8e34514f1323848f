"""A server whose settings would lose money or accept forged tokens does not start, and prints why in one line."""

from pathlib import Path

import pytest

from tests.support.processes import run_command


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
