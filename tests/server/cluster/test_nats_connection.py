"""Connections to brokers: with TLS, beside another client, and to what only seems to be a broker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from server.cluster.nats_connection import LOSSES, NatsConnection, RefusedByBroker
from server.cluster.nats_protocol import ProtocolFault
from server.config.broker_addresses import BrokerAddress, read_broker_addresses
from tests.server.cluster.broker import running_broker
from tests.storage.poolers import write_certificate

PATIENCE_SECONDS = 10.0
INFO = b'INFO {"max_payload":1000}\r\n'


async def open_and_close(url: str) -> None:
    (address,) = read_broker_addresses(url)
    with trio.fail_after(PATIENCE_SECONDS):
        await (await NatsConnection.open(address)).close()


async def test_a_broker_that_wants_tls_must_have_a_certificate_that_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_certificate(tmp_path)
    with running_broker(tmp_path) as broker:
        for url in (broker.url, broker.url.replace("nats:", "tls:")):
            with pytest.raises(LOSSES):
                await open_and_close(url)
            with monkeypatch.context() as trusting:
                trusting.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
                await open_and_close(url)


async def test_credentials_are_not_sent_to_a_broker_without_tls_where_the_address_wants_it() -> None:
    with running_broker() as broker:
        with pytest.raises(LOSSES):
            await open_and_close(broker.url.replace("nats:", "tls:"))


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"PING\r\n",
        b"x" * 100_000,
    ],
)
async def test_what_is_no_broker_is_left(said: bytes) -> None:
    async with speaker(said) as address:
        with trio.fail_after(PATIENCE_SECONDS), pytest.raises(LOSSES):
            await NatsConnection.open(address)


async def test_why_a_broker_refuses_is_kept() -> None:
    async with speaker(INFO + b"-ERR 'Authorization Violation'\r\n") as address:
        with trio.fail_after(PATIENCE_SECONDS), pytest.raises(RefusedByBroker, match="Authorization Violation"):
            await NatsConnection.open(address)


async def test_what_is_said_before_tls_counts_for_nothing() -> None:
    """Somebody in the middle could send it, and it would be taken for the broker's answer behind TLS."""
    async with speaker(b'INFO {"tls_required":true}\r\nPONG\r\n') as address:
        with trio.fail_after(PATIENCE_SECONDS), pytest.raises(ProtocolFault):
            await NatsConnection.open(address)


async def test_a_broker_that_says_nothing_can_be_left() -> None:
    async with speaker(INFO, hang=True) as address:
        with trio.move_on_after(0.1) as waited:
            await NatsConnection.open(address)
        assert waited.cancelled_caught


@asynccontextmanager
async def speaker(said: bytes, *, hang: bool = False) -> AsyncIterator[BrokerAddress]:
    """A listener that says this to whoever connects, and then closes the connection, or hangs."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, partial(_speak, said, hang), 0, host="127.0.0.1"))
        yield BrokerAddress("127.0.0.1", listeners[0].socket.getsockname()[1], False, "", "")
        nursery.cancel_scope.cancel()


async def _speak(said: bytes, hang: bool, stream: trio.SocketStream) -> None:
    try:
        await stream.send_all(said)
        if hang:
            await trio.sleep_forever()
    except trio.BrokenResourceError:
        pass  # the client has left
