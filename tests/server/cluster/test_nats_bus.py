"""The bus over a real broker: what arrives where, and what a broker that dies costs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial

import nats
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from server.cluster.nats_bus import RECONNECT_SECONDS_MIN, NatsBus
from server.config.broker_addresses import read_broker_addresses
from server.observability.faults import Faults
from server.observability.metrics import Metrics
from tests.server.cluster.broker import Broker, running_broker
from tests.server.cluster.figures import figure

PATIENCE_SECONDS = 30.0
MEGABYTE = 1_048_576
LOOK_SECONDS = 0.02


@pytest.fixture
def broker() -> Iterator[Broker]:
    with running_broker() as running:
        yield running


class Server:
    """The bus of one server, and what it has heard."""

    def __init__(self, url: str, cluster: str) -> None:
        self.metrics = Metrics()
        self.bus = NatsBus(read_broker_addresses(url), cluster, self.metrics, Faults(self.metrics))
        self.heard: list[bytes] = []
        self.bus.subscribe("words", self._hear)

    def _hear(self, message: bytes) -> None:
        self.heard.append(message)
        assert message != b"nonsense"

    def count(self, line: str) -> float:
        return figure(self.metrics, line)


@asynccontextmanager
async def servers(url: str, *clusters: str) -> AsyncIterator[list[Server]]:
    made = [Server(url, cluster) for cluster in clusters]
    async with trio.open_nursery() as nursery:
        for server in made:
            nursery.start_soon(server.bus.run)
        yield made
        nursery.cancel_scope.cancel()


async def until(holds: Callable[[], object]) -> None:
    """Wait until the condition is true: neither the broker nor the bus has an event for it."""
    with trio.fail_after(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110  # reason: see above
            await trio.sleep(LOOK_SECONDS)


async def all_connected(*made: Server) -> None:
    await until(lambda: all(server.bus.is_connected for server in made))


async def test_a_message_reaches_every_other_server_of_the_cluster_in_order(broker: Broker) -> None:
    async with servers(broker.url, "a", "a", "a", "b") as (sender, second, third, stranger):
        await all_connected(sender, second, third, stranger)
        await heard_by(sender, second, third)
        for i in range(200):
            sender.bus.publish("words", f"{i}".encode())
        await until(lambda: b"199" in second.heard and b"199" in third.heard)
        for server in (second, third):
            assert server.heard[-200:] == [f"{i}".encode() for i in range(200)]
        assert sender.heard == []
        assert stranger.heard == []


async def heard_by(sender: Server, *others: Server) -> None:
    """Wait until these have subscribed: what was sent before is not heard."""
    while not all(other.heard for other in others):
        sender.bus.publish("words", b"hello")
        await trio.sleep(LOOK_SECONDS)  # the broker's own time


async def test_a_broker_that_dies_costs_the_messages_of_that_time_and_no_more(broker: Broker) -> None:
    async with servers(broker.url, "a", "a") as (sender, other):
        await all_connected(sender, other)
        await heard_by(sender, other)
        broker.kill()
        await until(lambda: not sender.bus.is_connected)
        sender.bus.publish("words", b"lost")
        await trio.to_thread.run_sync(broker.start)
        await all_connected(sender, other)
        other.heard.clear()
        await heard_by(sender, other)
        assert b"lost" not in other.heard
        assert sender.count('halfminute_bus_messages_total{outcome="dropped"}') >= 1
        assert sender.count("halfminute_bus_gaps_total") == other.count("halfminute_bus_gaps_total") == 1


async def test_a_broker_that_hangs_is_left_and_holds_nobody_up(broker: Broker) -> None:
    async with servers(broker.url, "a", "a") as (sender, other):
        await all_connected(sender, other)
        await heard_by(sender, other)
        broker.stop()
        await until(lambda: _overwhelm(sender))
        assert sender.bus.is_connected, "what waits has a limit, before the broker is known to hang"
        await until(lambda: not sender.bus.is_connected)
        broker.resume()
        await all_connected(sender, other)
        other.heard.clear()
        await heard_by(sender, other)


def _overwhelm(sender: Server) -> bool:
    """Send more than may wait; return whether some of it was dropped."""
    for _ in range(20):
        sender.bus.publish("words", bytes(MEGABYTE - 1))
    return sender.count('halfminute_bus_messages_total{outcome="dropped"}') > 0


async def test_what_a_lost_connection_did_not_take_is_not_sent_on_the_next_one() -> None:
    async with trio.open_nursery() as nursery:
        broker = SlowBroker()
        listeners = await nursery.start(partial(trio.serve_tcp, broker.speak, 0, host="127.0.0.1"))
        async with servers(f"nats://127.0.0.1:{listeners[0].socket.getsockname()[1]}", "a") as (sender,):
            await all_connected(sender)
            _overwhelm(sender)
            await wait_all_tasks_blocked()  # the first of it is being sent
            assert sender.bus.publish("words", b"stale")
            broker.may_go_on.set()
            await until(lambda: sender.count("halfminute_bus_gaps_total") == 1)
            await all_connected(sender)
            sender.bus.publish("words", b"fresh")
            await until(lambda: b"fresh" in broker.heard)
            assert b"stale" not in broker.heard
        nursery.cancel_scope.cancel()


class SlowBroker:
    """Accepts a client; reads nothing from the first one, and hangs up; hears what the next one says."""

    def __init__(self) -> None:
        self.may_go_on = trio.Event()
        self.heard = bytearray()
        self._clients = 0

    async def speak(self, stream: trio.SocketStream) -> None:
        self._clients += 1
        await stream.send_all(b"INFO {}\r\n")
        await stream.receive_some()
        await stream.send_all(b"PONG\r\n")
        if self._clients == 1:
            await self.may_go_on.wait()
            return
        async for data in stream:
            self.heard += data


async def test_a_broker_that_hangs_up_at_once_is_tried_less_and_less() -> None:
    clients = 0

    async def hang_up(stream: trio.SocketStream) -> None:
        nonlocal clients
        clients += 1
        await stream.send_all(b"INFO {}\r\n")
        await stream.receive_some()
        await stream.send_all(b"PONG\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, hang_up, 0, host="127.0.0.1"))
        began = trio.current_time()
        async with servers(f"nats://127.0.0.1:{listeners[0].socket.getsockname()[1]}", "a"):
            await until(lambda: clients == 5)
            assert trio.current_time() - began >= RECONNECT_SECONDS_MIN * (1 + 2 + 4 + 8)
        nursery.cancel_scope.cancel()


async def test_a_broker_that_is_away_at_the_start_is_waited_for(broker: Broker) -> None:
    broker.kill()
    async with servers(broker.url, "a", "a") as (sender, other):
        sender.bus.publish("words", b"nobody hears it")
        assert sender.count('halfminute_bus_messages_total{outcome="dropped"}') == 1
        await trio.to_thread.run_sync(broker.start)
        await all_connected(sender, other)
        await heard_by(sender, other)
        assert b"nobody hears it" not in other.heard


async def test_a_message_that_cannot_be_handled_costs_no_other_one(broker: Broker) -> None:
    async with servers(broker.url, "a", "a") as (sender, other):
        await all_connected(sender, other)
        await heard_by(sender, other)
        sender.bus.publish("words", b"nonsense")
        sender.bus.publish("words", b"sense")
        await until(lambda: b"sense" in other.heard)
        assert other.count('halfminute_faults_total{where="bus"}') == 1


async def test_a_refused_password_leaves_the_server_alone(broker: Broker) -> None:
    async with servers(broker.url.replace(":only", ":not"), "a") as (refused,):
        await trio.sleep(0.3)  # a few attempts
        assert not refused.bus.is_connected
        refused.bus.publish("words", b"nobody hears it")


async def test_a_broker_that_is_dead_is_passed_over_for_the_next_one_of_its_cluster(broker: Broker) -> None:
    with running_broker() as dead:
        dead.kill()
        async with servers(f"{dead.url},{broker.url}", "a", "a") as (sender, other):
            await all_connected(sender, other)
            await heard_by(sender, other)


async def test_the_library_of_nats_hears_it_and_is_heard(broker: Broker) -> None:
    async with servers(broker.url, "a") as (server,), trio.open_nursery() as nursery:
        await all_connected(server)
        nursery.start_soon(trio.to_thread.run_sync, partial(asyncio.run, _greet(broker.url)))
        await until(lambda: server.heard)
        server.bus.publish("words", b"welcome")
        await until(lambda: server.heard == [b"hello", b"welcome to you"])


async def _greet(url: str) -> None:
    """Say hello, and answer to what is said then."""
    client = await nats.connect(url)
    received = await client.subscribe("hm.a.words")
    await client.publish("hm.a.words", b"hello")
    assert (await received.next_msg(timeout=PATIENCE_SECONDS)).data == b"hello", "this client hears itself"
    answer = await received.next_msg(timeout=PATIENCE_SECONDS)
    await client.publish("hm.a.words", answer.data + b" to you")
    await client.flush()
    await client.close()
