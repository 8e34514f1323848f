"""Listening addresses: both families of localhost on one port, and addresses as a browser takes them."""

import errno
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from server.config.listen_address import Address, parse_address
from server.config.settings import ConfigError
from server.gateway.listener import ListenError, open_listener
from tests.support.clients import SECRET
from tests.support.processes import (
    EXIT_SECONDS_MAX,
    START_SECONDS_MAX,
    Lines,
    eventually,
    free_ports,
    listen_on,
    start_command,
)

GREETING = re.compile(r"halfminute serves (http://\S+) and (ws://\S+)")


def can_listen(host: str) -> bool:
    try:
        open_listener(Address(host, 0)).close()
    except ListenError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not can_listen("::1"), reason="no IPv6 here")


@pytest.fixture
def greeted(request: pytest.FixtureRequest, dsn: str, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Return the two addresses that a server greets with which listens at `request.param` on a free port."""
    words = "serve", "--http", f"{request.param}:0", "--ws", f"{request.param}:0", "--data", str(tmp_path / "data")
    settings = {"DATABASE_URL": dsn, "HALFMINUTE_JWT_SECRET": SECRET}
    with start_command(*words, cwd=tmp_path, settings=settings) as process:
        assert process.stdout is not None and process.stderr is not None
        out, errors = Lines(process.stdout), Lines(process.stderr)
        eventually(lambda: any(map(GREETING.match, out.all())) or process.poll() is not None, "it", START_SECONDS_MAX)
        found = [greeting for line in out.all() if (greeting := GREETING.match(line))]
        assert found, errors.all()
        yield found[0][1], found[0][2]
        process.terminate()
        assert process.wait(EXIT_SECONDS_MAX) == 0


@needs_ipv6
@pytest.mark.parametrize("greeted", ["localhost"], indirect=True)
def test_localhost_answers_in_both_families_on_the_ports_of_its_greeting(greeted: tuple[str, str]) -> None:
    web, websocket = greeted
    assert web.startswith("http://localhost:")
    for host in ("127.0.0.1", "[::1]", "localhost"):
        assert httpx.get(f"{web.replace('localhost', host)}/readyz", timeout=60, verify=False).status_code == 200
        with connect(websocket.replace("localhost", host), proxy=None):
            pass


@needs_ipv6
@pytest.mark.parametrize("greeted", ["[::1]"], indirect=True)
def test_an_ipv6_address_is_greeted_in_brackets_and_works_as_printed(
    greeted: tuple[str, str],
) -> None:
    web, websocket = greeted
    assert re.fullmatch(r"http://\[::1\]:\d+", web)
    assert httpx.get(f"{web}/readyz", timeout=60, verify=False).status_code == 200
    url = httpx.get(f"{web}/api/config", timeout=60, verify=False).json()["websocketUrl"]
    assert url == websocket
    with connect(url, proxy=None):
        pass


@needs_ipv6
def test_with_port_0_both_families_have_one_port() -> None:
    for _ in range(20):
        with open_listener(Address("localhost", 0)) as listening:
            names = [sock.getsockname() for sock in listening.sockets]
            assert sorted(name[0] for name in names) == ["127.0.0.1", "::1"]
            assert {name[1] for name in names} == {listening.port}


@needs_ipv6
def test_a_port_that_the_other_family_has_taken_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process listens on the port that the system chose for the first family."""
    tries: list[int] = []

    class Taken(socket.socket):
        def bind(self, where: tuple[str, int]) -> None:  # type: ignore[override]
            if self.family == socket.AF_INET6:
                tries.append(where[1])
                if len(tries) < 3:
                    raise OSError(errno.EADDRINUSE, "Address already in use")
            super().bind(where)

    monkeypatch.setattr("server.gateway.listener.socket.socket", Taken)
    with open_listener(Address("localhost", 0)) as listening:
        assert len(listening.sockets) == 2
        assert listening.port == tries[2]


@needs_ipv6
def test_localhost_is_refused_where_one_family_has_the_port_taken() -> None:
    (port,) = free_ports(1)
    with listen_on(port), pytest.raises(ListenError) as refused:
        open_listener(Address("localhost", port))
    assert str(refused.value) == f"cannot listen on localhost:{port}: Address already in use"
    with socket.create_server(("::1", port), family=socket.AF_INET6), pytest.raises(ListenError):
        open_listener(Address("localhost", port))
    open_listener(Address("localhost", port)).close()  # the failed attempts hold no socket


def test_without_ipv6_localhost_is_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    class Only4(socket.socket):
        def bind(self, where: tuple[str, int]) -> None:  # type: ignore[override]
            if self.family == socket.AF_INET6:
                raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
            super().bind(where)

    monkeypatch.setattr("server.gateway.listener.socket.socket", Only4)
    with open_listener(Address("localhost", 0)) as listening:
        assert [sock.getsockname()[0] for sock in listening.sockets] == ["127.0.0.1"]
    with pytest.raises(ListenError, match=r"cannot listen on \[::1\]:0: Cannot assign requested address"):
        open_listener(Address("::1", 0))


def test_an_address_is_read_and_written_with_the_brackets_of_ipv6() -> None:
    for text in ("127.0.0.1:80", "localhost:8000", "[::1]:8000", "[fe80::1%eth0]:0"):
        assert str(parse_address(text)) == text
    assert parse_address("[::1]:8000") == Address("::1", 8000)


@pytest.mark.parametrize("text", ["::1:8000", "::1", "[::1:8000", "::1]:8000", "[localhost]:8000", "[::1]8000", "[]:1"])
def test_an_ipv6_address_without_its_brackets_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not HOST:PORT"):
        parse_address(text)
