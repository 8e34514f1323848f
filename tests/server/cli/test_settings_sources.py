"""Settings from files and the environment: each is read as documented, and each error names its place."""

from pathlib import Path

import pytest

from server.config.secrets import read_secrets
from server.config.settings import ConfigError, read_settings


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("block seconds: 10", "is not TOML: Expected '=' after a key in a key/value pair (at line 1, column 7)"),
        ("[cals]\nblock_seconds = 10", ": Object contains unknown field `cals`; the nearest is `calls`"),
        (
            "[streams]\nstay_sessions = 2",
            ": [streams]: Object contains unknown field `stay_sessions`; the nearest is `connections_per_payer`",
        ),
        ("[calls]\nbeer_price = 10", ": [calls]: Object contains unknown field `beer_price`"),
        ("calls = 10", ": [calls]: Expected `object`, got `int`"),
        ("[calls]\nblock_seconds = 'ten'", ": [calls] block_seconds: Expected `int`, got `str`"),
        ("[server]\ndrain_seconds = nan", ": [server] drain_seconds: Expected `float` > 0.0"),
        ("[server]\nlease_seconds = 4", ": [server]: checkpoint_seconds (5) must not exceed lease_seconds (4)"),
        ("[media]\nstun_servers = [1]", ": [media] stun_servers[0]: Expected `str`, got `int`"),
        (
            "[auth]\noperator_claim = 'user_metadata.role'",
            ": [auth]: auth.operator_claim must not be under user_metadata: users can write that themselves",
        ),
    ],
)
def test_an_error_in_a_file_is_named_with_its_position(tmp_path: Path, text: str, line: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_settings(file, {})
    assert str(refused.value) in (f"{file}{line}", f"{file} {line}")


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        (
            "HALFMINUTE_CALLS_BLOK_SECONDS",
            "10",
            "HALFMINUTE_CALLS_BLOK_SECONDS is no setting; the nearest is HALFMINUTE_CALLS_BLOCK_SECONDS",
        ),
        (
            "HALFMINUTE_BILLING_BLOCK_SECONDS",
            "1",
            "HALFMINUTE_BILLING_BLOCK_SECONDS is no setting; the nearest is HALFMINUTE_CALLS_BLOCK_SECONDS",
        ),
        (
            "HALFMINUTE_BLOCK_SECONDS",
            "1",
            "HALFMINUTE_BLOCK_SECONDS is no setting; the nearest is HALFMINUTE_CALLS_BLOCK_SECONDS",
        ),
        (
            "halfminute_calls_block_seconds",
            "1",
            "halfminute_calls_block_seconds is no setting; the nearest is HALFMINUTE_CALLS_BLOCK_SECONDS",
        ),
        (
            "HALFMINUTE_JWT_SECERT",
            "swordfish",
            "HALFMINUTE_JWT_SECERT is no setting; the nearest is HALFMINUTE_JWT_SECRET",
        ),
        (
            "HALFMINUTE_BILLING_WEBHOOK_SECRET",
            "swordfish",
            "HALFMINUTE_BILLING_WEBHOOK_SECRET is no setting; the nearest is BILLING_WEBHOOK_SECRET",
        ),
        (
            "HALFMINUTE_DATABASE_URL",
            "postgresql://somebody:hunter2@db.example/calls",
            "HALFMINUTE_DATABASE_URL is no setting; the nearest is DATABASE_URL",
        ),
        (
            "HALFMINUTE_STREAMS_STAY_SESSIONS",
            "2",
            "HALFMINUTE_STREAMS_STAY_SESSIONS is no setting; the nearest is HALFMINUTE_STREAMS_CONNECTIONS_PER_PAYER",
        ),
        ("HALFMINUTE_", "1", "HALFMINUTE_ is no setting; they are in config.toml"),
        ("HALFMINUTE_XYZ", "1", "HALFMINUTE_XYZ is no setting; they are in config.toml"),
        ("HALFMINUTE_HTTP_PORT", "9000", "HALFMINUTE_HTTP_PORT is no setting; the nearest is HALFMINUTE_HTTP_LISTEN"),
        ("HALFMINUTE_LOG_LEVEL", "loud", "HALFMINUTE_LOG_LEVEL: Invalid enum value 'loud'"),
        ("HALFMINUTE_AUTH_ALGORITHMS", "HS256", "HALFMINUTE_AUTH_ALGORITHMS: Expected `array`, got `str`"),
        ("HALFMINUTE_MEDIA_STUN_SERVERS", "[1]", "HALFMINUTE_MEDIA_STUN_SERVERS: Expected `str`, got `int`"),
    ],
)
def test_an_error_in_the_environment_is_named_by_its_variable(name: str, value: str, line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_settings(None, {name: value})
    assert str(refused.value) == line


SERVICE_LINKS = {
    "SERVICE_HOST": "10.96.0.17",
    "SERVICE_PORT": "80",
    "SERVICE_PORT_WEB": "80",
    "PORT": "tcp://10.96.0.17:80",
    "PORT_80_TCP": "tcp://10.96.0.17:80",
    "PORT_80_TCP_PROTO": "tcp",
    "PORT_80_TCP_PORT": "80",
    "PORT_80_TCP_ADDR": "10.96.0.17",
    "PORT_53_UDP": "udp://[fd00::17]:53",
}


@pytest.mark.parametrize("service", ["HALFMINUTE", "HALFMINUTE_HTTP", "HALFMINUTE_WEBSOCKET_2", "HALFMINUTE_CALLS"])
def test_the_variables_that_kubernetes_sets_for_its_services_are_neither_settings_nor_mistakes(service: str) -> None:
    links = {f"{service}_{name}": value for name, value in SERVICE_LINKS.items()}
    assert read_settings(None, links) == read_settings(None, {})
    with pytest.raises(ConfigError, match="HALFMINUTE_CALLS_BLOK_SECONDS"):
        read_settings(None, links | {"HALFMINUTE_CALLS_BLOK_SECONDS": "10"})


def test_the_test_suites_own_variables_stop_no_server() -> None:
    assert read_settings(None, {"HALFMINUTE_TEST_SEED": "7"}) == read_settings(None, {})


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[calls]\nblock_seconds = 10\nring_seconds = 20\n")
    settings = read_settings(
        file, {"HALFMINUTE_CALLS_BLOCK_SECONDS": "5", "HALFMINUTE_AUTH_AUDIENCE": "12", "HALFMINUTE_JWT_SECRET": "x"}
    )
    assert (settings.calls.block_seconds, settings.calls.ring_seconds, settings.auth.audience) == (5, 20, "12")


@pytest.mark.parametrize(
    "url", ["nonsense", "mysql://somebody:hunter2@localhost/calls", "postgresql://somebody:hun/ter2@localhost/calls"]
)
def test_an_unreadable_database_address_is_never_printed_because_it_holds_a_password(url: str) -> None:
    with pytest.raises(
        ConfigError, match=r"^DATABASE_URL is not postgresql://USER:PASSWORD@HOST:PORT/DATABASE; "
    ) as raised:
        read_secrets({"DATABASE_URL": url})
    assert "hun" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgres://somebody:hunter2@db.example:6543/calls?sslmode=require",
        "postgresql://a@[::1]:5432,b/calls",
        "postgresql:///calls?host=/run/postgresql",
        "postgresql://somebody@/calls?host=/tmp&port=5432",
    ],
)
def test_every_form_of_a_postgresql_address_is_accepted(url: str) -> None:
    assert read_secrets({"DATABASE_URL": url}).database_url == url
