"""Listening addresses: `HOST:PORT` in settings and in URLs."""

from typing import Annotated

import msgspec

from server.config.settings import ConfigError


class Address(msgspec.Struct, frozen=True):
    """A listening address; with port 0 the system chooses a free port."""

    host: str
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)]

    @property
    def host_in_url(self) -> str:
        """Return the host, with brackets around an IPv6 address (RFC 3986)."""
        return f"[{self.host}]" if ":" in self.host else self.host

    def __str__(self) -> str:
        return f"{self.host_in_url}:{self.port}"


def parse_address(text: str) -> Address:
    """Parse `HOST:PORT`, with `[…]` around an IPv6 host.

    Raises ConfigError. The host is not looked up; the listener does that when it binds.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ConfigError(f"{text!r} is not HOST:PORT")
    bare = host.removeprefix("[").removesuffix("]")
    if (":" in bare) != (host == f"[{bare}]"):  # without brackets, the end of the host is ambiguous
        raise ConfigError(f"{text!r} is not HOST:PORT, or [HOST]:PORT for an IPv6 address")
    return Address(bare, int(port))
