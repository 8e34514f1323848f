"""Periodic work of a server beside its rooms: each kind of work has its own task and its own interval.

Runs in the rooms nursery, from the adoption of rooms until the drain has ended. Everything here may be skipped for a
round, since it is repeated. Work on rows that servers share is done by each of them, so it is idempotent.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import structlog
import trio

from server.context import Context
from server.money.refunds_due import give_back_due
from server.observability.faults import Faults
from server.observability.memory import collect_garbage
from server.rooms.room import LiveRoom
from server.rooms.stream_starts import decline_for_starts
from storage.database_errors import StorageUnavailable
from storage.idempotency import forget_old_keys
from storage.ledger.spend_limits import forget_lifted_limits
from storage.market.business_figures import sum_up
from storage.market.purchases import expire_purchases
from storage.rooms.leases import Checkpoint
from storage.rooms.tickets import checkpoint_presence

SLICES = 5  # parts in which a period's checkpoints are stored, so that no block waits long for the write lock
TURN = 0.9  # share of a checkpoint period in which all rooms are stored; the rest is reserve for slow rounds
LEAST_PAUSE = 0.5  # share of the interval that is waited even after a round that took longer than the interval
BANS_SECONDS = 0.5  # a ban made on another server applies within a second (contract.md, Access to rooms)
STARTS_SECONDS = 0.5  # a creator who goes live on another server waits for this round, which costs one small query
REFUNDS_SECONDS = 5.0  # retries refunds that a stopped server left over; a round without any costs one small query
ADOPTION_SECONDS = 1.0  # the longest time from the end of a lease to the claim; an idle round costs two small queries
CLOCK_SECONDS = 600
FULL_LOOK_CLOCKS = 36  # rounds of CLOCK_SECONDS, six hours: collects reference cycles also if a call is always live
log = structlog.get_logger(__name__)


async def run_maintenance(context: Context) -> None:
    """Run all periodic work until cancelled.

    A round that fails because the database is out of reach loses nothing: the next round stores the state of its time.
    Each kind of work has a task of its own, so that a slow query of one does not delay the checkpoints or the bans.
    """
    checkpoint_seconds = context.settings.server.checkpoint_seconds
    rounds: tuple[tuple[float, Callable[[], Awaitable[object]]], ...] = (
        (TURN * checkpoint_seconds / SLICES, _Checkpoints(context).store_next),
        (checkpoint_seconds, lambda: context.lease.fence_lost()),
        (BANS_SECONDS, lambda: context.bans.apply_changes()),
        (STARTS_SECONDS, lambda: decline_for_starts(context.postgres, context.registry)),
        (REFUNDS_SECONDS, lambda: give_back_due(context.postgres, context.actor)),
        (ADOPTION_SECONDS, lambda: context.orphans.adopt()),
        (0, context.tickets.next_round),  # next_round itself waits until there is work
        (CLOCK_SECONDS, _Cleanup(context).run_round),
    )
    async with trio.open_nursery() as nursery:
        for seconds, work in rounds:
            nursery.start_soon(repeat, context.faults, seconds, work)


async def repeat(faults: Faults, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    """Call `work` every `seconds` until cancelled.

    The first call comes after one interval. The rounds are scheduled from the start, so a slow round does not delay the
    next one by its own duration; but at least LEAST_PAUSE of the interval passes between the end of a round and the
    next one, so that a round that is always slow does not occupy the database without a pause.
    A round that raises is counted as a fault and skipped; StorageUnavailable is not a fault, and is skipped silently.
    """
    due_at = trio.current_time()
    while True:
        due_at = max(due_at + seconds, trio.current_time() + LEAST_PAUSE * seconds)
        await trio.sleep_until(due_at)
        with suppress(StorageUnavailable), faults.contained("maintenance", expected=StorageUnavailable):
            await work()


class _Checkpoints:
    """Stores the active time of all running meters and host presence of streams, one slice of the rooms at a time.

    After a crash a room continues from the stored time (contract.md, Restarts and outages). A room belongs to the slice
    that its id determines, so that each room is stored once in each period, however many rooms start and end.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._slice = 0

    async def store_next(self) -> None:
        """Store the next slice of the rooms, first the meters, then the presence of hosts.

        A row whose room has a later epoch than ours is left unchanged: another server owns that room by now.
        Raises StorageUnavailable, or StatementRefused.
        """
        self._slice = (self._slice + 1) % SLICES
        rooms = self._rooms()
        await self._context.leases.checkpoint(
            [
                Checkpoint(room.id, meter.epoch, meter.payer, meter.billed_active(room.clock.now()), meter.set_back)
                for room in rooms
                for meter in room.running_meters()
            ]
        )
        await checkpoint_presence(
            self._context.postgres,
            [
                (room.id, room.stream.epoch, present)
                for room in rooms
                if room.stream is not None
                and (present := room.stream.unreleased_presence(room.clock.now())) is not None
            ],
        )

    def _rooms(self) -> list[LiveRoom]:
        """The rooms of this slice, without those that have yet to handle a stall: their meters count unbilled time."""
        return [
            room
            for room in self._context.registry
            if room.id.int % SLICES == self._slice and not room.inbox.holds_stall
        ]


class _Cleanup:
    """The work that is due every CLOCK_SECONDS: set the clock, delete old rows, and sometimes collect garbage."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._rounds = 0

    async def run_round(self) -> None:
        """Run one round. Memory is tidied if no room is live, or every FULL_LOOK_CLOCKS rounds."""
        self._rounds += 1
        self._context.clock.follow()
        await tidy_database(self._context)
        if len(self._context.registry) == 0 or self._rounds % FULL_LOOK_CLOCKS == 0:
            collect_garbage()


async def tidy_database(context: Context) -> None:
    """Delete old rows, update totals, expire old checkouts and return the tokens of rejected payouts.

    A part that fails is logged and waits for the next round; the other parts still run.
    Every server runs all parts, perhaps at the same time as others, so each part is idempotent.
    """
    postgres = context.postgres
    parts: dict[str, Callable[[], Awaitable[object]]] = {
        "old_keys": partial(forget_old_keys, postgres),
        "lifted_limits": partial(forget_lifted_limits, postgres),
        "old_servers": context.leases.forget_old,
        "sums": partial(sum_up, postgres),
        "payments": context.payments.reconcile,
        "purchases": partial(expire_purchases, postgres),
        "payouts": context.payouts.give_back_rejected,
    }
    for name, part in parts.items():
        try:
            with context.faults.contained("maintenance", expected=StorageUnavailable, part=name):
                await part()
        except StorageUnavailable:
            log.warning("maintenance.postponed", part=name)
