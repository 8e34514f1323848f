"""Who is at the other end of a connection, also where a proxy of ours stands between."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal, NamedTuple

ForwardedHeader = Literal["x-forwarded-for", "forwarded"]

MAX_HOPS = 32  # proxies that may stand between; what is further left nobody of ours has written


class Proxies(NamedTuple):
    """Those whose word counts, and the header in which they say it.

    One header alone: a proxy that writes one passes on what a client put into the other.
    """

    trusted: Sequence[str] = ()  # networks
    header: ForwardedHeader = "x-forwarded-for"


def client_address(peer: str, forwarded: Sequence[str], proxies: Proxies) -> str:
    """The right-most address that is no proxy of ours: further left, a client can have written what it likes.

    `forwarded` is the proxies' header, as often as it was given; from a peer that is not trusted it does not count.
    """
    client = _address(peer)
    for hop in _hops(forwarded, proxies.header):
        if client is None or not is_within(str(client), proxies.trusted):
            break
        before = _address(hop)
        if before is None:
            break  # hidden or unknown, so the proxy itself answers for it
        client = before
    return peer if client is None else str(client)


class Origin(NamedTuple):
    """The scheme and host as the outermost trusted proxy forwards them; None for a part that it does not send."""

    secure: bool | None
    host: str | None  # as in a Host header, with a port where it is not the usual one


def forwarded_origin(peer: str, headers: Callable[[str], Sequence[str]], proxies: Proxies) -> Origin:
    """How the client addressed the outermost proxy of ours; from a peer that is not trusted, nothing counts.

    `headers` gives a header of the request as often as it was sent. With `x-forwarded-for`, the proxies' own headers
    are X-Forwarded-Proto and X-Forwarded-Host; with `forwarded`, they are `proto` and `host` of Forwarded (RFC 7239).
    """
    if not is_within(peer, proxies.trusted):
        return Origin(None, None)
    lines = headers(proxies.header)
    place = _place_of_outermost(list(_hops(lines, proxies.header)), proxies)
    if proxies.header == "forwarded":
        element = _entry(lines, place)
        scheme, host = _parameter(_PROTO, element), _parameter(_FORWARDED_HOST, element)
    else:
        scheme, host = _entry(headers("x-forwarded-proto"), place), _entry(headers("x-forwarded-host"), place)
    return Origin(_SECURE.get(scheme.lower()), host if HOST_AND_PORT.fullmatch(host) else None)


def _place_of_outermost(hops: Sequence[str], proxies: Proxies) -> int:
    """Which entry, counted from the right, was written by the proxy that no other proxy of ours stands before."""
    for place, hop in enumerate(hops):
        before = _address(hop)
        if before is None or not is_within(str(before), proxies.trusted):
            return place
    return max(0, len(hops) - 1)


def _entry(lines: Sequence[str], place: int) -> str:
    """The entry at this place from the right; where there are fewer, inner proxies passed on the outermost's."""
    entries = [entry.strip() for line in lines for entry in line.split(",")]
    return entries[max(0, len(entries) - 1 - place)] if entries else ""


def _parameter(pattern: re.Pattern[str], element: str) -> str:
    found = pattern.search(element)
    return found[1].strip('"') if found else ""


def limited_as(address: str) -> str:
    """The name under which an address is counted: an IPv6 customer has a whole /64, and may change within it."""
    known = _address(address)
    return str(ip_network((known, 64), strict=False)) if isinstance(known, IPv6Address) else str(known or address)


def is_within(address: str, networks: Sequence[str]) -> bool:
    """Whether the address is in one of these networks."""
    known = _address(address)
    return known is not None and any(known in _network(network) for network in networks)


def check_networks(networks: Sequence[str]) -> None:
    """Raises ValueError for one that is none."""
    for network in networks:
        ip_network(network)


def _hops(forwarded: Sequence[str], header: ForwardedHeader) -> Iterator[str]:
    """Each address that was written down, the latest first."""
    hops = [hop for line in forwarded for hop in line.split(",")][-MAX_HOPS:]
    for hop in reversed(hops):
        yield hop.strip() if header == "x-forwarded-for" else _for(hop)


def _for(element: str) -> str:
    """Of `for="[2001:db8::1]:4711";proto=https` (RFC 7239) what stands after `for`."""
    return _parameter(_FOR, element)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """With or without a port; an IPv4 address in IPv6 clothes is the IPv4 address."""
    found = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address(text if found is None else found[1] or found[2])
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


_network = cache(ip_network)  # of those that are configured
_FOR, _PROTO, _FORWARDED_HOST = (
    re.compile(rf'(?:^|;)\s*{name}\s*=\s*("[^"]*"|[^;\s]*)', re.IGNORECASE) for name in ("for", "proto", "host")
)
_SECURE = {"https": True, "wss": True, "http": False, "ws": False}
# Of a Host header; what else is in one does not get into an address of ours.
HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(?::\d{1,5})?")
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::\d*)?|([0-9.]+):\d*")
