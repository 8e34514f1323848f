"""One connection to a NATS broker: the handshake, with TLS where the address or the broker wants it, and its bytes."""

import ssl

import trio

from server.cluster.nats_protocol import (
    Answered,
    Info,
    Operation,
    OperationReader,
    ProtocolFault,
    Refused,
    connect,
)
from server.config.broker_addresses import BrokerAddress

RECEIVE_BYTES = 65_536
CLIENT_NAME = "halfminute"  # the name in the broker's lists of its clients


class RefusedByBroker(Exception):
    """The broker's error; most of them end the connection."""


# The errors that end a connection, or an attempt to make one. SSLError is an OSError.
LOSSES = (
    OSError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.TooSlowError,
    ProtocolFault,
    RefusedByBroker,
)


class NatsConnection:
    """A connection whose broker has accepted the credentials. One task may receive while another one sends."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._reader = OperationReader()
        self._waiting: list[Operation] = []
        self.max_payload = 0

    @classmethod
    async def open(cls, address: BrokerAddress) -> "NatsConnection":
        """Connect and introduce this client. Raises one of LOSSES; the socket is closed then, and by a cancellation."""
        connection = cls(await trio.open_tcp_stream(address.host, address.port))
        try:
            await connection._introduce(address)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _introduce(self, address: BrokerAddress) -> None:
        info = await self._next()
        if not isinstance(info, Info):
            raise ProtocolFault("the broker does not introduce itself")
        self.max_payload = info.max_payload
        if address.secure or info.tls_required:
            await self._secure(address.host)
        await self.send(connect(address, name=CLIENT_NAME))
        while not isinstance(await self._next(), Answered):
            pass

    async def _secure(self, host: str) -> None:
        """Go on with TLS. The broker must have a certificate that this machine, or SSL_CERT_FILE, trusts."""
        if self._waiting or not self._reader.is_between:
            raise ProtocolFault("the broker speaks before TLS protects it")
        context = ssl.create_default_context()
        self._stream = trio.SSLStream(self._stream, context, server_hostname=host, https_compatible=True)

    async def _next(self) -> Operation:
        while not self._waiting:
            self._waiting = await self._read()
        return self._waiting.pop(0)

    async def receive(self) -> list[Operation]:
        """Return what the broker has sent next, which may be nothing yet. Raises one of LOSSES, also at the end."""
        operations, self._waiting = self._waiting or await self._read(), []
        return operations

    async def _read(self) -> list[Operation]:
        received = await self._stream.receive_some(RECEIVE_BYTES)
        if not received:
            raise trio.BrokenResourceError("the broker has closed the connection")
        operations = self._reader.feed(bytes(received))
        for operation in operations:
            if isinstance(operation, Refused):
                raise RefusedByBroker(operation.reason)
        return operations

    async def send(self, data: bytes) -> None:
        """Send bytes of the protocol. Raises one of LOSSES."""
        await self._stream.send_all(data)

    async def close(self) -> None:
        """Close the socket at once; what was not sent is lost."""
        await trio.aclose_forcefully(self._stream)
