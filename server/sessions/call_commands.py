"""Passes commands to live calls, and reads calls for their parties.

REST routes and the gateway share it. A call is answered from its live room if this server has it, otherwise from the
database: the room's state is newer than its stored record.
"""

from domain.call.record import CallView
from domain.ids import CallId, UserId
from domain.protocol.commands import CallCommand
from domain.refusals import Code, Refusal
from domain.room import inputs
from server.ids import is_channel
from server.rooms.leases.absent_rooms import AbsentRooms
from server.rooms.registry import Registry
from server.rooms.room import LiveRoom
from storage.postgres import Postgres
from storage.rooms.calls import StoredCall, find_call, find_call_in

NO_SUCH_CALL = Refusal(Code.NOT_FOUND, "No such call")
NO_SUCH_ROOM = Refusal(Code.NOT_FOUND, "No such room")
CALL_ENDED = Refusal(Code.CALL_ENDED, "The call has ended")
FULL = Refusal(Code.OVERLOADED, "Too many commands wait in this room")


class CallCommands:
    """Finds a call, live or in the database, for one of its parties. Other users get NOT_FOUND, as for no call."""

    def __init__(self, postgres: Postgres, registry: Registry, absent_rooms: AbsentRooms) -> None:
        self._postgres = postgres
        self._registry = registry
        self._absent_rooms = absent_rooms

    async def submit(self, user_id: UserId, command: CallCommand, reply: inputs.Reply) -> None:
        """Pass a command to the call's room, which answers; if the call is not live, answer with the reason.

        The reason is NOT_FOUND, CALL_ENDED, ROOM_STARTING while no server has adopted the call, or OVERLOADED if it is
        on another server or its inbox is full. Raises StorageUnavailable, with nothing done and without an answer.
        """
        room = self._registry.find(CallId(command.call_id))
        if room is None:
            reply.deliver(await self._not_live(user_id, CallId(command.call_id)))
        elif user_id not in room.parties:  # other users must neither fill its inbox nor learn that it is full
            reply.deliver(NO_SUCH_CALL)
        elif not room.inbox.offer(inputs.CallAction(user_id, command, reply)):
            reply.deliver(FULL)

    async def _not_live(self, user_id: UserId, call_id: CallId) -> Refusal:
        return await self._why_not_live(await find_call(self._postgres, call_id), user_id, NO_SUCH_CALL)

    async def why_no_room(self, user_id: UserId, channel: str) -> Refusal:
        """The refusal of a join for a channel without a live room here and without a stream.

        NOT_FOUND, CALL_ENDED, ROOM_STARTING, or OVERLOADED for a call on another server. Raises StorageUnavailable.
        """
        stored = await find_call_in(self._postgres, channel) if is_channel(channel) else None
        return await self._why_not_live(stored, user_id, NO_SUCH_ROOM)

    async def _why_not_live(self, stored: StoredCall | None, user_id: UserId, unknown: Refusal) -> Refusal:
        if stored is None or user_id not in stored.facts.parties:
            return unknown
        return await self._absent_rooms.why_absent(stored.facts.id) or CALL_ENDED

    async def view(self, user_id: UserId, call_id: CallId) -> CallView | None:
        """The present state of a call; None for a user who is no party. Raises StorageUnavailable."""
        room = self._registry.find(call_id)
        if room is not None and room.call is not None:
            return _view_live(room, user_id)
        stored = await find_call(self._postgres, call_id)
        if stored is None or user_id not in stored.facts.parties:
            return None
        return stored.view


def _view_live(room: LiveRoom, user_id: UserId) -> CallView | None:
    call = room.call
    if call is None or user_id not in call.facts.parties:
        return None
    return call.view(room.clock.now())
