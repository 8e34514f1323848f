"""Connection strings as providers issue them: each parameter has an effect, or is named in a warning."""

import random
import socket
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import structlog.testing
import trio

from storage.connections.connection_string import BadParameter, SocketOption, read_connection_string
from storage.database_errors import AddressError
from storage.postgres import open_postgres
from tests.storage.cutting_proxy import CuttingProxy

BASE = "postgresql://somebody:hunter2@db.example.org:6543/calls"


def test_without_parameters_nothing_is_changed_but_that_the_peer_is_looked_after() -> None:
    found = read_connection_string(BASE)
    assert (found.dsn, found.connect_seconds, dict(found.settings), found.ignored) == (BASE, None, {}, ())
    assert found.socket_options == (SocketOption(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),)


@pytest.mark.parametrize(
    "parameters",
    [
        "sslmode=require",
        f"sslmode=verify-full&sslrootcert={__file__}",
        "target_session_attrs=read-write",
        "host=/run/postgresql&port=5433",
        "passfile=/etc/pass&krbsrvname=postgres",
        "options=endpoint%3Dep-cool-123",
    ],
)
def test_parameters_known_to_asyncpg_are_passed_on(parameters: str) -> None:
    found = read_connection_string(f"{BASE}?{parameters}")
    assert (unquote(found.dsn), found.ignored) == (unquote(f"{BASE}?{parameters}"), ())


@pytest.mark.parametrize(
    "parameters",
    [
        "channel_binding=prefer",
        "channel_binding=disable",
        "client_encoding=UTF8",
        "gssencmode=prefer",
        "sslcompression=0",
        "fallback_application_name=psql",
        "connect_timeout=0",
        "keepalives=1",
        "",
    ],
)
def test_parameters_that_change_nothing_need_no_warning(parameters: str) -> None:
    found = read_connection_string(f"{BASE}?{parameters}")
    assert (found.dsn, found.connect_seconds, found.ignored) == (BASE, None, ())


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ("channel_binding=require", ("channel_binding",)),
        ("client_encoding=LATIN1", ("client_encoding",)),
        ("gssencmode=require", ("gssencmode",)),
        ("pgbouncer=true&connection_limit=1", ("pgbouncer", "connection_limit")),
        ("supa=base-pooler.x&sslmode=require", ("supa",)),
        ("schema=public", ("schema",)),
        ("load_balance_hosts=random", ("load_balance_hosts",)),
        ("statement_timeout=5000", ("statement_timeout",)),
    ],
)
def test_unsupported_parameters_are_named(parameters: str, names: tuple[str, ...]) -> None:
    assert read_connection_string(f"{BASE}?{parameters}").ignored == names


def test_settings_of_the_session_are_made_once_connected() -> None:
    options = "-c%20geqo%3Doff%20--work_mem%3D8MB%20-cnote%3Da%5C%20b"
    found = read_connection_string(f"{BASE}?application_name=calls&options={options}")
    assert found.dsn == BASE
    assert found.settings == {"application_name": "calls", "geqo": "off", "work_mem": "8MB", "note": "a b"}


def test_a_caller_waits_no_longer_than_a_minute_for_a_connection() -> None:
    for written, seconds in (("1", 1), ("10", 10), ("3600", 60)):
        assert read_connection_string(f"{BASE}?connect_timeout={written}").connect_seconds == seconds


def test_keepalives_are_those_of_the_socket() -> None:
    given = "keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=3&tcp_user_timeout=20000"
    assert read_connection_string(f"{BASE}?{given}").socket_options == (
        SocketOption(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        SocketOption(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
        SocketOption(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
        SocketOption(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
        SocketOption(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000),
    )
    off = read_connection_string(f"{BASE}?keepalives=0").socket_options
    assert off == (SocketOption(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0),)


@pytest.mark.parametrize("parameters", ["connect_timeout=soon", "keepalives_idle=-1", "tcp_user_timeout=1e3"])
async def test_a_value_that_cannot_be_is_named_and_not_shown(parameters: str) -> None:
    name = parameters.partition("=")[0]
    with pytest.raises(BadParameter, match=f"^{name} is not a whole number$"):
        read_connection_string(f"{BASE}?{parameters}")
    with pytest.raises(AddressError, match=name):
        async with open_postgres(f"{BASE}?{parameters}", pool_size=1):
            pass


def test_a_file_that_cannot_be_read_is_named_by_its_parameter() -> None:
    with pytest.raises(BadParameter, match=r"^sslrootcert names a file that cannot be read$"):
        read_connection_string(f"{BASE}?sslmode=verify-full&sslrootcert=/nowhere")


@pytest.mark.parametrize("parameters", ["sslmode=perhaps", "sslnegotiation=maybe", "ssl_min_protocol_version=9"])
async def test_parameters_rejected_by_asyncpg_give_one_line_without_the_password(parameters: str) -> None:
    with pytest.RaisesGroup(AddressError, flatten_subgroups=True) as raised:
        async with open_postgres(f"{BASE}?{parameters}", pool_size=1):
            pass
    found: BaseException = raised.value
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert "hunter2" not in str(found)
    assert "\n" not in str(found)


async def test_a_string_with_everything_in_it_leads_to_the_database(dsn: str) -> None:
    given = (
        "channel_binding=require&connect_timeout=10&keepalives=1&keepalives_idle=30&pgbouncer=true&sslmode=disable"
        "&application_name=o%27brien&target_session_attrs=read-write&options=-c%20geqo%3Doff%20-c%20search_path%3Dpublic"
    )
    with structlog.testing.capture_logs() as logged:
        async with open_postgres(f"{dsn}&{given}", pool_size=1) as postgres:
            row = await postgres.fetchrow(
                "SELECT current_setting('application_name') AS name, current_setting('geqo') AS geqo,"
                " current_setting('search_path') AS path"
            )
    assert row is not None
    assert tuple(row) == ("o'brien", "off", "halfminute"), "what we need ourselves is not theirs to change"
    assert [(line["event"], set(line["parameters"])) for line in logged] == [
        ("connection_string.ignored", {"channel_binding", "pgbouncer", "search_path"})
    ]


async def test_the_socket_of_a_connection_over_tcp_has_what_was_asked_for(dsn: str) -> None:
    parts = urlsplit(dsn)
    query = parse_qs(parts.query)
    proxy = CuttingProxy(f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}", random.Random(0), 0.0)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address = f"{parts.username}@127.0.0.1:{listeners[0].socket.getsockname()[1]}{parts.path}"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, proxy.serve, listeners)
        given = "keepalives_idle=33&sslmode=disable"
        async with open_postgres(f"postgresql://{address}?{given}", pool_size=1) as postgres:
            lone: Any = await postgres.connect()
            sock = lone._connection._connection._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 33
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            lone.terminate()
        nursery.cancel_scope.cancel()
