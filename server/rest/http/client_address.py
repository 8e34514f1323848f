"""The address that a request comes from: found once, before anything else is done for it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from server.addresses import client_address, is_within, limited_as
from server.config.settings import Settings

CLIENT = "halfminute.client"  # where a request's scope has its Client


class Client(NamedTuple):
    """Where a request comes from; behind a trusted proxy, as that says."""

    limited_as: str  # the address or /64 network under which it is counted
    exempt: bool  # from all limits of addresses and users


def client_finder(settings: Settings) -> Callable[[Mapping[str, Any]], Client]:
    """Finds the client of an ASGI scope."""
    proxies, exempt = settings.server.proxies, settings.limits.exempt
    header = proxies.header.encode()

    def find(scope: Mapping[str, Any]) -> Client:
        forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == header]
        address = client_address(str((scope["client"] or ("",))[0]), forwarded, proxies)
        return Client(limited_as(address), is_within(address, exempt))

    return find
