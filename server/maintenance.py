"""What a server does every few seconds beside its rooms: each kind of work in a task of its own."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import structlog
import trio

from server.context import Context
from server.money.refunds_due import give_back_due
from server.observability.faults import Faults
from server.observability.memory import tidy_memory
from server.rooms.room import LiveRoom
from server.rooms.stream_starts import decline_for_starts
from storage.ledger.spend_limits import forget_lifted_limits
from storage.market.business_figures import sum_up
from storage.market.purchases import expire_purchases
from storage.postgres import StorageUnavailable
from storage.rooms.call_creation import forget_old_keys
from storage.rooms.leases import Checkpoint
from storage.rooms.tickets import checkpoint_presence

SLICES = 5  # a checkpoint period's rooms are stored in as many parts, so that no block waits long for the fence
TURN = 0.9  # of a checkpoint period, in which all rooms are stored: the rest is for rounds that are slow
LEAST_PAUSE = 0.5  # of a period, after a round that took longer than that
BANS_SECONDS = 0.5  # a ban made on another server is noticed within a second (CONTRACT §7)
STARTS_SECONDS = 0.5  # a creator who goes live on another server waits for it; a round costs one small query
REFUNDS_SECONDS = 5.0  # of blocks that a server stopped before it gave back; a round without any costs one small query
ADOPTION_SECONDS = 1.0  # from the end of a lease to the claim; a round without orphans costs two small queries
CLOCK_SECONDS = 600
FULL_LOOK_CLOCKS = 36  # six hours: what cycles may leak in so long on a server that is never without a call
log = structlog.get_logger(__name__)


async def run_maintenance(context: Context) -> None:
    """Until cancelled. With the database away nothing is lost: the next round stores what is true then."""
    checkpoint_seconds = context.settings.server.checkpoint_seconds
    rounds: tuple[tuple[float, Callable[[], Awaitable[object]]], ...] = (
        (TURN * checkpoint_seconds / SLICES, _Checkpoints(context).store_next),
        (checkpoint_seconds, lambda: context.lease.fence_lost()),
        (BANS_SECONDS, lambda: context.bans.apply_changes()),
        (STARTS_SECONDS, lambda: decline_for_starts(context.postgres, context.registry)),
        (REFUNDS_SECONDS, lambda: give_back_due(context.postgres, context.actor)),
        (ADOPTION_SECONDS, lambda: context.orphans.adopt()),
        (0, context.tickets.next_round),  # which waits itself
        (CLOCK_SECONDS, _Tidying(context).tidy),
    )
    async with trio.open_nursery() as nursery:
        for seconds, work in rounds:
            nursery.start_soon(repeat, context.faults, seconds, work)


async def repeat(faults: Faults, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    """A round every so many seconds, however long each takes; until cancelled.

    A round that raises is skipped, and costs the other kinds of work nothing.
    """
    due_at = trio.current_time()
    while True:
        due_at = max(due_at + seconds, trio.current_time() + LEAST_PAUSE * seconds)
        await trio.sleep_until(due_at)
        with suppress(StorageUnavailable), faults.contained("maintenance", expected=StorageUnavailable):
            await work()


class _Checkpoints:
    """Stores how far the running clocks are, a fifth of the rooms at a time."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._slice = 0

    async def store_next(self) -> None:
        """Raises StorageUnavailable, or StatementRefused."""
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
        """Not those that have yet to take notice of a stall: their clocks show time for which nobody is billed."""
        return [
            room
            for room in self._context.registry
            if room.id.int % SLICES == self._slice and not room.inbox.holds_stall
        ]


class _Tidying:
    """What is due every ten minutes."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._rounds = 0

    async def tidy(self) -> None:
        self._rounds += 1
        self._context.clock.follow()
        await tidy_database(self._context)
        if len(self._context.registry) == 0 or self._rounds % FULL_LOOK_CLOCKS == 0:
            tidy_memory()


async def tidy_database(context: Context) -> None:
    """Forget old rows, keep sums, end old checkouts, give tokens back. What fails is put off, and nothing else is."""
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
