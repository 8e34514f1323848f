"""A creator goes live while their phone rings: the call is declined, and no other one comes in between."""

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
from storage.postgres import Postgres, StorageUnavailable
from storage.rooms.stream_start_reservations import (
    find_reserved_creators,
    is_in_call,
    release_stream_start,
    reserve_stream_start,
)

HOLD_SECONDS = 20.0  # for which nobody can ring who starts a stream, if the server does not say earlier that it is done
DECLINE_SECONDS = 5.0  # for the call to end; one of another server's takes half a second longer than one of ours
LOOK_SECONDS = 0.1
IN_A_CALL = Refusal(Code.ALREADY_IN_CALL, "You are in a call")


async def start_over_ringing(
    postgres: Postgres, registry: Registry, creator: UserId, start: Callable[[], Awaitable[Refusal | None]]
) -> Refusal | None:
    """Decline the call that rings for this creator, if there is one, and `start`; ALREADY_IN_CALL from any other call.

    Raises StorageUnavailable.
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
        with suppress(StorageUnavailable):  # it ends by itself
            await release_stream_start(postgres, creator)


async def decline_for_starts(postgres: Postgres, registry: Registry) -> None:
    """Decline what rings here for creators who start a stream on another server. Raises StorageUnavailable."""
    for creator in await find_reserved_creators(postgres):
        room = registry.call_of(creator)
        if room is not None and room.is_ringing and room.parties[1] == creator:
            _decline(room, creator)


async def _declined(postgres: Postgres, registry: Registry, creator: UserId) -> bool:
    """Whether the creator's call is over, since it only rang. Its room may be about to start, or on another server."""
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
