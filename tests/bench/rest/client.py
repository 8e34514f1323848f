"""The HTTP clients of a turn, in one process: `python -m tests.bench.rest.client`.

Each line on standard input is an Order. The connections are opened, and a line "READY" says so. After the next line
they send requests, each in a closed loop: the next request follows the answer. The last line of a turn is
"ANSWERS" and the fields of its Answers.

Bare sockets and prepared requests: the CPU time of a richer client would distort the measurement.
"""

import resource
import select
import socket
import sys
import time
from collections.abc import Iterator
from itertools import count, cycle, islice

import msgspec

from tests.bench.turn import percentile

ANSWER_SECONDS_MAX = 10.0
READ_BYTES = 262_144
LENGTH = b"content-length:"


class Template(msgspec.Struct, frozen=True):
    """A request; `tail` is what follows its idempotency key, or empty if it has none."""

    head: bytes
    tail: bytes = b""


class Order(msgspec.Struct, frozen=True):
    """One turn: the connections take the requests in turn, and number their keys from `first_key` on."""

    port: int
    seconds: float
    connections: int
    requests: list[Template]
    first_key: int = 0


class Answers(msgspec.Struct, frozen=True):
    """The answers of a turn; milliseconds are from sending a request to the last byte of its answer."""

    answers: float
    errors: float  # of a status other than 200 and 201
    seconds: float
    p50_ms: float
    p99_ms: float
    most_ms: float
    cpu_seconds: float


def own_address(number: int) -> str:
    """Return an address of this machine for each client, as clients have, since some limits count by address."""
    return f"127.0.{1 + number // 250}.{1 + number % 250}"


class Connection:
    """A kept connection with at most one request under way."""

    __slots__ = ("received", "request", "sent_at", "socket")

    def __init__(self, port: int, number: int, request: Template) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), source_address=(own_address(number), 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = request
        self.received = b""
        self.sent_at = 0.0

    def send(self, keys: Iterator[int]) -> None:
        request = self.request
        self.sent_at = time.perf_counter()
        self.socket.sendall(request.head + b"%d" % next(keys) + request.tail if request.tail else request.head)

    def receive(self) -> bytes | None:
        """Return a complete answer, or None if more of it is to come. Raises EOFError if the server hangs up."""
        data = self.socket.recv(READ_BYTES)
        if not data:
            raise EOFError("the server closed a connection")
        self.received += data
        end = self.received.find(b"\r\n\r\n") + 4
        if end < 4 or len(self.received) < end + _content_length(self.received[:end]):
            return None
        answer, self.received = self.received, b""
        return answer


def _content_length(head: bytes) -> int:
    return int(head.lower().partition(LENGTH)[2].partition(b"\r\n")[0])


def open_connections(order: Order) -> list[Connection]:
    """Open the connections of a turn."""
    requests = islice(cycle(order.requests), order.connections)
    return [Connection(order.port, number, request) for number, request in enumerate(requests)]


def take_turn(order: Order, connections: list[Connection]) -> Answers:
    """Send requests over all connections until the time is up, and wait for the last answers.

    Raises TimeoutError if no answer arrives within ANSWER_SECONDS_MAX, EOFError if the server closes a connection.
    """
    ms: list[float] = []
    errors = 0
    keys = count(order.first_key)
    by_file = {connection.socket.fileno(): connection for connection in connections}
    with select.epoll() as poll:
        for file in by_file:
            poll.register(file, select.EPOLLIN)
        cpu, began = time.process_time(), time.perf_counter()
        for connection in connections:
            connection.send(keys)
        waiting = len(connections)
        while waiting:
            ready = poll.poll(ANSWER_SECONDS_MAX)
            if not ready:
                raise TimeoutError("an answer did not arrive")
            for file, _ in ready:
                connection = by_file[file]
                if (answer := connection.receive()) is not None:
                    now = time.perf_counter()
                    ms.append((now - connection.sent_at) * 1000)
                    errors += answer[9:12] not in (b"200", b"201")
                    if now - began < order.seconds:
                        connection.send(keys)
                    else:
                        waiting -= 1
        seconds, used = time.perf_counter() - began, time.process_time() - cpu
    return Answers(len(ms), errors, seconds, percentile(ms, 0.5), percentile(ms, 0.99), max(ms), used)


def main() -> None:
    """Take turns until standard input ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for line in sys.stdin.buffer:
        order = msgspec.json.decode(line, type=Order)
        connections = open_connections(order)
        print("READY", flush=True)
        sys.stdin.buffer.readline()
        answers = take_turn(order, connections)
        for connection in connections:
            connection.socket.close()
        print("ANSWERS", *msgspec.structs.astuple(answers), flush=True)


if __name__ == "__main__":
    main()
