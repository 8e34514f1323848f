"""A server is killed while tickets are sold, released or refunded: the next one completes that, without a loss."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.clients import Phone, go_live
from tests.support.live_server import LiveServer, live_server_on
from tests.support.processes import eventually

PRICE = 100
SHOW_SECONDS = 1.0  # how long a creator is present before the ticket money is theirs
DELAYS = (0.0, 0.01, 0.04)  # seconds between a request and the kill


@pytest.fixture
def live_server(data_dir: Path) -> Iterator[LiveServer]:
    """A server with its own PostgreSQL, on which it is alone: its live rooms are live again at once."""
    settings: dict[str, str | None] = {
        "DATABASE_URL": None,
        "HALFMINUTE_STREAMS_TICKET_RELEASE_SECONDS": str(SHOW_SECONDS),
        "HALFMINUTE_SERVER_CHECKPOINT_SECONDS": "0.5",
    }
    with live_server_on("", data_dir.parent, **settings) as running:
        yield running


def kill_during(live_server: LiveServer, delay: float, work: Callable[[], object]) -> None:
    """Kill the server so long after a request was sent, whose answer may be lost, and start it again."""

    def ask() -> None:
        with suppress(httpx.HTTPError):
            work()

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(delay)
    live_server.server.kill()
    asking.join()
    live_server.server.start()


def go_on(*phones: Phone) -> None:
    for phone in phones:
        with suppress(OSError):
            phone.hang_up_network()
        phone.open()


def sell(creator: Phone, *fans: Phone) -> dict[str, Any]:
    stream = go_live(creator, type="private", ticketPriceTokens=PRICE)
    for fan in fans:
        assert fan.http.post(f"/streams/{stream['id']}/tickets").status_code == 201
    return stream


def test_a_stream_that_ends_as_its_server_dies_refunds_its_tickets(live_server: LiveServer) -> None:
    creator, fans = live_server.creator(), [live_server.fan(1000), live_server.fan(1000)]
    for delay in DELAYS:
        stream = sell(creator, *fans)
        end = f"/streams/{stream['id']}/end"
        kill_during(live_server, delay, lambda: creator.http.post(end))  # noqa: B023  # reason: called before the next turn
        eventually(lambda: creator.http.post(end).status_code == 200, "the stream's end")  # noqa: B023
        eventually(lambda: [fan.balance() for fan in fans] == [1000, 1000], "all tickets' money")
        assert creator.balance() == 0
        live_server.check_ledger()


def test_tickets_are_released_once_though_the_server_dies_at_that_moment(live_server: LiveServer) -> None:
    creator, fan = live_server.creator(), live_server.fan(1000)
    earned = 0
    for delay in DELAYS:
        stream = sell(creator, fan)
        creator.join(stream["channel"])
        time.sleep(SHOW_SECONDS)
        kill_during(live_server, delay, lambda: None)
        go_on(creator, fan)
        assert creator.join(stream["channel"])["type"] == "room:joined"
        earned += PRICE
        eventually(lambda: creator.balance() == earned, "the tickets' money")  # noqa: B023
        assert creator.http.post(f"/streams/{stream['id']}/end").status_code == 200
        assert (fan.balance(), creator.balance()) == (1000 - earned, earned)
        live_server.check_ledger()


def test_a_viewer_who_is_blocked_as_the_server_dies_gets_a_refund_if_the_block_was_stored(
    live_server: LiveServer,
) -> None:
    creator, fan = live_server.creator(), live_server.fan(1000)
    for delay in DELAYS:
        stream = sell(creator, fan)
        block = f"/creators/me/blocks/{fan.user_id}"
        kill_during(live_server, delay, lambda: creator.http.put(block))  # noqa: B023  # reason: called before the next turn
        path = f"/streams/{stream['id']}/access"
        blocked = fan.http.get(path).json()["reason"] == "banned"
        if not blocked:
            assert (fan.balance(), fan.http.get(path).json()["reason"]) == (900, "ticket")
            assert creator.http.put(block).status_code == 200
        eventually(lambda: fan.balance() == 1000, "the ticket's money")
        assert creator.http.delete(block).status_code == 200
        eventually(lambda: creator.http.post(f"/streams/{stream['id']}/end").status_code == 200, "its end")  # noqa: B023
        live_server.check_ledger()
