"""Addresses of the NATS broker between servers, with their credentials: `nats://USER:PASSWORD@HOST:PORT`."""

import re
from typing import NamedTuple
from urllib.parse import unquote

NATS_PORT = 4222  # of NATS, if the address names none


class BrokerAddress(NamedTuple):
    """Where a broker is, and what it is shown. A user without a password is a token."""

    host: str
    port: int
    secure: bool
    user: str
    password: str

    def __repr__(self) -> str:
        return f"BrokerAddress({self.host}, {self.port})"


def read_broker_addresses(urls: str) -> list[BrokerAddress]:
    """Return the addresses in a text with one, or with several of one cluster of brokers, separated by commas.

    Raises ValueError, without the text, since it has a password.
    """
    return [_address_in(url.strip()) for url in urls.split(",")]


def _address_in(url: str) -> BrokerAddress:
    found = _URL.fullmatch(url)
    if found is None or not 0 < int(found["port"] or NATS_PORT) < 65_536:
        raise ValueError("not the address of a broker")
    return BrokerAddress(
        found["host"].strip("[]"),
        int(found["port"] or NATS_PORT),
        found["scheme"] == "tls",
        unquote(found["user"] or ""),
        unquote(found["password"] or ""),
    )


_LABEL = "[A-Za-z0-9_-]{1,63}"
_HOST = rf"\[[0-9A-Fa-f:.]{{2,45}}\]|(?:{_LABEL}\.)*{_LABEL}"
_CREDENTIALS = "(?P<user>[^/?#:@]*)(?::(?P<password>[^/?#:@]*))?@"
_URL = re.compile(rf"(?P<scheme>nats|tls)://(?:{_CREDENTIALS})?(?P<host>{_HOST})(?::(?P<port>\d{{1,5}}))?/?")
