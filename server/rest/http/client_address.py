"""The client address of a request, found once before the request is handled."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from server.addresses import client_address, is_within, limited_as
from server.config.settings import Settings

CLIENT = "halfminute.client"  # key of the ClientAddress in the ASGI scope


class ClientAddress(NamedTuple):
    """The origin of a request; behind a trusted proxy, the address that the proxy forwards."""

    limited_as: str  # the address, or the /64 network of an IPv6 address, that limits count
    exempt: bool  # from all limits by address and by user


def client_finder(settings: Settings) -> Callable[[Mapping[str, Any]], ClientAddress]:
    """Return a function that finds the client of an ASGI scope.

    Forwarded addresses count only in requests from the networks of `server.trusted_proxies`; see `server/addresses.py`.
    """
    proxies, exempt = settings.server.proxies, settings.limits.exempt
    header = proxies.header.encode()

    def find(scope: Mapping[str, Any]) -> ClientAddress:
        forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == header]
        address = client_address(str((scope["client"] or ("",))[0]), forwarded, proxies)
        return ClientAddress(limited_as(address), is_within(address, exempt))

    return find
