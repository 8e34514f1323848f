"""Secrets as files and secret stores deliver them: surrounded by white space, and sometimes with invalid characters."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.config.environment import SECRET_VARIABLES
from server.config.secret_files import with_local_secrets
from server.config.secrets import Secrets, read_secrets
from server.config.settings import ConfigError, read_settings
from tests.support.clients import SECRET, ring_and_join
from tests.support.live_server import BILLING_SECRET, LiveServer, live_server_on

CLEAN = {
    "DATABASE_URL": "postgresql://calls:hunter2@db.example/calls",
    "HALFMINUTE_JWT_SECRET": SECRET,
    "BILLING_WEBHOOK_SECRET": BILLING_SECRET,
    "HALFMINUTE_TURN_SECRET": "coturns-static-auth-secret",
    "HALFMINUTE_STRIPE_SECRET_KEY": "sk_test_0123456789",
    "HALFMINUTE_STRIPE_WEBHOOK_SECRET": "whsec_0123456789-0123456789-0123456789",
    "HALFMINUTE_METRICS_TOKEN": "only-for-tests-metrics-0123456789-0123456789",
    "HALFMINUTE_NATS_URL": "nats://calls:hunter2@127.0.0.1:1",  # where no broker is
}


@pytest.fixture
def live_server(dsn: str, tmp_path: Path) -> Iterator[LiveServer]:
    """A server whose secrets all end with a newline."""
    secrets = {**CLEAN, "DATABASE_URL": dsn}
    with live_server_on(dsn, tmp_path, **{name: f"{secret}\n" for name, secret in secrets.items()}) as running:
        yield running


def test_with_a_newline_at_the_end_of_every_secret_tokens_calls_and_the_cron_work(live_server: LiveServer) -> None:
    fan, creator = live_server.fan(100), live_server.creator()
    ring_and_join(fan, creator)
    fan.wait_for("block:charged")
    assert live_server.sweep().status_code == 200


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " {}", "\t{} \n\n"])
def test_white_space_around_any_secret_is_not_part_of_it(around: str) -> None:
    expected = Secrets(**{field: CLEAN[name] for field, name in SECRET_VARIABLES.items()})
    assert read_secrets({name: around.format(secret) for name, secret in CLEAN.items()}) == expected


@pytest.mark.parametrize("name", CLEAN)
@pytest.mark.parametrize("inside", ["\n", "\x00", "\r", "\x7f", "\udc80"])
def test_a_secret_with_invalid_characters_is_refused_by_name(name: str, inside: str) -> None:
    secret = CLEAN[name]
    with pytest.raises(ConfigError) as refused:
        read_secrets({**CLEAN, name: f"{secret[:8]}{inside}{secret[8:]}"})
    assert str(refused.value) == f"{name} has a line break or another character in it that is no text"


@pytest.mark.parametrize("name", ["BILLING_WEBHOOK_SECRET", "HALFMINUTE_STRIPE_SECRET_KEY", "HALFMINUTE_METRICS_TOKEN"])
@pytest.mark.parametrize("inside", [" ", "ü", "\u200b"])
def test_a_secret_that_travels_in_a_header_must_fit_into_one(name: str, inside: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is sent in a header"):
        read_secrets({**CLEAN, name: CLEAN[name] + inside + "x"})


def test_each_secret_may_be_in_a_file_that_its_variable_names(tmp_path: Path) -> None:
    for name, secret in CLEAN.items():
        (tmp_path / name).write_text(f"{secret}\n")
        (tmp_path / name).chmod(0o444)  # as a container's secrets are
    files = {f"{name}_FILE": str(tmp_path / name) for name in CLEAN}
    assert read_secrets(files) == read_secrets(CLEAN)
    read_settings(None, files)  # no variable is unknown


def test_a_file_without_a_secret_is_refused_by_name(tmp_path: Path) -> None:
    name = "HALFMINUTE_METRICS_TOKEN_FILE"
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "large").write_text("x" * 4097)
    (tmp_path / "directory").mkdir()
    (tmp_path / "spaced").write_text("a b" * 20)
    for file, why in (
        ("absent", "cannot be read: No such file or directory"),
        ("directory", "cannot be read: Is a directory"),
        ("fifo", "has no secret of 1 to 4096 bytes"),
        ("empty", "has no secret of 1 to 4096 bytes"),
        ("large", "has no secret of 1 to 4096 bytes"),
    ):
        path = tmp_path / file
        with pytest.raises(ConfigError, match=re.escape(f"{name} names {path}, which {why}")):
            read_secrets({name: str(path)})
    with pytest.raises(ConfigError, match="HALFMINUTE_METRICS_TOKEN is sent in a header"):
        read_secrets({name: str(tmp_path / "spaced")})


def test_a_secret_with_a_value_and_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="DATABASE_URL and DATABASE_URL_FILE are both set"):
        read_secrets({**CLEAN, "DATABASE_URL_FILE": str(tmp_path / "url")})


def test_a_secret_of_white_space_alone_counts_as_absent() -> None:
    assert read_secrets(dict.fromkeys(CLEAN, " \n")) == Secrets()


def test_local_secrets_are_read_without_the_newline_that_an_editor_adds(tmp_path: Path) -> None:
    made, names = with_local_secrets(Secrets(), tmp_path)
    assert names == ["jwt_secret", "billing_webhook_secret"]
    for name in names:
        file = tmp_path / "secrets" / name
        file.write_text(f"{file.read_text()}\n")
    assert with_local_secrets(Secrets(), tmp_path) == (made, [])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe" * 40, "has a line break or another character in it that is no text"),
        (b"a" * 40 + b"\n" + b"b" * 40, "has a line break or another character in it that is no text"),
        (b"\n" * 40, "has 0 characters; at least 32 are needed"),
    ],
)
def test_a_local_secret_that_is_invalid_is_refused_by_its_file(content: bytes, reason: str, tmp_path: Path) -> None:
    with_local_secrets(Secrets(), tmp_path)
    file = tmp_path / "secrets" / "jwt_secret"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        with_local_secrets(Secrets(), tmp_path)
    assert str(refused.value) == f"{file} {reason}"


def test_a_setting_of_the_environment_is_read_without_the_white_space_around_it() -> None:
    settings = {"HALFMINUTE_AUTH_AUDIENCE": "authenticated\n", "HALFMINUTE_CALLS_BLOCK_SECONDS": " 5\n"}
    read = read_settings(None, settings)
    assert (read.auth.audience, read.calls.block_seconds) == ("authenticated", 5)


@pytest.mark.parametrize(
    "url", ["nats://broker", "tls://u:p%40@broker.example:4222", "nats://[::1]:4222", "nats://a:4222,nats://b:4222/"]
)
def test_the_address_of_a_broker_may_have_any_of_these_forms(url: str) -> None:
    assert read_secrets({"HALFMINUTE_NATS_URL": url}).nats_url == url


@pytest.mark.parametrize(
    "url",
    [
        "broker:4222",
        "http://broker",
        "nats://",
        "nats://u:p@ss@broker",
        "nats://a,b:4222",
        "nats://a:0",
        "nats://a:65536",
        "nats://a..b",
    ],
)
def test_the_malformed_address_of_a_broker_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_secrets({"HALFMINUTE_NATS_URL": url})
    assert str(refused.value).startswith("HALFMINUTE_NATS_URL is not nats://USER:PASSWORD@HOST:PORT")
    assert "p@ss" not in str(refused.value)
