"""Lets a creator go live while a call rings for them: declines the call, and keeps other calls from ringing."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from domain.ids import UserId
from domain.protocol.commands import CallDecline
from domain.refusals import Code, Refusal
from domain.room import inputs
from server.broadcast.replies import WaitingReply
from server.rooms.registry import Registry
from server.rooms.room import LiveRoom
from storage.database_errors import StorageUnavailable
from storage.postgres import Postgres
from storage.rooms.stream_start_reservations import (
    find_reserved_creators,
    is_in_call,
    release_stream_start,
    reserve_stream_start,
)

HOLD_SECONDS = 20.0  # the longest time for which a starting creator cannot be called, if the server stops meanwhile
DECLINE_SECONDS = 5.0  # for the call to end; half a second of it is for a call on another server
LOOK_SECONDS = 0.1
IN_A_CALL = Refusal(Code.ALREADY_IN_CALL, "You are in a call")


async def start_over_ringing(
    postgres: Postgres, registry: Registry, creator: UserId, start: Callable[[], Awaitable[Refusal | None]]
) -> Refusal | None:
    """Decline the call that rings for this creator, if there is one, and then call `start`; returns its refusal.

    Refused with ALREADY_IN_CALL if the creator rings somebody, or is in an active call.
    Raises StorageUnavailable, with nothing started.
    """
    occupied = await reserve_stream_start(postgres, creator, HOLD_SECONDS)
    try:
        if occupied is not None:
            if not occupied.is_creator:
                return IN_A_CALL
            with trio.move_on_after(DECLINE_SECONDS):
                if not await _declined(postgres, registry, creator):
                    return IN_A_CALL
        return await start()
    finally:
        with suppress(StorageUnavailable):  # the hold expires after HOLD_SECONDS
            await release_stream_start(postgres, creator)


async def decline_for_starts(postgres: Postgres, registry: Registry) -> None:
    """Decline calls on this server whose creators start a stream on another one. Raises StorageUnavailable."""
    for creator in await find_reserved_creators(postgres):
        room = registry.call_of(creator)
        if room is not None and room.is_ringing and room.parties[1] == creator:
            _decline(room, creator)


async def _declined(postgres: Postgres, registry: Registry, creator: UserId) -> bool:
    """Decline the creator's call and wait until it is over; False if it was answered already.

    Its room may not have started yet, or may be on another server, which then declines it.
    """
    while await is_in_call(postgres, creator):
        room = registry.call_of(creator)
        if room is None:
            await trio.sleep(LOOK_SECONDS)
            continue
        answer = await _decline(room, creator).wait(DECLINE_SECONDS)
        if isinstance(answer, Refusal) and answer.code is Code.CALL_NOT_ACTIVE:
            return False
        with trio.move_on_after(LOOK_SECONDS):
            await room.settled.wait()
    return True


def _decline(room: LiveRoom, creator: UserId) -> WaitingReply:
    reply = WaitingReply()
    if not room.inbox.offer(inputs.CallAction(creator, CallDecline(call_id=room.id), reply)):
        reply.deliver(Refusal(Code.OVERLOADED, "Too many commands wait in this room"))
    return reply
