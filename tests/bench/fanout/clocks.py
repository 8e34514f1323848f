"""Measures rooms whose clocks run: real calls in real room tasks, due evenly over a block, booked without delay.

`python -m tests.bench.fanout.clocks ROOMS SECONDS`: prints the part of a core that they take, in percent, how late a
block is at the 99th percentile, in milliseconds, and how many blocks fell due.
"""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, cast
from uuid import uuid4

import trio
import trio.testing

from domain.billing.block import BlockPrice
from domain.billing.meter import Funds, Meter
from domain.billing.posting import Outcome, Posting, Receipt
from domain.call.call import Call
from domain.call.record import CallFacts, CallRecord, CallRules
from domain.ids import CallId, MemberId, RoomId, UserId
from domain.instant import Duration, Instant
from domain.protocol.commands import CallAccept
from domain.protocol.events import Person
from domain.room import effects, inputs
from domain.stream.record import StreamRules
from server.clock import Clock
from server.config.settings import RoomSettings, WebsocketSettings
from server.money.ticket_settlement import Tickets
from server.observability.faults import Faults
from server.observability.memory import freeze_objects
from server.observability.metrics import Metrics
from server.rooms.factory import RoomFactory
from server.rooms.registry import Registry
from server.rooms.room import RoomRecovery
from server.rooms.supervisor import Supervisor
from server.sessions.directory import Sessions
from storage.ledger.actor import StorageActor
from storage.ledger.commands import Deliver
from storage.postgres import Postgres
from tests.bench.trusted import Trusted
from tests.bench.turn import percentile

PRICE = BlockPrice(rate_tokens_per_min=120, block_seconds=30)
BALANCE = 1_000_000


class Actor:
    """A storage actor that books every posting; the room receives the receipt in the next turn of the event loop."""

    def __init__(self) -> None:
        self._owed: list[Callable[[], None]] = []
        self._idle = trio.lowlevel.ParkingLot()

    def submit(self, postings: Sequence[Posting], deliver: Deliver) -> bool:
        self._owed.append(lambda: deliver([paid(posting) for posting in postings]))
        self._idle.unpark()
        return True

    async def run(self) -> None:
        while True:
            await self._idle.park()
            owed, self._owed = self._owed, []
            for deliver in owed:
                deliver()


class Lateness:
    """Collects how late each block of the rooms was posted."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []

    def block_posted(self, *, late: Duration) -> None:
        self.late_ms.append(late / 1000)

    def events_delivered(self, deliveries: int) -> None: ...


class Nobody:
    """A caller that discards the answer."""

    def deliver(self, result: Any) -> None: ...


def paid(posting: Posting) -> Receipt:
    """Return the receipt of a block that is booked."""
    assert posting.block_no is not None
    n = posting.block_no
    return Receipt(posting, Outcome.COMMITTED, BALANCE - posting.tokens * n, posting.tokens * n, n, n)


def running_call(accepted_at: Instant) -> Call:
    """Return a call that both parties have joined and whose block 1 is paid."""
    fan, creator, call_id = UserId(uuid4()), UserId(uuid4()), CallId(uuid4())
    facts = CallFacts(
        call_id, str(call_id), Person(fan, "fan"), Person(creator, "creator"), PRICE, None, accepted_at, accepted_at + 1
    )
    meter = Meter(room_id=RoomId(call_id), payer=fan, payee=creator, price=PRICE, epoch=1, funds=Funds(BALANCE, 0))
    call, nobody = Call(facts, CallRules(), meter, CallRecord()), Nobody()
    call.handle(inputs.CallAction(creator, CallAccept(call_id=call_id), nobody), accepted_at)
    decided: list[effects.Effect] = []
    for user_id in (fan, creator):
        decided += call.handle(inputs.Joined(MemberId(uuid4()), user_id, nobody), accepted_at)
    first = tuple(paid(effect.posting) for effect in decided if isinstance(effect, effects.Post))
    call.handle(inputs.Receipts(first), accepted_at)
    return call


async def _save(record: Any) -> bool:
    return True


async def main(rooms: int, seconds: float) -> None:
    """Print the figures. Blocks that fell due while the rooms were made are charged before the measurement."""
    actor, lateness = Actor(), Lateness()
    freeze_objects()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(actor.run)
        factory = _factory(actor, lateness, nursery)
        nursery.start_soon(factory.timers.run)
        began = Clock().now()
        for i in range(rooms):
            call = running_call(began - PRICE.block * i // rooms)
            room = factory.room(call.facts, cast(RoomRecovery, None))
            nursery.start_soon(factory.task(room, call, 1, _save).run)
        await trio.testing.wait_all_tasks_blocked()
        print(f"CLOCKS {await measure(lateness.late_ms, seconds)}", flush=True)
        nursery.cancel_scope.cancel()


def _factory(actor: Actor, lateness: Lateness, nursery: trio.Nursery) -> RoomFactory:
    metrics, sessions = cast(Metrics, lateness), Sessions(WebsocketSettings())
    faults = Faults(Metrics())
    return RoomFactory(
        cast(Postgres, None),
        cast(StorageActor, actor),
        Trusted(),
        Registry(nursery, cast(Supervisor, None), metrics, faults),
        sessions,
        metrics,
        Clock(),
        RoomSettings(),
        faults,
        Tickets(cast(Postgres, None), cast(StorageActor, actor), StreamRules()),
    )


async def measure(late_ms: list[float], seconds: float) -> str:
    """Return the figures of the next `seconds`; `late_ms` grows meanwhile by the delay of each block."""
    late_ms.clear()
    began, cpu_began = time.perf_counter(), time.process_time()
    await trio.sleep(seconds)
    percent = (time.process_time() - cpu_began) / (time.perf_counter() - began) * 100
    return f"{percent:.3f} {percentile(late_ms, 0.99):.3f} {len(late_ms)}"


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), float(sys.argv[2]))
