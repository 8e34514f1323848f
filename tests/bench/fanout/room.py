"""Runs a room that stays open for a whole run: the server on one core, and all its members in a process on another."""

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import trio

from tests.bench.fanout.contestants import Peer
from tests.bench.fanout.ours import EVENT_BYTES, WATCHED
from tests.bench.fanout.result import Delay, Turn
from tests.support.lifeline import tied
from tests.support.processes import ROOT, environment, free_ports

START_SECONDS_MAX = 20
JOIN_SECONDS_MAX = 60
TURN_SECONDS_MAX = 60
SETTLE_SECONDS = 0.02  # so that the server's work after its last send is counted too
NS_A_SECOND = 1_000_000_000


class Cores(msgspec.Struct, frozen=True):
    server: int
    drainer: int

    @property
    def shared(self) -> bool:
        return self.server == self.drainer


def choose_cores() -> Cores:
    """Return the first two cores that this process may use; if it has only one, both are that one."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[0], usable[-1] if len(usable) < 2 else usable[1])


class LineProcess:
    """A process of which each answer is one line."""

    def __init__(self, process: trio.Process, name: str) -> None:
        self.pid = process.pid
        self._process = process
        self._name = name
        self._unread = b""

    async def write(self, order: str) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send_all(order.encode() + b"\n")

    async def read(self, word: str, seconds: float) -> list[float]:
        """Return the figures behind this word. Raises RuntimeError for another word, or if none arrives in time."""
        line = ""
        with trio.move_on_after(seconds):
            line = await self._read_line()
        first, *figures = line.split() or [""]
        if first != word:
            raise RuntimeError(f"{self._name}: {word} was expected within {seconds:g} s, and not {line!r}")
        return [float(figure) for figure in figures]

    async def _read_line(self) -> str:
        assert self._process.stdout is not None
        while b"\n" not in self._unread:
            received = await self._process.stdout.receive_some()
            if not received:
                return ""
            self._unread += received
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()


class OpenRoom:
    """A contestant with all its members joined."""

    def __init__(self, peer: Peer, members: int, server: LineProcess, drainer: LineProcess) -> None:
        self.peer = peer
        self.members = members
        self._server = server
        self._drainer = drainer

    async def turn(self, events: int, events_a_write: int = 1) -> Turn:
        """Send events to all members, each of whom must receive every one. Raises RuntimeError if one does not."""
        await self._drainer.write(str(events))
        await self._drainer.read("READY", TURN_SECONDS_MAX)
        server, drainer = spent(self._server.pid), spent(self._drainer.pid)
        await self._server.write(f"{events} {events_a_write}")
        began = (await self._server.read("BEGAN", TURN_SECONDS_MAX))[0]
        ended, frames, least, most, size, reads = await self._drainer.read("COUNTED", TURN_SECONDS_MAX)
        await trio.sleep(SETTLE_SECONDS)
        deliveries = events * self.members
        assert (frames, least, most) == (deliveries, events, events), f"{self.peer.name}: {least:g} to {most:g} events"
        assert size == events * self.peer.event_bytes(self.members), f"{self.peer.name}: {size:g} bytes"
        return Turn(
            contestant=self.peer.name,
            members=self.members,
            events_a_write=events_a_write,
            deliveries=deliveries,
            bytes=int(size),
            seconds=ended - began,
            server_us=(spent(self._server.pid).running - server.running) / deliveries * 1e6,
            drainer_us=(spent(self._drainer.pid).running - drainer.running) / deliveries * 1e6,
            kept_waiting=(spent(self._server.pid).kept_waiting - server.kept_waiting) / (ended - began),
            deliveries_a_read=deliveries / reads,
            load=os.getloadavg()[0],
        )

    async def delay(self, events: int) -> Delay:
        """Return how late the blocks of another halfminute room are during a broadcast."""
        await self._drainer.write(str(events))
        await self._drainer.read("READY", TURN_SECONDS_MAX)
        await self._server.write(f"{events} 1 {WATCHED}")
        await self._server.read("BEGAN", TURN_SECONDS_MAX)
        p99_ms, most_ms = await self._server.read("LATE", TURN_SECONDS_MAX)
        await self._drainer.read("COUNTED", TURN_SECONDS_MAX)
        return Delay(self.members, p99_ms, most_ms)

    async def see_nothing_more(self) -> None:
        """Check that no member receives another frame; the members' process refuses a turn after unexpected frames."""
        await self._drainer.write("0")
        await self._drainer.read("READY", TURN_SECONDS_MAX)


@asynccontextmanager
async def open_room(peer: Peer, members: int, drainer: str, cores: Cores) -> AsyncIterator[OpenRoom]:
    """Yield a server with members that have joined its room."""
    port = str(free_ports(1)[0])
    command = [*peer.command, port, *([str(members), str(EVENT_BYTES)] if peer.takes_members else [])]
    joining = [drainer, port, peer.path, str(members), str(int(peer.envelope))]
    async with started(command, peer.name, cores.server) as server:
        await server.read("LISTENING", START_SECONDS_MAX)
        async with started(joining, f"the members of {peer.name}", cores.drainer) as drained:
            await drained.read("JOINED", JOIN_SECONDS_MAX)
            room = OpenRoom(peer, members, server, drained)
            yield room
            await room.see_nothing_more()


@asynccontextmanager
async def started(command: list[str], name: str, core: int) -> AsyncIterator[LineProcess]:
    """Yield a process that is bound to one core; it is killed at the end."""
    process = await trio.lowlevel.open_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=environment({}),
        preexec_fn=tied(partial(os.sched_setaffinity, 0, {core})),
    )
    try:
        yield LineProcess(process, name)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


class Spent(NamedTuple):
    """The seconds of all threads of a process so far."""

    running: float
    kept_waiting: float  # ready to run while other processes had the core


def spent(pid: int) -> Spent:
    threads = list(map(_thread_ns, Path(f"/proc/{pid}/task").iterdir()))
    return Spent(*(sum(ns) / NS_A_SECOND for ns in zip(*threads, strict=True)))


def _thread_ns(thread: Path) -> tuple[int, int]:
    try:
        running, waiting, _ = (thread / "schedstat").read_text().split()
    except FileNotFoundError:  # an idle worker of a pool has ended
        return 0, 0
    return int(running), int(waiting)
