"""Measures the same calls as `clocks.py` without rooms: one task with a heap of their deadlines applies the rules.

`python -m tests.bench.fanout.bare_clocks CALLS SECONDS`: prints the same figures.
"""

import sys
from heapq import heapify, heapreplace

import trio

from domain.call.call import Call
from domain.room import effects, inputs
from server.clock import Clock
from server.observability.memory import freeze_objects
from tests.bench.fanout.clocks import PRICE, measure, paid, running_call

SETTLING_SECONDS = 2.0  # in which the blocks are charged that fell due while the calls were made


async def main(calls: int, seconds: float) -> None:
    """Print the figures."""
    freeze_objects()
    clock, late_ms = Clock(), list[float]()
    began = clock.now()
    running = [running_call(began - PRICE.block * i // calls) for i in range(calls)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_charge, running, clock, late_ms)
        await trio.sleep(SETTLING_SECONDS)
        print(f"CLOCKS {await measure(late_ms, seconds)}", flush=True)
        nursery.cancel_scope.cancel()


async def _charge(running: list[Call], clock: Clock, late_ms: list[float]) -> None:
    """Charge each block as it falls due, and note how late that was."""
    heap = [(_deadline(call), number) for number, call in enumerate(running)]
    heapify(heap)
    while True:
        now = clock.now()
        while heap[0][0] <= now:
            due, number = heap[0]
            call = running[number]
            posted = [each.posting for each in call.handle(inputs.Elapsed(), now) if isinstance(each, effects.Post)]
            if posted:
                late_ms.append((now - due) / 1000)
                call.handle(inputs.Receipts(tuple(map(paid, posted))), now)
            heapreplace(heap, (_deadline(call), number))
        await trio.sleep((heap[0][0] - now) / 1_000_000)


def _deadline(call: Call) -> int:
    deadline = call.next_deadline()
    assert deadline is not None, "a running call has a next block"
    return deadline


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), float(sys.argv[2]))
