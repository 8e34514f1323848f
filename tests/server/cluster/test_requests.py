"""Requests to other servers in virtual time: each has one answer or none, and their number has limits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from server.cluster import requests
from server.cluster.requests import Answer, NoAnswer, Requests
from server.ids import new_uuid
from server.observability.faults import Faults
from server.observability.metrics import Metrics
from tests.server.cluster.figures import figure
from tests.server.cluster.memory_bus import MemoryBus, connected_buses

SECONDS = 5.0


class Server:
    """A server's end of the bus, and its requests."""

    def __init__(self, bus: MemoryBus) -> None:
        self.bus = bus
        self.id = new_uuid()
        self.metrics = Metrics()
        self.requests = Requests(bus, self.id, Faults(self.metrics))


async def _shout(content: bytes) -> bytes:
    if content == b"nonsense":
        raise ValueError
    return content.upper()


@asynccontextmanager
async def servers(answer: Answer = _shout) -> AsyncIterator[list[Server]]:
    """Three servers; each answers."""
    made = [Server(bus) for bus in connected_buses(3)]
    async with trio.open_nursery() as nursery:
        for server in made:
            nursery.start_soon(server.requests.serve, answer)
        yield made
        nursery.cancel_scope.cancel()


async def test_the_server_that_is_asked_answers_the_one_that_asks(autojump_clock: MockClock) -> None:
    async with servers() as (first, second, third):
        for asker, asked in ((first, second), (third, second), (second, first)):
            assert await asker.requests.ask(asked.id, b"hello", SECONDS) == b"HELLO"


async def test_answers_may_come_in_another_order(autojump_clock: MockClock) -> None:
    async def later(content: bytes) -> bytes:
        await trio.sleep(1 / len(content))
        return content

    answers: list[bytes] = []

    async def ask(first: Server, second: Server, content: bytes) -> None:
        answers.append(await first.requests.ask(second.id, content, SECONDS))

    async with servers(later) as (first, second, _), trio.open_nursery() as nursery:
        for content in (b"a", b"bb", b"ccc"):
            nursery.start_soon(ask, first, second, content)
    assert answers == [b"ccc", b"bb", b"a"]


async def test_a_server_that_is_gone_cut_off_or_fails_does_not_answer(autojump_clock: MockClock) -> None:
    async with servers() as (first, second, _):
        began = trio.current_time()
        for server_id, content in ((new_uuid(), b"hello"), (second.id, b"nonsense")):
            with pytest.raises(NoAnswer):
                await first.requests.ask(server_id, content, SECONDS)
        assert trio.current_time() - began == 2 * SECONDS
        assert figure(second.metrics, 'halfminute_faults_total{where="bus"}') == 1
        first.bus.is_connected = False
        with pytest.raises(NoAnswer):
            await first.requests.ask(second.id, b"hello", SECONDS)
        assert trio.current_time() - began == 2 * SECONDS, "nothing is waited for that was not sent"


async def test_a_late_answer_is_not_taken_for_another_one(autojump_clock: MockClock) -> None:
    async def late(content: bytes) -> bytes:
        await trio.sleep(3)
        return content

    async with servers(late) as (first, second, _):
        with pytest.raises(NoAnswer):
            await first.requests.ask(second.id, b"given up", 1)
        assert await first.requests.ask(second.id, b"hello", SECONDS) == b"hello"


async def test_requests_have_limits_on_both_sides(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "ASKED_MAX", 6)
    monkeypatch.setattr(requests, "SERVED_MAX", 2)
    monkeypatch.setattr(requests, "QUEUED_MAX", 1)
    serving = most = unanswered = 0

    async def slow(content: bytes) -> bytes:
        nonlocal serving, most
        serving += 1
        most = max(most, serving)
        await trio.sleep(1)
        serving -= 1
        return content

    async def ask(first: Server, second: Server) -> None:
        nonlocal unanswered
        try:
            await first.requests.ask(second.id, b"hello", SECONDS)
        except NoAnswer:
            unanswered += 1

    async with servers(slow) as (first, second, _), trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(ask, first, second)
            await wait_all_tasks_blocked()
        began = trio.current_time()
        with pytest.raises(NoAnswer):
            await first.requests.ask(second.id, b"one too many", SECONDS)
        assert trio.current_time() == began
    assert most == 2
    assert unanswered == 2, "two are served, one waits for its turn, and one for that: the other two are dropped"
