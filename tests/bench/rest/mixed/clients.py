"""HTTP clients of the REST benchmark, each on one keep-alive connection: `python -m tests.bench.rest.mixed.clients`.

The process reads one line, a Workload, asks until the time is up, and writes one line, its Answers. HTTP/1.1 over bare
sockets: the CPU time of a richer client would distort the measurement.
"""

import asyncio
import random
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import msgspec

from tests.bench.rest.client import own_address

# The share of each kind in ten requests: reads as a client makes them while its user browses, and some tips.
MIX = ("me", "me", "wallet", "wallet", "ledger", "ledger", "streams", "streams", "tip", "tip")
READS = {"me": "/api/me", "wallet": "/api/wallet", "ledger": "/api/wallet/ledger", "streams": "/api/streams"}
KINDS = tuple(dict.fromkeys(MIX))
TIP_TOKENS = 1
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


class Member(msgspec.Struct, frozen=True):
    """One connection: its user's token, and the creator whom they tip."""

    token: str
    creator_id: str


class Workload(msgspec.Struct, frozen=True):
    port: int
    seconds: float
    members: list[Member]


class Answers(msgspec.Struct, frozen=True):
    """The answers to all clients; milliseconds from the request to the last byte of its answer."""

    ms: dict[str, list[float]]
    errors: dict[str, int]  # by kind and status, or by the error of the connection
    seconds: float
    cpu_seconds: float


class Asked(NamedTuple):
    kind: str
    request: bytes


async def ask_all(workload: Workload) -> Answers:
    """Let all members send requests at once, each in a closed loop: the next request follows the answer."""
    ms: dict[str, list[float]] = {kind: [] for kind in KINDS}
    errors: Counter[str] = Counter()
    began, cpu = time.perf_counter(), _cpu_seconds()
    members = (_ask(workload, number, member, began, ms, errors) for number, member in enumerate(workload.members))
    await asyncio.gather(*members)
    return Answers(ms, dict(errors), time.perf_counter() - began, _cpu_seconds() - cpu)


async def _ask(
    workload: Workload, number: int, member: Member, began: float, ms: dict[str, list[float]], errors: Counter[str]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", workload.port, local_addr=(own_address(number), 0))
    try:
        for kind, request in _requests(number, member):
            sent = time.perf_counter()
            if sent - began > workload.seconds:
                return
            writer.write(request)
            status = await _status(reader)
            if status in (200, 201):
                ms[kind].append((time.perf_counter() - sent) * 1000)
            else:
                errors[f"{kind} {status}"] += 1
    except (OSError, EOFError) as error:
        errors[type(error).__name__] += 1
    finally:
        writer.close()


def _requests(number: int, member: Member) -> Iterator[Asked]:
    """Yield one member's requests, in an order that is the member's own and the same in each run."""
    chosen = random.Random(number)
    body = b'{"toCreatorId":"%b","amountTokens":%d}' % (member.creator_id.encode(), TIP_TOKENS)
    head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {member.token}\r\n".encode()
    reads = {kind: b"GET %b HTTP/1.1\r\n%b\r\n" % (path.encode(), head) for kind, path in READS.items()}
    fields = b"%bContent-Type: application/json\r\nContent-Length: %d\r\n" % (head, len(body))
    tip = b"POST /api/tips/send HTTP/1.1\r\n" + fields
    for tip_no in count():
        kind = chosen.choice(MIX)
        key = b"Idempotency-Key: %d-%d\r\n\r\n" % (number, tip_no)
        yield Asked(kind, tip + key + body if kind == "tip" else reads[kind])


async def _status(reader: asyncio.StreamReader) -> int:
    """Read one answer to its end; return its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = LENGTH.search(head)
    assert length is not None, head
    await reader.readexactly(int(length[1]))
    return int(head[9:12])


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    received = asyncio.run(ask_all(msgspec.json.decode(sys.stdin.buffer.readline(), type=Workload)))
    sys.stdout.buffer.write(msgspec.json.encode(received))
