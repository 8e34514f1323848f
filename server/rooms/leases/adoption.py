"""Adopts live rooms whose server is gone: builds each from its rows, and ends a room that cannot be built."""

from collections.abc import Collection
from functools import partial
from typing import Any

import trio

from domain.ids import RoomId
from server.observability.faults import Faults
from server.rooms.lifecycle import RoomLifecycle
from server.rooms.registry import Registry
from server.rooms.supervisor import RETRY_SECONDS
from storage.rooms.leases import Claim


class Adoption:
    """Builds claimed rooms. A room that raises is retried up to `retries` times, and then ended with `server_fault`.

    Such a room delays neither the start of the server nor the adoption of other rooms.
    """

    def __init__(
        self,
        registry: Registry,
        call_rooms: RoomLifecycle[Any, Any],
        stream_rooms: RoomLifecycle[Any, Any],
        faults: Faults,
        retries: int,
    ) -> None:
        self._registry = registry
        self._rooms = {"call": call_rooms, "stream": stream_rooms}
        self._faults = faults
        self._retries = retries
        self._failing: set[RoomId] = set()  # claimed and not built yet, or could not even be ended

    def known(self) -> Collection[RoomId]:
        """The rooms of this server that need no adoption: they run, or are being retried."""
        running = self._registry.ids()
        return {*running, *self._failing} if self._failing else running

    async def adopt(self, claim: Claim) -> None:
        """Build the claimed room. If that raises, return all the same; the retries run in a background task."""
        if not await self._try(claim):
            self._failing.add(claim.room_id)
            self._registry.spawn("adoption", partial(self._retry, claim))

    async def _try(self, claim: Claim) -> bool:
        with self._faults.contained("adoption", room=str(claim.room_id)):
            await self._rooms[claim.kind].adopt(claim.room_id, claim.epoch)
            return True
        return False

    async def _retry(self, claim: Claim) -> None:
        """Build the room again every RETRY_SECONDS; after `retries` failures end it without reading its rows."""
        for _ in range(self._retries):
            await trio.sleep(RETRY_SECONDS)
            if await self._try(claim):
                self._failing.discard(claim.room_id)
                return
        with self._faults.contained("room_end", room=str(claim.room_id)):
            await self._rooms[claim.kind].end_unread(claim.room_id)
            self._failing.discard(claim.room_id)
