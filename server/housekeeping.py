"""What a server does every few seconds: keeps its lease, notes how far its clocks are, takes up orphaned rooms."""

from collections.abc import Awaitable, Callable
from functools import partial

import structlog
import trio

from server.house import House
from server.memory import tidy_memory
from server.payouts import give_back_rejected
from storage.leases import Checkpoint
from storage.limits import forget_lifted_limits
from storage.new_call import forget_old_keys
from storage.overview import sum_up
from storage.postgres import StorageUnavailable
from storage.purchases import expire_purchases

SLICES = 5  # a checkpoint period's rooms are stored in as many parts, so that no block waits long for the fence
CLOCK_SECONDS = 600
FULL_LOOK_CLOCKS = 36  # six hours: what cycles may leak in so long on a server that is never without a call
log = structlog.get_logger(__name__)


async def keep_house(house: House, *, alone: bool) -> None:
    """Until cancelled. With the database away nothing is lost: the next round stores what is true then."""
    pause = house.settings.server.checkpoint_seconds / SLICES
    rounds_a_clock = max(1, round(CLOCK_SECONDS / pause))
    round_no = 0
    while True:
        await trio.sleep(pause)
        round_no += 1
        try:
            await _look_after_rooms(house, round_no, alone=alone)
        except StorageUnavailable:
            continue
        if round_no % rounds_a_clock == 0:
            house.clock.follow()
            for part in (_forget_old, _see_to_market):
                with house.faults.contained("maintenance"):
                    await part(house)
            if len(house.registry) == 0 or round_no % (FULL_LOOK_CLOCKS * rounds_a_clock) == 0:
                tidy_memory()


async def _look_after_rooms(house: House, round_no: int, *, alone: bool) -> None:
    """A part that raises costs the others nothing. Raises StorageUnavailable."""
    parts: list[Callable[[], Awaitable[object]]] = [
        lambda: house.leases.checkpoint(_checkpoints(house, round_no % SLICES)),
        house.bans.keep_out,
    ]
    if round_no % SLICES == 0:
        parts += [house.leases.renew, partial(adopt_orphans, house, alone=alone)]
    for part in parts:
        with house.faults.contained("maintenance", expected=StorageUnavailable):
            await part()


async def adopt_orphans(house: House, *, alone: bool) -> int:
    """Take up every live room that no server holds, or that is ours and has no task; how many there were.

    Raises StorageUnavailable.
    """
    claims = await house.leases.claim_all(alone=alone) + await house.leases.claim_lost(house.adoption.known())
    for claim in claims:
        await house.adoption.adopt(claim)
    if claims:
        log.info("rooms.taken_up", rooms=len(claims))
    return len(claims)


async def _forget_old(house: House) -> None:
    try:
        await forget_old_keys(house.postgres)
        await forget_lifted_limits(house.postgres)
        await house.leases.forget_old()
    except StorageUnavailable:
        log.warning("old_rows.not_forgotten")


async def _see_to_market(house: House) -> None:
    """What nobody has asked for in a while: sums to keep, checkouts that are over, tokens to give back."""
    try:
        await sum_up(house.postgres)
        await house.payments.look_after()
        await expire_purchases(house.postgres)
        await give_back_rejected(house)
    except StorageUnavailable:
        log.warning("market.not_seen_to")


def _checkpoints(house: House, part: int) -> list[Checkpoint]:
    """A fifth of the rooms' running meters, a different one each time."""
    rooms = (room for room in house.registry if room.id.int % SLICES == part)
    return [
        Checkpoint(room.id, meter.epoch, meter.payer, meter.billed_active(room.clock.now()))
        for room in rooms
        for meter in room.running_meters()
    ]
