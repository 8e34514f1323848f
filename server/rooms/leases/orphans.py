"""Finds live rooms that no server runs, claims them, and has them adopted."""

from collections import deque
from collections.abc import Callable, Sequence

import structlog
import trio

from server.rooms.leases.adoption import Adoption
from storage.rooms.leases import CLAIM_CHUNK, Claim, Leases

BUILDERS = 4  # rooms that are read at once: most of the pool's connections, and not all
log = structlog.get_logger(__name__)


class Orphans:
    """One round at a time: a room that was claimed and does not run yet would look lost to a second one."""

    def __init__(self, leases: Leases, adoption: Adoption, is_draining: Callable[[], bool]) -> None:
        self._leases = leases
        self._adoption = adoption
        self._is_draining = is_draining
        self._turn = trio.Lock()

    async def adopt(self, *, alone: bool = False) -> int:
        """Adopt every live room that no server holds, or that is ours and has no task; how many there were.

        `alone`: no other server can be alive on this database, so leases are not waited for. That is so at the start
        of a server on a private database, and not later. A server that drains adopts nothing. Raises
        StorageUnavailable.
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
        # Of a server that drains the rest can be claimed by others as soon as it has released its lease.
        while waiting and not self._is_draining():
            await self._adoption.adopt(waiting.popleft())
