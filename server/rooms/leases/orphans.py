"""Finds live rooms that no server runs, claims them, and adopts them."""

from collections import deque
from collections.abc import Callable, Sequence

import structlog
import trio

from server.rooms.leases.adoption import Adoption
from storage.rooms.leases import CLAIM_CHUNK, Claim, Leases

BUILDERS = 4  # rooms that are built at once, which uses most of the pool's connections, but not all
log = structlog.get_logger(__name__)


class Orphans:
    """Adopts orphaned rooms, one round at a time: a second round would find the first one's claimed rooms again."""

    def __init__(self, leases: Leases, adoption: Adoption, is_draining: Callable[[], bool]) -> None:
        self._leases = leases
        self._adoption = adoption
        self._is_draining = is_draining
        self._turn = trio.Lock()

    async def adopt(self, *, alone: bool = False) -> int:
        """Adopt the live rooms that no server holds, and those of this server that have no task; returns their number.

        `alone` states that no other server uses this database, so that leases need not end first. It holds only at the
        start of a server with a private database. A draining server adopts nothing.
        Raises StorageUnavailable.
        """
        async with self._turn:
            adopted = 0
            while not self._is_draining():
                claims = await self._leases.claim_orphans(alone=alone)
                adopted += await self._build(claims)
                if len(claims) < CLAIM_CHUNK:
                    break
            if not self._is_draining():
                adopted += await self._build(await self._leases.claim_lost(self._adoption.known()))
        if adopted:
            log.info("rooms.adopted", rooms=adopted)
        return adopted

    async def _build(self, claims: Sequence[Claim]) -> int:
        waiting = deque(claims)
        async with trio.open_nursery() as nursery:
            for _ in range(BUILDERS):
                nursery.start_soon(self._build_next, waiting)
        return len(claims) - len(waiting)

    async def _build_next(self, waiting: deque[Claim]) -> None:
        # Other servers can claim the rest as soon as this server has drained and released its lease.
        while waiting and not self._is_draining():
            await self._adoption.adopt(waiting.popleft())
