"""New sessions are refused before the memory is exhausted, whichever limit is reached first."""

import resource
import socket
from pathlib import Path

import pytest
import trio

from server.config.listen_address import Address
from server.gateway.connection_limits import Admission, ConnectionLimits
from server.gateway.listener import Listener, open_listener
from server.observability.faults import Faults
from server.observability.memory_limit import CHECK_SECONDS, RESERVE_BYTES_MIN, MemoryLimit
from server.observability.metrics import Metrics

MIB = 2**20
SIZE = 600 * MIB


class System:
    """The kernel's figures of a process, and a clock."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.proc, self.cgroups = directory / "proc", directory / "cgroups"
        self.own = self.cgroups / "app.slice"
        for made in (self.proc, self.own):
            made.mkdir(parents=True)
        (self.proc / "cgroup").write_text("0::/app.slice\n")
        self.seconds = 0.0
        self.address_space = resource.RLIM_INFINITY
        monkeypatch.setattr(resource, "getrlimit", lambda _: (self.address_space, resource.RLIM_INFINITY))
        self.use(SIZE)

    def use(self, size: int) -> None:
        (self.proc / "statm").write_text(f"{size // resource.getpagesize()} 1 1 1 0 1 0\n")

    def hold(self, limit: str, **held: int) -> None:
        (self.own / "memory.max").write_text(f"{limit}\n")
        (self.own / "memory.stat").write_text("".join(f"{name} {value}\n" for name, value in held.items()))

    def limit(self) -> MemoryLimit:
        return MemoryLimit(self.proc, self.cgroups, lambda: self.seconds)


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    return System(tmp_path, monkeypatch)


def test_without_a_limit_nobody_is_refused(system: System) -> None:
    assert not system.limit().is_near
    system.hold("max", anon=SIZE)
    assert not system.limit().is_near


@pytest.mark.parametrize(("left", "is_near"), [(66 * MIB, True), (68 * MIB, False)])
def test_a_tenth_of_the_address_space_is_kept_in_reserve(system: System, left: int, is_near: bool) -> None:
    system.address_space = SIZE + left
    assert system.limit().is_near is is_near


@pytest.mark.parametrize(("size", "reserve"), [(64 * MIB, 32 * MIB), (8192 * MIB, 256 * MIB)])
def test_the_reserve_is_neither_too_small_nor_too_large(system: System, size: int, reserve: int) -> None:
    for left, is_near in ((reserve - MIB, True), (reserve + MIB, False)):
        system.use(size)
        system.address_space = size + left
        assert system.limit().is_near is is_near


def test_memory_of_a_container_that_the_kernel_can_reclaim_does_not_count(system: System) -> None:
    system.hold(str(512 * MIB), anon=200 * MIB, file=300 * MIB, shmem=100 * MIB)
    assert not system.limit().is_near
    system.hold(str(512 * MIB), anon=400 * MIB, file=10 * MIB, shmem=100 * MIB)
    assert system.limit().is_near


def test_the_system_is_read_a_few_times_a_second(system: System) -> None:
    limit = system.limit()
    assert not limit.is_near
    system.address_space = SIZE + RESERVE_BYTES_MIN
    assert not limit.is_near, "it was looked at just now"
    system.seconds = CHECK_SECONDS
    assert limit.is_near
    system.address_space = resource.RLIM_INFINITY
    system.seconds = 2 * CHECK_SECONDS
    assert not limit.is_near


@pytest.mark.parametrize("file", ["statm", "cgroup"])
def test_a_system_without_figures_has_no_limit(system: System, file: str) -> None:
    system.address_space = SIZE
    (system.proc / "statm").unlink()
    (system.proc / file).unlink(missing_ok=True)
    assert not system.limit().is_near


async def test_newcomers_are_refused_until_there_is_memory_again(system: System) -> None:
    system.address_space = SIZE + RESERVE_BYTES_MIN
    greeting = b"welcome"

    async def greet(accepted: socket.socket, _: Admission) -> None:
        accepted.sendall(greeting)
        accepted.close()

    async def receive_greeting() -> bytes:
        async with await trio.open_tcp_stream("127.0.0.1", listening.port) as newcomer:
            try:
                return await newcomer.receive_some()
            except trio.BrokenResourceError:
                return b""

    with open_listener(Address("127.0.0.1", 0)) as listening:
        async with trio.open_nursery() as nursery:
            limits = ConnectionLimits(10, 100)
            listener = Listener(listening, greet, limits, 65_536, Faults(Metrics()), system.limit())
            nursery.start_soon(listener.run, nursery)
            assert await receive_greeting() == b""
            system.address_space, system.seconds = resource.RLIM_INFINITY, 2 * CHECK_SECONDS
            assert await receive_greeting() == greeting
            nursery.cancel_scope.cancel()
