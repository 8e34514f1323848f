"""Finds the address of a client, and the host and scheme it used, also behind trusted proxies.

Both ports count clients by this address, and the documents that the server serves name this host. Every header that a
proxy forwards could also have been written by the client, so entries count only as far as trusted proxies wrote them.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal, NamedTuple

ForwardedHeader = Literal["x-forwarded-for", "forwarded"]

MAX_HOPS = 32  # forwarding entries that are read, from the right; entries further left come from the client


class Proxies(NamedTuple):
    """The trusted proxies, and the header in which they forward the client's address.

    Only one header is read: a proxy that writes one of them passes on whatever the client put into the other.
    """

    trusted: Sequence[str] = ()  # networks, as `10.0.0.0/8`
    header: ForwardedHeader = "x-forwarded-for"


def client_address(peer: str, forwarded: Sequence[str], proxies: Proxies) -> str:
    """The right-most address that is not a trusted proxy; entries further left may be invented by the client.

    `peer` is the address at the other end of the socket, without a port. `forwarded` holds the values of the proxies'
    header, one for each time the header was sent. It is ignored if `peer` itself is not trusted.
    If every entry is a trusted proxy, the left-most of the MAX_HOPS entries counts as the client.
    A `peer` that is no address is returned unchanged.
    """
    client = _address(peer)
    for hop in _hops(forwarded, proxies.header):
        if client is None or not is_within(str(client), proxies.trusted):
            break
        before = _address(hop)
        if before is None:
            break  # obfuscated or `unknown`: the proxy itself counts as the client
        client = before
    return peer if client is None else str(client)


class Origin(NamedTuple):
    """Scheme and host of a request as the outermost trusted proxy forwards them; None for a part that is not sent."""

    secure: bool | None
    host: str | None  # as in a Host header, with a port where it is not the usual one


def forwarded_origin(peer: str, headers: Callable[[str], Sequence[str]], proxies: Proxies) -> Origin:
    """The scheme and host that the client used towards the outermost trusted proxy; both None for an untrusted peer.

    `headers` returns the values of a request header, one for each time it was sent. With `x-forwarded-for` the parts
    are read from X-Forwarded-Proto and X-Forwarded-Host, with `forwarded` from its `proto` and `host` (RFC 7239).
    A scheme other than http, https, ws and wss counts as not sent, and so does a host that HOST_AND_PORT does not
    match: it would become part of URLs that other clients receive.
    """
    if not is_within(peer, proxies.trusted):
        return Origin(None, None)
    lines = headers(proxies.header)
    position = _position_of_outermost(list(_hops(lines, proxies.header)), proxies)
    if proxies.header == "forwarded":
        element = _entry(lines, position)
        scheme, host = _parameter(_PROTO, element), _parameter(_FORWARDED_HOST, element)
    else:
        scheme, host = _entry(headers("x-forwarded-proto"), position), _entry(headers("x-forwarded-host"), position)
    return Origin(_SECURE.get(scheme.lower()), host if HOST_AND_PORT.fullmatch(host) else None)


def _position_of_outermost(hops: Sequence[str], proxies: Proxies) -> int:
    """The position, counted from the right, of the entry that the outermost trusted proxy wrote."""
    for position, hop in enumerate(hops):
        before = _address(hop)
        if before is None or not is_within(str(before), proxies.trusted):
            return position
    return max(0, len(hops) - 1)


def _entry(lines: Sequence[str], position: int) -> str:
    """The entry at this position from the right, or the left-most one if inner proxies added no entries."""
    entries = [entry.strip() for line in lines for entry in line.split(",")]
    return entries[max(0, len(entries) - 1 - position)] if entries else ""


def _parameter(pattern: re.Pattern[str], element: str) -> str:
    """The value of a parameter of a `Forwarded` element, without its quotes; empty if it is absent."""
    found = pattern.search(element)
    return found[1].strip('"') if found else ""


def limited_as(address: str) -> str:
    """The key under which an address is rate-limited: the /64 network of an IPv6 address, the address itself for IPv4.

    An IPv6 customer owns a whole /64 and may use any address in it.
    """
    known = _address(address)
    return str(ip_network((known, 64), strict=False)) if isinstance(known, IPv6Address) else str(known or address)


def is_within(address: str, networks: Sequence[str]) -> bool:
    """Whether the address is in one of these networks; False for a text that is no address."""
    known = _address(address)
    return known is not None and any(known in _network(network) for network in networks)


def check_networks(networks: Sequence[str]) -> None:
    """Check that each text is a network such as `10.0.0.0/8` or `fd00::/8`, or a single address.

    Raises ValueError for any other text, and for a network with host bits set, such as `10.0.0.1/8`.
    """
    for network in networks:
        ip_network(network)


def _hops(forwarded: Sequence[str], header: ForwardedHeader) -> Iterator[str]:
    """The forwarded addresses, from the right-most to the left-most."""
    hops = [hop for line in forwarded for hop in line.split(",")][-MAX_HOPS:]
    for hop in reversed(hops):
        yield hop.strip() if header == "x-forwarded-for" else _for(hop)


def _for(element: str) -> str:
    """The value of `for` in an element such as `for="[2001:db8::1]:4711";proto=https` (RFC 7239)."""
    return _parameter(_FOR, element)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address with or without a port; an IPv4-mapped IPv6 address becomes the IPv4 address."""
    found = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address(text if found is None else found[1] or found[2])
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


_network = cache(ip_network)  # cached: the configured networks are few
_FOR, _PROTO, _FORWARDED_HOST = (
    re.compile(rf'(?:^|;)\s*{name}\s*=\s*("[^"]*"|[^;\s]*)', re.IGNORECASE) for name in ("for", "proto", "host")
)
_SECURE = {"https": True, "wss": True, "http": False, "ws": False}
# The accepted values of a Host header; any other value is not used in URLs that this server builds.
HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(?::\d{1,5})?")
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::\d*)?|([0-9.]+):\d*")
