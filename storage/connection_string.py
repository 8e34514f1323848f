"""Reads a connection string as libpq writes it: what asyncpg takes, what we do ourselves, and what nobody can do.

asyncpg sends every parameter that it does not know to the server as a setting, which refuses the connection; and a
pooler refuses most settings in a startup packet. So settings are kept apart here, to be made once connected.
"""

import os
import re
import socket
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

CONNECT_SECONDS_MAX = 60  # of connect_timeout; a caller waits no longer for a connection, whatever was asked for

# Of libpq's parameters those that asyncpg knows, and `options` where it is for a proxy (below).
_ASYNCPGS = frozenset(
    {
        *("host", "port", "dbname", "database", "user", "password", "passfile", "service"),
        *("sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version", "target_session_attrs", "krbsrvname", "gsslib"),
    }
)
# What we do anyway, where the value asks for no more than that.
_AS_IT_IS: dict[str, set[str] | None] = {
    "channel_binding": {"disable", "prefer"},  # asyncpg has none
    "client_encoding": {"utf8", "utf-8", "unicode", "auto"},
    "gssencmode": {"disable", "prefer", "allow"},  # asyncpg has none
    "sslcompression": {"0"},
    "fallback_application_name": None,  # ours is the name, or application_name
}
_SOCKET_OPTIONS = {
    "keepalives_idle": "TCP_KEEPIDLE",
    "keepalives_interval": "TCP_KEEPINTVL",
    "keepalives_count": "TCP_KEEPCNT",
    "tcp_user_timeout": "TCP_USER_TIMEOUT",
}
_FILES = ("sslcert", "sslkey", "sslrootcert", "sslcrl")
_SETTING = re.compile(r"(?:-c|--)\s*([A-Za-z_][\w.]*(?:-\w+)*)=(.*)", re.DOTALL)


class BadParameter(Exception):
    """One line: the parameter of a connection string whose value it cannot have. That value is not in it."""


class SocketOption(NamedTuple):
    """What `setsockopt` is to be told of a TCP connection."""

    level: int
    name: int
    value: int


class ConnectionString(NamedTuple):
    """Where the database is and how it is to be reached."""

    dsn: str  # with what asyncpg takes
    connect_seconds: float | None  # None: not said
    settings: Mapping[str, str]  # of the session, to be made once connected
    socket_options: tuple[SocketOption, ...]
    ignored: tuple[str, ...]  # parameters that nobody can honour, by name


def read_connection_string(text: str) -> ConnectionString:
    """Raises BadParameter."""
    parts = urlsplit(text)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    taken = {name: value for name, value in given.items() if name in _ASYNCPGS}
    settings = {"application_name": given["application_name"]} if given.get("application_name") else {}
    if (options := _settings_of(given.get("options", ""))) is None:
        taken["options"] = given["options"]  # for a proxy that finds its database by it
    else:
        settings |= options
    ours = {"application_name", "options", "connect_timeout", "keepalives", *_SOCKET_OPTIONS, *taken}
    ignored = (name for name, value in given.items() if name not in ours and not _is_as_it_is(name, value))
    for name in _FILES:  # asyncpg only says that some file is missing
        if taken.get(name) and not os.access(taken[name], os.R_OK):
            raise BadParameter(f"{name} names a file that cannot be read")
    query = urlencode(taken, quote_via=quote)
    return ConnectionString(
        urlunsplit(parts._replace(query=query)),
        _connect_seconds(given),
        settings,
        tuple(_socket_options(given)),
        tuple(ignored),
    )


def set_statement(settings: Mapping[str, str]) -> str:
    """The one statement that makes these settings for the rest of a session."""
    return "SELECT " + ", ".join(
        f"set_config({_literal(name)}, {_literal(settings[name])}, false)" for name in settings
    )


def _literal(text: str) -> str:
    """Whatever `standard_conforming_strings` says."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _settings_of(options: str) -> dict[str, str] | None:
    """`-c name=value --other=value`; None if there is anything else in it. A backslash keeps the next character."""
    words = [re.sub(r"\\(.)", r"\1", word) for word in re.findall(r"(?:\\.|[^\s\\])+", options)]
    found: dict[str, str] = {}
    while words:
        word = words.pop(0)
        if word == "-c" and words:
            word += words.pop(0)
        setting = _SETTING.fullmatch(word)
        if setting is None:
            return None
        found[setting[1].replace("-", "_")] = setting[2]
    return found


def _is_as_it_is(name: str, value: str) -> bool:
    allowed = _AS_IT_IS.get(name, set())
    return allowed is None or value.lower() in allowed


def _connect_seconds(given: Mapping[str, str]) -> float | None:
    """Of libpq's zero, which waits for ever, nothing is left: it is as if nothing was said."""
    seconds = _whole_number(given, "connect_timeout")
    return min(seconds, CONNECT_SECONDS_MAX) if seconds else None


def _socket_options(given: Mapping[str, str]) -> Iterator[SocketOption]:
    keep_alive = _whole_number(given, "keepalives")
    yield SocketOption(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1 if keep_alive is None else min(keep_alive, 1))
    for name, option in _SOCKET_OPTIONS.items():
        if (value := _whole_number(given, name)) and hasattr(socket, option):  # 0 is what the system does by itself
            yield SocketOption(socket.IPPROTO_TCP, getattr(socket, option), value)


def _whole_number(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name, "")
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,7}", text):
        raise BadParameter(f"{name} is not a whole number")
    return int(text)
