"""Parses a libpq connection string into parameters for asyncpg, session settings, socket options and ignored names.

asyncpg sends each parameter that it does not know to the server as a setting, and the server then refuses the
connection; a pooler refuses most settings in a startup packet. So settings are returned separately, and
`storage/postgres.py` makes them after it has connected.
"""

import os
import re
import socket
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

# Settings that must not depend on the configuration of the database, the role or the pooler.
SESSION_SETTINGS = {
    "search_path": "halfminute",
    "default_transaction_isolation": "read committed",  # functions must read rows that were committed just before
    "jit": "off",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
}
CONNECT_SECONDS_MAX = 60  # upper bound of connect_timeout: a caller never waits longer for a connection

# The libpq parameters that asyncpg knows. `options` is passed on only where it is meant for a proxy (see below).
_ASYNCPGS = frozenset(
    {
        *("host", "port", "dbname", "database", "user", "password", "passfile", "service"),
        *("sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version", "target_session_attrs", "krbsrvname", "gsslib"),
    }
)
# Parameters that need no action: their values that ask for our normal behaviour; None for any value.
_ALREADY_MET: dict[str, set[str] | None] = {
    "channel_binding": {"disable", "prefer"},  # asyncpg has none
    "client_encoding": {"utf8", "utf-8", "unicode", "auto"},
    "gssencmode": {"disable", "prefer", "allow"},  # asyncpg has none
    "sslcompression": {"0"},
    "fallback_application_name": None,  # never needed: the name is application_name, or "halfminute"
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
    """A parameter of the connection string has an invalid value; the text is one line, without that value."""


class SocketOption(NamedTuple):
    """The arguments of one `setsockopt` call on a TCP connection."""

    level: int
    name: int
    value: int


class ConnectionString(NamedTuple):
    """A parsed connection string: where the database is and how to connect to it."""

    dsn: str  # with the parameters that asyncpg knows, and no others
    connect_seconds: float | None  # None: not specified
    settings: Mapping[str, str]  # session settings, to be made after connecting
    socket_options: tuple[SocketOption, ...]
    ignored: tuple[str, ...]  # names of parameters that have no effect


def read_connection_string(text: str) -> ConnectionString:
    """Parse a connection string of the form postgresql://…; parameters without effect are listed in `ignored`.

    Raises BadParameter if a number is malformed or a certificate file cannot be read.
    """
    parts = urlsplit(text)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    taken = {name: value for name, value in given.items() if name in _ASYNCPGS}
    settings = {"application_name": given["application_name"]} if given.get("application_name") else {}
    if (options := _settings_of(given.get("options", ""))) is None:
        taken["options"] = given["options"]  # a proxy selects its database by such options
    else:
        settings |= options
    ours = {"application_name", "options", "connect_timeout", "keepalives", *_SOCKET_OPTIONS, *taken}
    ignored = (name for name, value in given.items() if name not in ours and not _is_already_met(name, value))
    for name in _FILES:  # asyncpg's own error does not name the file
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
    """Return one SQL statement that makes these settings for the rest of the session."""
    return "SELECT " + ", ".join(
        f"set_config({_literal(name)}, {_literal(settings[name])}, false)" for name in settings
    )


def _literal(text: str) -> str:
    """Quote a string as an SQL literal that means the same under either value of `standard_conforming_strings`."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _settings_of(options: str) -> dict[str, str] | None:
    """Parse `-c name=value --other=value` into settings; None if there is anything else in the string.

    A backslash escapes the next character.
    """
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


def _is_already_met(name: str, value: str) -> bool:
    allowed = _ALREADY_MET.get(name, set())
    return allowed is None or value.lower() in allowed


def _connect_seconds(given: Mapping[str, str]) -> float | None:
    """Return connect_timeout in seconds; None if it is missing, or 0, with which libpq would wait for ever."""
    seconds = _whole_number(given, "connect_timeout")
    return min(seconds, CONNECT_SECONDS_MAX) if seconds else None


def _socket_options(given: Mapping[str, str]) -> Iterator[SocketOption]:
    keep_alive = _whole_number(given, "keepalives")
    yield SocketOption(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1 if keep_alive is None else min(keep_alive, 1))
    for name, option in _SOCKET_OPTIONS.items():
        if (value := _whole_number(given, name)) and hasattr(socket, option):  # 0 means the system's default
            yield SocketOption(socket.IPPROTO_TCP, getattr(socket, option), value)


def _whole_number(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name, "")
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,7}", text):
        raise BadParameter(f"{name} is not a whole number")
    return int(text)
