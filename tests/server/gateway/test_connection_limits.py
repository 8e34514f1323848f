"""The number of connections that one address may hold before it has authenticated, on both ports."""

import contextlib
import resource

import msgspec
import pytest
import trio
from httpx import AsyncClient, AsyncHTTPTransport

from server.config.settings import ConfigError, Settings
from server.gateway.connection_limits import ConnectionLimits
from server.observability.open_files import fit, raise_limit
from server.rest.http import connections
from tests.support.clients import PATIENCE_SECONDS
from tests.support.servers import add_fan, online, running_server, settings, with_section

ATTACKER, OTHER = "127.0.0.2", "127.0.0.3"
SILENT = 2_500
HEAD_SECONDS, ANSWER_SECONDS_MAX = 60, 20.0  # others would wait until the silent sockets are closed
EVERYWHERE = {"listen": "127.0.0.1:0"}


def test_an_address_has_its_share_and_others_have_theirs() -> None:
    limits = ConnectionLimits(100, 5)
    held = [limits.admit("192.0.2.1") for _ in range(6)]
    assert [admission is not None for admission in held] == [True] * 5 + [False]
    assert limits.admit("192.0.2.2") is not None
    assert limits.open == 6


def test_an_ipv6_customer_has_one_share_for_all_their_addresses() -> None:
    limits = ConnectionLimits(100, 2)
    assert limits.admit("2001:db8::1") and limits.admit("2001:db8::2:1")
    assert limits.admit("2001:db8::3") is None
    assert limits.admit("2001:db8:0:1::1") is not None
    assert limits.admit("::ffff:192.0.2.1") and limits.admit("192.0.2.1")
    assert limits.admit("::ffff:192.0.2.1") is None, "the same address in IPv6 clothes"


def test_an_authenticated_client_leaves_the_share_to_others_and_counts_in_all() -> None:
    limits = ConnectionLimits(3, 34)
    first = limits.admit("192.0.2.1")
    assert first is not None and limits.admit("192.0.2.1") is None
    first.authenticated()
    second = limits.admit("192.0.2.1")
    assert second is not None and limits.open == 2
    for _ in range(2):
        first.release()
        second.release()
    assert (limits.open, limits.of_address("192.0.2.1")) == (0, 0)


def test_the_limit_of_all_connections_holds_for_everybody() -> None:
    limits = ConnectionLimits(2, 100, uncounted=("10.0.0.0/8",))
    assert limits.admit("10.0.0.1") and limits.admit("192.0.2.1")
    assert limits.admit("10.0.0.1") is None and limits.admit("192.0.2.2") is None


def test_a_trusted_proxy_is_not_limited_by_its_address() -> None:
    limits = ConnectionLimits(100, 1, uncounted=("10.0.0.0/8",))
    assert all(limits.admit("10.0.0.1") for _ in range(50))
    assert limits.of_address("10.0.0.1") == 0


def test_open_files_are_raised_to_the_hard_limit() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(500, before[0]), before[1]))
        assert raise_limit() == before[1] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_connections_are_held_against_the_limit_of_open_files() -> None:
    usual = Settings()
    assert fit(usual, 30_000) == (usual, None)
    fewer, line = fit(usual, 4_096)
    assert fewer.websocket.connections + fewer.http.connections + fewer.postgres.pool_size < 4_096
    assert line is not None and "limit is 4096" in line and str(fewer.websocket.connections) in line
    with pytest.raises(ConfigError, match="raise it, or lower http"):
        fit(usual, 1_024)
    alone = msgspec.structs.replace(usual, http=msgspec.structs.replace(usual.http, connections=100))
    assert fit(alone, 1_024)[0].websocket.connections > 500


def client_from(address: str, base_url: str) -> AsyncClient:
    return AsyncClient(base_url=base_url, timeout=PATIENCE_SECONDS, transport=AsyncHTTPTransport(local_address=address))


class Sockets:
    """Connections of one address that send what they are given, and are held until the end."""

    def __init__(self, port: int, address: str = ATTACKER) -> None:
        self._port = port
        self._address = address
        self.held: list[trio.SocketStream] = []

    async def open(self, count: int, first_bytes: bytes = b"") -> None:
        limiter = trio.CapacityLimiter(100)

        async def one() -> None:
            async with limiter:
                stream = await trio.open_tcp_stream("127.0.0.1", self._port, local_address=self._address)
                self.held.append(stream)
                if first_bytes:
                    await send_if_open(stream, first_bytes)

        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(one)

    async def still_open(self) -> int:
        """Return the connections that the server has not closed."""
        count = 0
        for stream in self.held:
            try:
                with trio.move_on_after(0.001) as waiting:
                    await stream.receive_some(1)
            except trio.BrokenResourceError:
                continue
            count += waiting.cancelled_caught
        return count

    async def aclose(self) -> None:
        for stream in self.held:
            await trio.aclose_forcefully(stream)


async def send_if_open(stream: trio.SocketStream, data: bytes) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        await stream.send_all(data)


@pytest.mark.parametrize("first_bytes", [b"", b"GET /healthz HTTP/1.1\r\nHost:"], ids=["nothing", "half a head"])
async def test_silent_sockets_of_one_address_close_neither_port_to_others(dsn: str, first_bytes: bytes) -> None:
    usual = settings()
    wanted = msgspec.structs.replace(
        usual,
        http=msgspec.structs.replace(usual.http, head_seconds=HEAD_SECONDS),
        websocket=msgspec.structs.replace(usual.websocket, handshake_seconds=HEAD_SECONDS),
    )
    async with running_server(dsn, wanted) as context:
        for port, section in ((context.http_port, wanted.http), (context.websocket_port, wanted.websocket)):
            sockets = Sockets(port)
            async with contextlib.aclosing(sockets):
                async with client_from(OTHER, f"http://127.0.0.1:{port}") as web, trio.open_nursery() as nursery:
                    nursery.start_soon(sockets.open, SILENT, first_bytes)
                    for _ in range(20):
                        asked_at = trio.current_time()
                        assert (await web.get("/healthz", headers={"Connection": "close"})).status_code == 200
                        assert trio.current_time() - asked_at < ANSWER_SECONDS_MAX
                with trio.fail_after(HEAD_SECONDS / 2):  # the last ones may not be refused yet
                    while await sockets.still_open() > section.connections * 0.05:
                        await trio.lowlevel.checkpoint()


async def test_open_sessions_do_not_use_up_the_share_of_their_address(dsn: str) -> None:
    async with running_server(dsn, with_section("websocket", connections=20, **EVERYWHERE)) as context:
        async with online(context, await add_fan(context, 0)), online(context, await add_fan(context, 0)):
            pass


async def test_a_new_http_connection_takes_the_place_of_the_longest_idle_one(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "EVICTED_AFTER_SECONDS", 0.0)
    usual = settings()
    wanted = msgspec.structs.replace(usual, http=msgspec.structs.replace(usual.http, connections=40))
    async with running_server(dsn, wanted) as context:
        url = f"http://127.0.0.1:{context.http_port}"
        clients = [client_from(ATTACKER, url) for _ in range(5)]
        for _ in range(2):  # the second time, each has to connect anew
            for client in clients:
                assert (await client.get("/healthz")).status_code == 200
        for client in clients:
            await client.aclose()
