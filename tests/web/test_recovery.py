"""Calls of the web client go on over a reload, a lost network, and a server that is killed."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.processes import ServerProcess, eventually, free_ports
from tests.web import recovery_scenes
from tests.web.browser import play
from tests.web.network import Network, open_network

pytestmark = pytest.mark.long


class Server(NamedTuple):
    """A server whose websocket pages reach through a network."""

    process: ServerProcess
    network: Network

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.process.http_port}/"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    (port,) = free_ports(1)
    settings = {"HALFMINUTE_WEBSOCKET_PUBLIC_URL": f"ws://127.0.0.1:{port}/ws"}
    with (
        ServerProcess(tmp_path_factory.mktemp("recovery") / "data", "--demo", settings=settings) as process,
        open_network(port, process.websocket_port) as network,
    ):
        yield Server(process, network)


@contextmanager
def answering(tmp_path: Path, act: Callable[[], None]) -> Iterator[dict[str, str]]:
    """Carry out `act` once the scene wants it. Yield the paths by which both speak."""
    wanted, done = tmp_path / "wanted", tmp_path / "done"

    def answer() -> None:
        eventually(wanted.exists, "the wish of the scene")
        act()
        done.touch()

    answering = threading.Thread(target=answer)
    answering.start()
    yield {"wanted": str(wanted), "done": str(done)}
    answering.join()


def test_a_call_is_there_again_after_a_reload_of_each_page(server: Server) -> None:
    play(recovery_scenes.reload_and_chat, url=server.url)


@pytest.mark.parametrize(("seconds", "stops"), [(8, False), (40, True)])
def test_a_call_goes_on_after_the_network_was_away(server: Server, tmp_path: Path, seconds: float, stops: bool) -> None:
    def take_away() -> None:
        server.network.take_away()
        time.sleep(seconds)  # as long as the network is away
        server.network.bring_back()

    with answering(tmp_path, take_away) as paths:
        play(recovery_scenes.lose_the_network, url=server.url, stops=stops, **paths)


def test_both_pages_recover_by_themselves_after_a_kill_of_the_server(server: Server, tmp_path: Path) -> None:
    def restart() -> None:
        server.process.kill()
        server.process.start()

    with answering(tmp_path, restart) as paths:
        play(recovery_scenes.survive_a_kill, url=server.url, **paths)
