"""The client's side of the NATS protocol without its socket: bytes become operations, and operations bytes.

Source: docs.nats.io, Reference, NATS Protocols, Client Protocol. Headers are not used, so the broker sends none.
"""

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import msgspec

from server.config.broker_addresses import BrokerAddress

MESSAGE_BYTES_MAX = 1_048_576  # of one message: the usual limit of NATS, which brokers may raise or lower
LINE_BYTES_MAX = 65_536  # INFO names every broker of a cluster
PING, PONG = b"PING\r\n", b"PONG\r\n"


class ProtocolFault(Exception):
    """The broker sent what the protocol does not have."""


class Info(msgspec.Struct, frozen=True):
    """The limits and demands of a broker, which it sends first, and whenever its cluster changes."""

    max_payload: int = MESSAGE_BYTES_MAX
    tls_required: bool = False


class Delivery(NamedTuple):
    """A message, and the number of the subscription that it belongs to."""

    subscription: int
    message: bytes


class Asked(NamedTuple):
    """The broker wants to know whether this client is there."""


class Answered(NamedTuple):
    """The broker has read all that was sent before the question."""


class Refused(NamedTuple):
    """The broker's error."""

    reason: str


Operation: TypeAlias = Info | Delivery | Asked | Answered | Refused


class OperationReader:
    """Splits what a broker sends into operations; keeps the beginning of one that has not arrived whole."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def is_between(self) -> bool:
        """Whether all that was fed has been returned."""
        return not self._rest

    def feed(self, data: bytes) -> list[Operation]:
        """Return the operations that are complete with these bytes. Raises ProtocolFault."""
        self._rest += data
        return list(self._take())

    def _take(self) -> Iterator[Operation]:
        taken = 0
        while (line_end := self._rest.find(b"\r\n", taken)) >= 0:
            verb, _, rest = self._rest[taken:line_end].partition(b" ")
            behind = line_end + 2
            if verb == b"MSG":
                number, size = _head(rest)
                if len(self._rest) < behind + size + 2:
                    break
                if self._rest[behind + size : behind + size + 2] != b"\r\n":
                    raise ProtocolFault("a message is longer than its head says")
                yield Delivery(number, self._rest[behind : behind + size])
                behind += size + 2
            elif (operation := _operation(verb, rest)) is not None:
                yield operation
            taken = behind
        if line_end < 0 and len(self._rest) - taken > LINE_BYTES_MAX:
            raise ProtocolFault("a line has no end")
        self._rest = self._rest[taken:]


def connect(address: BrokerAddress, *, name: str) -> bytes:
    """Return the introduction of a client, which receives nothing that it sends itself, and a question behind it."""
    options = {"verbose": False, "pedantic": False, "echo": False, "lang": "python", "version": "1", "protocol": 1}
    options |= {"name": name, "tls_required": address.secure}
    if address.password:
        options |= {"user": address.user, "pass": address.password}
    elif address.user:
        options |= {"auth_token": address.user}
    return b"CONNECT " + msgspec.json.encode(options) + b"\r\n" + PING


def subscribe(subject: str, number: int) -> bytes:
    """Return the request for the messages of a subject, which are delivered with this number."""
    return f"SUB {subject} {number}\r\n".encode()


def publish(subject: str, message: bytes) -> bytes:
    """Return a message to all who have subscribed to the subject."""
    return f"PUB {subject} {len(message)}\r\n".encode() + message + b"\r\n"


def _head(rest: bytes) -> tuple[int, int]:
    """Return the subscription and the size in the head of a message: `subject number [reply] size`."""
    fields = rest.split()
    try:
        number, size = int(fields[1]), int(fields[-1])
    except (IndexError, ValueError):
        raise ProtocolFault("a message has a head of another kind") from None
    if len(fields) not in (3, 4) or not 0 <= size <= MESSAGE_BYTES_MAX:
        raise ProtocolFault("a message is larger than any that is sent")
    return number, size


def _operation(verb: bytes, rest: bytes) -> Operation | None:
    """Return the operation of a line; None for the confirmation that this client does not ask for."""
    match verb:
        case b"PING":
            return Asked()
        case b"PONG":
            return Answered()
        case b"-ERR":
            return Refused(rest.decode(errors="replace").strip("' "))
        case b"+OK":
            return None
        case b"INFO":
            try:
                return msgspec.json.decode(rest, type=Info)
            except msgspec.DecodeError:
                raise ProtocolFault("INFO is no JSON of its kind") from None
    raise ProtocolFault("an operation is unknown")
