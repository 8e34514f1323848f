"""The client address of a request, found once before the request is handled."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from server.addresses import client_address, is_within, limited_as
from server.config.settings import Settings

REMEMBERED = 4_096  # addresses whose parsed form is kept …
REMEMBERED_CHARACTERS = 128  # … with forwarded ones of at most this length, as clients send what they like
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

    @lru_cache(REMEMBERED)
    def of(peer: str, *forwarded: str) -> ClientAddress:
        address = client_address(peer, forwarded, proxies)
        return ClientAddress(limited_as(address), is_within(address, exempt))

    def find(scope: Mapping[str, Any]) -> ClientAddress:
        forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == header]
        parse = of if sum(map(len, forwarded)) <= REMEMBERED_CHARACTERS else of.__wrapped__
        return parse(str((scope["client"] or ("",))[0]), *forwarded)

    return find
