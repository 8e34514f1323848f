"""Measures rooms and the storage actor end to end: rooms charge blocks and receive their receipts in their inbox."""

import gc
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

import trio
import trio.testing

from domain.billing.posting import Kind, Outcome, Posting, Receipt
from domain.ids import PostingKey, UserId, block_key
from domain.room import inputs
from server.clock import Clock
from server.observability.memory import freeze_objects
from server.rooms.committer import Committer
from server.rooms.inbox.inbox import Inbox
from server.rooms.inbox.timers import RoomTimers
from storage.ledger.actor import MAX_BATCH, StorageActor
from storage.postgres import Postgres
from tests.bench.commits.history import PRICE_TOKENS, Party, read_parties
from tests.bench.turn import Turn, percentile

DUE_AT_ONCE = 2 * MAX_BATCH  # one batch under way, and one that waits
WARM_BATCHES = 4
INBOX = 64


class ActorOnly:
    """A store for rooms that keep no records: postings go to the actor alone."""

    def __init__(self, actor: StorageActor) -> None:
        self.post = actor.post
        self.submit = actor.submit

    async def save(self, record: Any) -> bool:
        raise AssertionError("no record is saved here")

    async def refund_ticket(self, user_id: UserId) -> None:
        raise AssertionError("nobody asked for it")

    async def refund_blocks(self, blocks: Sequence[PostingKey]) -> bool:
        raise AssertionError("nobody asked for it")

    async def release_tickets(self) -> bool:
        raise AssertionError("nobody asked for it")


class Room:
    """A call's task without its rules: it charges a block when due, and lets another room be due once it is paid."""

    def __init__(self, party: Party, last_block: int, clock: Clock, ledger: ActorOnly, room_set: "RoomSet") -> None:
        self.inbox = Inbox(clock, RoomTimers(), INBOX)
        self.committer = Committer(ledger, self.inbox)
        self._party = party
        self._last_block = last_block
        self._room_set = room_set

    async def run(self) -> None:
        while True:
            given = (await self.inbox.next(None)).given
            if type(given) is inputs.Receipts:
                assert given.receipts[0].outcome is Outcome.COMMITTED, given
                self._room_set.paid(self)
            else:
                self._charge()

    def _charge(self) -> None:
        self._last_block += 1
        room_id, fan, creator = self._party
        self.committer.post(
            Posting(
                key=block_key(room_id, fan, self._last_block),
                kind=Kind.BLOCK,
                debit=fan,
                credit=creator,
                tokens=PRICE_TOKENS,
                room_id=room_id,
                epoch=1,
                block_no=self._last_block,
            )
        )


class RoomSet:
    """All rooms; a fixed number is due at once, and each paid room is followed by the one that waited longest."""

    def __init__(self) -> None:
        self.idle: deque[Room] = deque()
        self.done = 0
        self.warm, self.measured = trio.Event(), trio.Event()
        self.still = trio.Event()
        self._due = 0
        self._closing = False
        self.marks: list[tuple[float, float, int]] = []  # per batch: time, CPU time, receipts read so far
        self.batch_ms: list[float] = []

    def begin(self, due: int) -> None:
        for _ in range(due):
            self._next()

    def stop(self) -> None:
        self._closing = True

    def paid(self, room: Room) -> None:
        self.done += 1
        self._due -= 1
        self.idle.append(room)
        if not self._closing:
            self._next()
        elif self._due == 0:
            self.still.set()

    def _next(self) -> None:
        self._due += 1
        self.idle.popleft().inbox.deliver(inputs.Elapsed())

    def batch_committed(self, receipts: Sequence[Receipt], seconds: float) -> None:
        if not self._closing:
            self.marks.append((time.perf_counter(), time.process_time(), self.done))
            self.batch_ms.append(seconds * 1000)
            if len(self.marks) > WARM_BATCHES:
                self.warm.set()
            if len(self.marks) > WARM_BATCHES and self.done > self.marks[WARM_BATCHES][2]:
                self.measured.set()

    def posting_poisoned(self, receipt: Receipt) -> None:
        raise AssertionError(f"refused: {receipt}")


async def rooms_turn(postgres: Postgres, name: str, seconds: float, hot: bool) -> Turn:
    """Run 10,000 rooms, of which always enough are due to fill two batches."""
    room_set = RoomSet()
    thresholds = gc.get_threshold()
    actor = StorageActor(postgres, room_set)
    rooms = await _make_rooms(postgres, actor, room_set, hot)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(actor.run)
        for room in rooms:
            nursery.start_soon(room.run)
            nursery.start_soon(room.committer.run)
        await trio.testing.wait_all_tasks_blocked()
        freeze_objects()  # as the server does after its start
        room_set.begin(DUE_AT_ONCE)
        await room_set.warm.wait()
        await trio.sleep(seconds)
        await room_set.measured.wait()  # at least one posting, on any machine
        room_set.stop()
        await room_set.still.wait()
        actor.close()
        nursery.cancel_scope.cancel()
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    return _turn_of(room_set, name)


async def _make_rooms(postgres: Postgres, actor: StorageActor, room_set: RoomSet, hot: bool) -> list[Room]:
    last_blocks = dict(map(tuple, await postgres.fetch("SELECT room_id, last_block FROM meters")))
    new_room = partial(Room, clock=Clock(), ledger=ActorOnly(actor), room_set=room_set)
    rooms = [new_room(party, last_blocks[party.room_id]) for party in await read_parties(postgres, hot)]
    room_set.idle.extend(rooms)
    return rooms


def _turn_of(room_set: RoomSet, name: str) -> Turn:
    """Return the turn from one batch to another, so that no work from before the start is counted."""
    (began, cpu_began, done_before), (ended, cpu_ended, done_after) = room_set.marks[WARM_BATCHES], room_set.marks[-1]
    postings = done_after - done_before
    return Turn(
        contestant=name,
        postings=postings,
        seconds=ended - began,
        p50_ms=percentile(room_set.batch_ms, 0.5),
        p99_ms=percentile(room_set.batch_ms[WARM_BATCHES:], 0.99),
        client_us=(cpu_ended - cpu_began) / postings * 1e6,
    )
