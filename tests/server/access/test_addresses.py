"""A client's address: a forwarding header counts only when a trusted proxy sent it."""

import pytest

from server.addresses import Proxies, client_address, limited_as
from server.config.settings import ServerSettings

OURS = Proxies(("10.0.0.0/8", "fd00::/8"))
RFC_7239 = Proxies(("10.0.0.0/8",), "forwarded")


@pytest.mark.parametrize(
    "forwarded", [[], ["1.2.3.4"], ["1.2.3.4, 10.0.0.1"], ["10.0.0.1"], ["nonsense"]], ids=lambda lines: ";".join(lines)
)
def test_a_forged_header_changes_nothing_where_no_proxy_is_trusted(forwarded: list[str]) -> None:
    assert client_address("203.0.113.9", forwarded, OURS) == "203.0.113.9"
    assert client_address("10.0.0.1", forwarded, Proxies()) == "10.0.0.1"


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (["198.51.100.7"], "198.51.100.7"),
        (["1.2.3.4, 198.51.100.7"], "198.51.100.7"),
        (["1.2.3.4, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        (["1.2.3.4", "198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (["198.51.100.7:4711"], "198.51.100.7"),
        (["[2001:db8::7]:4711"], "2001:db8::7"),
        (["2001:db8::7, fd00::1"], "2001:db8::7"),
        (["1.2.3.4, unknown"], "10.0.0.1"),
        (["1.2.3.4, "], "10.0.0.1"),
        ([""], "10.0.0.1"),
        ([], "10.0.0.1"),
        (["1.2.3.4," + "10.0.0.2," * 100 + "10.0.0.2"], "10.0.0.2"),
    ],
)
def test_behind_trusted_proxies_the_right_most_untrusted_address_counts(forwarded: list[str], client: str) -> None:
    assert client_address("10.0.0.1", forwarded, OURS) == client


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (["for=1.2.3.4, for=198.51.100.7;proto=https;by=10.0.0.1"], "198.51.100.7"),
        (['proto=https;For="[2001:db8::7]:4711"'], "2001:db8::7"),
        (["for=198.51.100.7:80, for=10.0.0.2"], "198.51.100.7"),
        (["for=1.2.3.4, for=_hidden"], "10.0.0.1"),
        (["for=1.2.3.4, proto=https"], "10.0.0.1"),
        (["1.2.3.4"], "10.0.0.1"),
    ],
)
def test_the_header_of_rfc_7239_is_read_where_proxies_write_that_one(forwarded: list[str], client: str) -> None:
    assert client_address("10.0.0.1", forwarded, RFC_7239) == client


def test_an_ipv6_network_is_counted_as_one_client_and_an_ipv4_address_as_itself() -> None:
    assert limited_as("2001:db8:1:2:3:4:5:6") == limited_as("2001:db8:1:2::1") == "2001:db8:1:2::/64"
    assert limited_as("2001:db8:1:3::1") != limited_as("2001:db8:1:2::1")
    assert limited_as("::ffff:198.51.100.7") == limited_as("198.51.100.7") == "198.51.100.7"
    assert limited_as("somewhere") == "somewhere"


def test_a_trusted_proxy_that_is_no_network_stops_the_start() -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        ServerSettings(trusted_proxies=("localhost",))
