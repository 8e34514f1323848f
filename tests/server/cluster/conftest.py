"""Two servers on one database, with a broker between them."""

from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import msgspec
import pytest
import trio

from server.context import Context
from tests.server.cluster.broker import Broker, running_broker
from tests.server.cluster.figures import figure
from tests.support.servers import SECRETS, add_fan, give, running_server, settings

PATIENCE_SECONDS = 20.0


class Pair(NamedTuple):
    """Two servers on one database."""

    first: Context
    second: Context


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with running_broker() as running:
        yield running


@pytest.fixture
async def pair(broker: Broker, dsn: str) -> AsyncIterator[Pair]:
    """Two servers with a cluster of their own on the broker, whose buses are connected."""
    name = dsn.rsplit("/", 1)[1].split("?")[0]
    wanted = settings(block_seconds=30)
    wanted = msgspec.structs.replace(wanted, cluster=msgspec.structs.replace(wanted.cluster, name=name))
    secrets = msgspec.structs.replace(SECRETS, nats_url=broker.url)
    async with running_server(dsn, wanted, secrets) as first, running_server(dsn, wanted, secrets) as second:
        await wait_heard(first, second)
        await wait_heard(second, first)
        yield Pair(first, second)


async def wait_heard(sender: Context, receiver: Context) -> None:
    """Wait until postings of the sender are heard: the broker tells nobody when a subscription has reached it."""
    somebody = await add_fan(sender, 0)
    with trio.fail_after(PATIENCE_SECONDS):
        while not figure(receiver.metrics, 'halfminute_bus_messages_total{outcome="received"}'):
            await give(sender, somebody, 1)
