"""The websocket's address in the public settings, as a client reaches it: directly, or through trusted proxies."""

import httpx
import msgspec
import pytest

from server.addresses import ForwardedHeader, Origin, Proxies, forwarded_origin
from server.config.settings import ConfigError, read_settings
from server.context import Context
from tests.server.rest.conftest import client_of
from tests.support.servers import running_server, with_section

Headers = dict[str, str]

FORWARDED_FOR: list[tuple[Headers, str]] = [
    ({"X-Forwarded-Proto": "https"}, "wss://calls.example/ws"),
    ({"X-Forwarded-Proto": "https", "X-Forwarded-Host": "live.example"}, "wss://live.example/ws"),
    ({"X-Forwarded-Proto": "HTTPS", "X-Forwarded-Host": "live.example:8443"}, "wss://live.example:8443/ws"),
    ({"X-Forwarded-Proto": "http", "X-Forwarded-Host": "live.example"}, "ws://live.example/ws"),
    ({"X-Forwarded-Host": "[2001:db8::1]:8443", "X-Forwarded-Proto": "wss"}, "wss://[2001:db8::1]:8443/ws"),
    ({"X-Forwarded-Host": "live.example"}, "ws://live.example/ws"),
    # The last entry is the proxy's own, the entries before it came from outside.
    ({"X-Forwarded-Proto": "https, http", "X-Forwarded-Host": "evil.example, live.example"}, "ws://live.example/ws"),
    # Two trusted proxies: the outer one was reached over TLS, the inner one by the outer.
    (
        {
            "X-Forwarded-For": "198.51.100.7, 127.0.0.9",
            "X-Forwarded-Proto": "https, http",
            "X-Forwarded-Host": "live.example, inner",
        },
        "wss://live.example/ws",
    ),
    (
        {
            "X-Forwarded-For": "198.51.100.7, 127.0.0.9",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "live.example",
        },
        "wss://live.example/ws",
    ),
]
IGNORED: list[Headers] = [
    {},
    {"X-Forwarded-For": "198.51.100.7"},
    {"X-Forwarded-Proto": "gopher"},
    {"X-Forwarded-Proto": "", "X-Forwarded-Host": ""},
    {"X-Forwarded-Host": "live.example/evil"},
    {"X-Forwarded-Host": "someone@live.example"},
    {"X-Forwarded-Host": "live.example:99999999"},
    {"X-Forwarded-Host": '"><script>'},
    {"Forwarded": "proto=https;host=live.example"},  # not the header that these proxies write
]


async def address_for(web: httpx.AsyncClient, headers: Headers) -> str:
    answer = await web.get("/api/config", headers={"Host": "calls.example", **headers})
    return str(answer.json()["websocketUrl"])


async def test_a_trusted_proxy_reports_how_it_was_reached(dsn: str) -> None:
    wanted = with_section("server", trusted_proxies=("127.0.0.0/8",))
    async with running_server(dsn, wanted) as context, client_of(context) as web:
        for headers, expected in FORWARDED_FOR:
            assert await address_for(web, headers) == expected
        for headers in IGNORED:
            assert await address_for(web, headers) == f"ws://calls.example:{context.websocket_port}/ws", headers


async def test_a_proxy_that_writes_forwarded_reports_it_there(dsn: str) -> None:
    wanted = with_section("server", trusted_proxies=("127.0.0.0/8",), forwarded_header="forwarded")
    async with running_server(dsn, wanted) as context, client_of(context) as web:
        for written, expected in (
            ("for=198.51.100.7;proto=https;host=live.example", "wss://live.example/ws"),
            ('For="[2001:db8::1]:4711"; Proto=HTTPS; Host="live.example:8443"', "wss://live.example:8443/ws"),
            ("for=1.2.3.4;proto=https;host=evil.example, for=198.51.100.7;proto=http", "ws://calls.example/ws"),
            ("for=198.51.100.7;proto=https;host=live.example, for=127.0.0.9;proto=http", "wss://live.example/ws"),
        ):
            assert await address_for(web, {"Forwarded": written}) == expected, written
        passed_on = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}
        assert await address_for(web, passed_on) == f"ws://calls.example:{context.websocket_port}/ws"


async def test_an_untrusted_peers_header_is_ignored(context: Context) -> None:
    async with client_of(context) as web:
        for headers, _ in FORWARDED_FOR:
            assert await address_for(web, headers) == f"ws://calls.example:{context.websocket_port}/ws", headers


async def test_a_public_address_overrides_a_proxys_header(dsn: str) -> None:
    ours = with_section("websocket", public_url="wss://a.example/ws")
    trusting = with_section("server", trusted_proxies=("127.0.0.0/8",))
    wanted = msgspec.structs.replace(trusting, websocket=ours.websocket)
    async with running_server(dsn, wanted) as context, client_of(context) as web:
        assert (
            await address_for(web, {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "b.example"})
            == "wss://a.example/ws"
        )


async def test_the_websockets_own_document_names_the_same_address(dsn: str) -> None:
    wanted = with_section("server", trusted_proxies=("127.0.0.0/8",))
    async with running_server(dsn, wanted) as context, client_of(context) as web:
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "live.example"}
        document = (await web.get("/api/asyncapi.json", headers=headers)).json()
        server = document["servers"]["ws"]
        assert (server["protocol"], server["host"], "host" in server["variables"]) == ("wss", "{host}", True)
        plain = (await web.get("/api/asyncapi.json")).json()["servers"]["ws"]
        assert (plain["protocol"], plain["host"]) == ("ws", f"{{host}}:{context.websocket_port}")


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
def test_a_peer_that_is_not_trusted_changes_nothing(header: ForwardedHeader) -> None:
    proxies = Proxies(("10.0.0.0/8",), header)
    headers = {
        "x-forwarded-proto": ["https"],
        "x-forwarded-host": ["live.example"],
        "forwarded": ["proto=https;host=live.example"],
    }
    for peer in ("192.0.2.1", "", "::1"):
        assert forwarded_origin(peer, lambda name: headers.get(name, []), proxies) == Origin(None, None)
    for peer in ("10.1.2.3", "::ffff:10.1.2.3"):
        assert forwarded_origin(peer, lambda name: headers.get(name, []), proxies) == Origin(True, "live.example")


@pytest.mark.parametrize(
    "url", ["calls.example", "https://calls.example/ws", "wss://", "wss://a b/ws", "wss://a/ws?x=1"]
)
def test_an_invalid_public_websocket_address_stops_the_start(url: str) -> None:
    with pytest.raises(ConfigError, match=r"websocket\.public_url"):
        read_settings(None, {"HALFMINUTE_WEBSOCKET_PUBLIC_URL": url})
