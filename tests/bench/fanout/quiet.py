"""Measures an idle server: a session's memory, beside bare trio-websocket's, and rooms whose clocks run."""

import sys
from pathlib import Path
from uuid import uuid4

import msgspec
import trio

from tests.bench.fanout.contestants import SCRIPTS, Peer
from tests.bench.fanout.ours import CHANNEL
from tests.bench.fanout.result import Quiet
from tests.bench.fanout.room import Cores, started
from tests.support.clients import token_of
from tests.support.processes import free_ports

FIRST = 200  # sessions after which the allocator has grown
AT_ONCE = 64
START_SECONDS_MAX = 20
JOIN_SECONDS_MAX = 60
CLOCKS_SECONDS_MAX = 60  # to make the rooms, beyond the seconds in which they are watched
REST_SECONDS = 0.5  # pause without frames before idle memory is measured
HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def measure_quiet(sessions: int, rooms: int, clock_seconds: float, cores: Cores) -> Quiet:
    """Measure sessions and clocks, each in a process of its own, one after the other."""
    bare = Peer("trio-websocket", (sys.executable, str(SCRIPTS / "fanout.py"), "awaiting"))
    joined = Peer("sessions", (sys.executable, "-m", "tests.bench.fanout.joined"), path="/ws")
    kb_per_session = await _kb_per_session(joined, sessions, cores, opens_session=True)
    bare_kb = await _kb_per_session(bare, sessions, cores, opens_session=False)
    core_percent, p99_ms, blocks = await _run_clocks("clocks", rooms, clock_seconds, cores)
    bare_core_percent, *_ = await _run_clocks("bare_clocks", rooms, clock_seconds, cores)
    return Quiet(sessions, kb_per_session, bare_kb, rooms, core_percent, p99_ms, blocks, bare_core_percent)


async def _run_clocks(name: str, rooms: int, seconds: float, cores: Cores) -> list[float]:
    """Return the share of a core in percent, the late milliseconds at the 99th percentile, and the number of blocks."""
    command = [sys.executable, "-m", f"tests.bench.fanout.{name}", str(rooms), str(seconds)]
    async with started(command, name, cores.server) as process:
        return await process.read("CLOCKS", seconds + CLOCKS_SECONDS_MAX)


async def _kb_per_session(peer: Peer, sessions: int, cores: Cores, *, opens_session: bool) -> float:
    """Return the KB (of 1,000 bytes) of each connection. `opens_session`: each opens a session and joins a room."""
    port = free_ports(1)[0]
    async with started([*peer.command, str(port)], peer.name, cores.server) as server, trio.open_nursery() as nursery:
        await server.read("LISTENING", START_SECONDS_MAX)
        connections = _IdleConnections(port, peer.path, opens_session, nursery)
        await connections.grow(FIRST)
        before = _bytes(server.pid)
        await connections.grow(sessions)
        after = _bytes(server.pid)
        nursery.cancel_scope.cancel()
    return (after - before) / sessions / 1000


class _IdleConnections:
    """Connections that are open and only answer pings."""

    def __init__(self, port: int, path: str, opens_session: bool, nursery: trio.Nursery) -> None:
        self._port = port
        self._path = path
        self._opens_session = opens_session
        self._nursery = nursery
        self._streams: list[trio.SocketStream] = []

    async def grow(self, by: int) -> None:
        """Open more connections; return once all have joined and the server is idle."""
        limit = trio.CapacityLimiter(AT_ONCE)
        with trio.fail_after(JOIN_SECONDS_MAX):
            async with trio.open_nursery() as joining:
                for _ in range(by):
                    joining.start_soon(self._join, limit)
        await trio.sleep(REST_SECONDS)

    async def _join(self, limit: trio.CapacityLimiter) -> None:
        async with limit:
            stream = await trio.open_tcp_stream("127.0.0.1", self._port)
            self._streams.append(stream)
            await stream.send_all(HANDSHAKE.format(path=self._path).encode())
            await _receive_until(stream, b"\r\n\r\n")
            if self._opens_session:
                await stream.send_all(_frame({"type": "session:open", "token": token_of(uuid4())}))
                await _receive_until(stream, b"session:ready")
                await stream.send_all(_frame({"type": "room:join", "channel": CHANNEL}))
                await _receive_until(stream, b"room:joined")


async def _receive_until(stream: trio.SocketStream, word: bytes) -> None:
    answer = b""
    while word not in answer:
        received = await stream.receive_some()
        assert received, answer
        answer += received


def _frame(command: dict[str, str]) -> bytes:
    """Return a client's text frame, masked with zeros."""
    payload = msgspec.json.encode(command)
    length = len(payload)
    head = bytes((0x81, 0x80 | length)) if length < 126 else b"\x81\xfe" + length.to_bytes(2, "big")
    return head + bytes(4) + payload


def _bytes(pid: int) -> int:
    """Return the bytes of the process's own memory."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no Pss")
