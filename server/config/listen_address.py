"""Where to listen: `HOST:PORT`, as settings have it and as URLs write it."""

from typing import Annotated

import msgspec

from server.config.settings import ConfigError


class Address(msgspec.Struct, frozen=True):
    """Where to listen; port 0 lets the system choose."""

    host: str
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)]

    @property
    def host_in_url(self) -> str:
        """With brackets around an IPv6 address (RFC 3986), whose colons are no port's."""
        return f"[{self.host}]" if ":" in self.host else self.host

    def __str__(self) -> str:
        return f"{self.host_in_url}:{self.port}"


def parse_address(text: str) -> Address:
    """`HOST:PORT`, with `[…]` around an IPv6 host. Raises ConfigError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ConfigError(f"{text!r} is not HOST:PORT")
    bare = host.removeprefix("[").removesuffix("]")
    if (":" in bare) != (host == f"[{bare}]"):  # without brackets, nobody knows where the host ends
        raise ConfigError(f"{text!r} is not HOST:PORT, or [HOST]:PORT for an IPv6 address")
    return Address(bare, int(port))
