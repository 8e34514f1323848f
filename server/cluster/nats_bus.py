"""The bus over NATS core: one connection to the broker, made anew whenever it is lost.

While the broker is away, nothing is kept for later: a message that arrives late could tell of a state that has passed.
The client is our own: calls of the library `nats-py` swallow a cancellation while they connect, and wait without an end
for a broker that hangs, which would hold up the server's stop.
"""

from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle

import structlog
import trio

from server.cluster import nats_protocol
from server.cluster.bus import Handler
from server.cluster.nats_connection import LOSSES, NatsConnection
from server.cluster.nats_protocol import MESSAGE_BYTES_MAX, PING, PONG, Answered, Asked, Delivery, Operation
from server.config.broker_addresses import BrokerAddress
from server.observability.faults import Faults
from server.observability.metrics import Metrics

CONNECT_SECONDS_MAX = 2.0  # for one attempt
RECONNECT_SECONDS_MIN = 0.05  # between two attempts: a broker that restarts is back within a second
RECONNECT_SECONDS_MAX = 1.0  # twice as long after each attempt: a broker may be away for hours
PING_SECONDS = 2.0  # between an answer of the broker and the next question
ANSWER_SECONDS_MAX = 3.0  # for its answer; then it hangs, or the network is gone
OUTGOING_BYTES_MAX = 8_388_608  # that wait for a broker that reads slowly: some seconds of a server's postings

log = structlog.get_logger(__name__)


class NatsBus:
    """One connection to the broker. Subjects begin with `hm.<cluster>.`, so clusters may share a broker.

    `addresses` are those of one broker, or of several in one cluster of brokers, which are tried in turn.
    """

    def __init__(self, addresses: Sequence[BrokerAddress], cluster: str, metrics: Metrics, faults: Faults) -> None:
        self._addresses = addresses
        self._prefix = f"hm.{cluster}."
        self._gaps = metrics.bus_gaps
        self._sent, self._received, self._dropped = (
            metrics.bus_messages.labels(outcome) for outcome in ("sent", "received", "dropped")
        )
        self._faults = faults
        self._subjects: list[str] = []
        self._handlers: list[Handler] = []  # of each subject; its position is the number of the subscription
        self._connection: NatsConnection | None = None
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0
        self._has_outgoing = trio.Event()
        self._answered = trio.Event()  # the broker's answer to the latest question
        metrics.watch_bus(lambda: self.is_connected)

    @property
    def is_connected(self) -> bool:
        """Whether the broker is connected, as far as it is known: one that hangs is noticed after some seconds."""
        return self._connection is not None

    def subscribe(self, subject: str, handle: Handler) -> None:
        """Call `handle` with each message of a subject from another server. Must be called before `run`."""
        self._subjects.append(subject)
        self._handlers.append(handle)

    def publish(self, subject: str, message: bytes) -> bool:
        """Send a message to the other servers, and return True, unless the broker is away, or cannot take it."""
        connection = self._connection
        is_full = self._outgoing_bytes + len(message) > OUTGOING_BYTES_MAX
        if connection is None or is_full or len(message) > min(connection.max_payload, MESSAGE_BYTES_MAX):
            self._dropped.inc()
            return False
        self._queue(nats_protocol.publish(self._prefix + subject, message))
        self._sent.inc()
        return True

    def _queue(self, data: bytes) -> None:
        self._outgoing.append(data)
        self._outgoing_bytes += len(data)
        self._has_outgoing.set()

    async def run(self) -> None:
        """Connect, and carry messages until cancelled. A broker that is away is waited for."""
        pause = RECONNECT_SECONDS_MIN
        for address in cycle(self._addresses):
            opened, began = await _try_to_connect(address), trio.current_time()
            if isinstance(opened, NatsConnection):
                reason = await self._converse(opened)
                self._gaps.inc()
            else:
                reason = opened
            if trio.current_time() - began > RECONNECT_SECONDS_MAX:  # it was of use
                pause = RECONNECT_SECONDS_MIN
            if pause == RECONNECT_SECONDS_MIN:  # a line for each loss, and not for each attempt
                log.warning("bus.away", broker=f"{address.host}:{address.port}", reason=reason)
            await trio.sleep(pause)
            pause = min(2 * pause, RECONNECT_SECONDS_MAX)

    async def _converse(self, connection: NatsConnection) -> str:
        """Carry messages over a connection until it is lost; return why. The connection is closed in any case."""
        self._connection = connection
        for number, subject in enumerate(self._subjects):
            self._queue(nats_protocol.subscribe(self._prefix + subject, number))
        log.info("bus.connected")
        try:
            return await self._send_and_receive(connection)
        finally:
            self._connection = None
            self._outgoing.clear()
            self._outgoing_bytes = 0
            await connection.close()

    async def _send_and_receive(self, connection: NatsConnection) -> str:
        """Send, receive and watch at the same time until one of them notices the loss; return its reason."""
        reasons = list[str]()
        async with trio.open_nursery() as nursery:

            async def until_lost(work: Callable[[NatsConnection], Awaitable[None]]) -> None:
                try:
                    await work(connection)
                except LOSSES as error:
                    reasons.append(_reason(error))
                    nursery.cancel_scope.cancel()

            for work in (self._send, self._receive, self._watch):
                nursery.start_soon(until_lost, work)
        return reasons[0]

    async def _send(self, connection: NatsConnection) -> None:
        """Send what is queued; what was queued during one send goes out together in the next."""
        while True:
            await self._has_outgoing.wait()
            self._has_outgoing = trio.Event()
            data = b"".join(self._outgoing)
            self._outgoing.clear()
            self._outgoing_bytes = len(data)
            await connection.send(data)
            self._outgoing_bytes -= len(data)

    async def _receive(self, connection: NatsConnection) -> None:
        while True:
            for operation in await connection.receive():
                self._handle(operation)

    def _handle(self, operation: Operation) -> None:
        match operation:
            case Delivery(subscription, message):
                self._received.inc()
                with self._faults.contained("bus"):
                    self._handlers[subscription](message)
            case Asked():
                self._queue(PONG)
            case Answered():
                self._answered.set()

    async def _watch(self, _: NatsConnection) -> None:
        """Ask the broker for an answer again and again. Raises TooSlowError if none comes in time."""
        while True:
            await trio.sleep(PING_SECONDS)
            self._answered = trio.Event()
            self._queue(PING)
            with trio.fail_after(ANSWER_SECONDS_MAX):
                await self._answered.wait()


async def _try_to_connect(address: BrokerAddress) -> NatsConnection | str:
    """Return the connection, or why there is none."""
    try:
        with trio.fail_after(CONNECT_SECONDS_MAX):
            return await NatsConnection.open(address)
    except LOSSES as error:
        return _reason(error)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
