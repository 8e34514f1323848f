"""Refusals for a room that is live in the database and does not run on this server."""

from uuid import UUID

from domain.refusals import Code, Refusal, room_starting
from storage.rooms.leases import Absence, Leases, OnServer

ELSEWHERE_SECONDS = 5  # about the time until the rooms of a draining or dead server are adopted


class RoomElsewhere(Refusal, frozen=True, kw_only=True):
    """The refusal for a room of another server, which could carry the command out."""

    server_id: UUID


class AbsentRooms:
    """Finds the refusal of a command for a room that the registry does not have."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases

    async def why_absent(self, room_id: UUID) -> Refusal | None:
        """ROOM_STARTING, or OVERLOADED for one on another server; None if the room is not live.

        Raises StorageUnavailable.
        """
        match await self._leases.whereabouts(room_id):
            case Absence.TO_BE_ADOPTED:
                return room_starting()
            case OnServer(server_id):
                return RoomElsewhere(
                    Code.OVERLOADED,
                    "The room is on another server; try again there",
                    {"retryAfterSeconds": ELSEWHERE_SECONDS},
                    server_id=server_id,
                )
        return None
