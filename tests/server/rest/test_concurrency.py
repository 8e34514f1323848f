"""Few requests of one address run at once: others wait in order, and a request that waits itself gives up its slot."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from server.rest.http.concurrency import AT_ONCE, PASSED_ON_SECONDS, AddressConcurrency

ADDRESS, OTHER = "192.0.2.1", "192.0.2.2"


class Requests:
    """Requests that run until a test ends them."""

    def __init__(self, concurrency: AddressConcurrency, nursery: trio.Nursery) -> None:
        self._concurrency = concurrency
        self._nursery = nursery
        self.begun: list[str] = []
        self.ends: dict[str, trio.Event] = {}
        self.scopes: dict[str, trio.CancelScope] = {}

    async def ask(self, name: str, address: str | None = ADDRESS) -> None:
        self.ends[name] = trio.Event()
        self.scopes[name] = trio.CancelScope()

        async def answer() -> None:
            with self.scopes[name]:
                async with self._concurrency.slot(address):
                    self.begun.append(name)
                    await self.ends[name].wait()

        self._nursery.start_soon(answer)
        await wait_all_tasks_blocked()

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await wait_all_tasks_blocked()


FIRST = [f"first {number}" for number in range(AT_ONCE)]


async def test_requests_beyond_the_first_few_of_an_address_wait_in_order(mock_clock: MockClock) -> None:
    concurrency = AddressConcurrency()
    async with trio.open_nursery() as nursery:
        requests = Requests(concurrency, nursery)
        for name in (*FIRST, "second", "third"):
            await requests.ask(name)
        assert requests.begun == FIRST
        await requests.ask("of another address", OTHER)
        await requests.ask("of nobody who is counted", None)
        assert requests.begun == [*FIRST, "of another address", "of nobody who is counted"]
        await requests.end(FIRST[1])
        assert requests.begun[-1] == "second"
        await requests.end("second")
        assert requests.begun[-1] == "third"
        for name in requests.ends:
            await requests.end(name)
    assert len(concurrency) == 0


async def test_a_request_that_waits_itself_passes_its_slot_on(mock_clock: MockClock) -> None:
    concurrency = AddressConcurrency()
    async with trio.open_nursery() as nursery:
        requests = Requests(concurrency, nursery)
        for name in FIRST:
            await requests.ask(name)
        await requests.ask("second")
        await requests.ask("third")
        mock_clock.jump(PASSED_ON_SECONDS)
        await wait_all_tasks_blocked()
        assert requests.begun == [*FIRST, "second", "third"]
        for name in requests.ends:
            await requests.end(name)
    assert len(concurrency) == 0


@pytest.mark.parametrize("gone", ["second", "third"])
async def test_a_request_that_is_abandoned_while_it_waits_delays_no_other(mock_clock: MockClock, gone: str) -> None:
    concurrency = AddressConcurrency()
    async with trio.open_nursery() as nursery:
        requests = Requests(concurrency, nursery)
        for name in (*FIRST, "second", "third"):
            await requests.ask(name)
        requests.scopes[gone].cancel()
        await wait_all_tasks_blocked()
        await requests.end(FIRST[0])
        assert requests.begun == [*FIRST, "third" if gone == "second" else "second"]
        for name in requests.ends:
            await requests.end(name)
    assert len(concurrency) == 0
