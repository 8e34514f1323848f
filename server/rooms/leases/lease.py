"""Renews this server's lease, and tells at any time whether it can be trusted.

    renewal sent          + lease - margin     + lease
        |------- trusted -------|-- no events --|--- another server may claim ---> time
                                    are sent

A server that was stopped (SIGSTOP, a suspended machine) for longer than its lease finds on its return that the lease
cannot be trusted. Its rooms then wait: nothing is handled and nothing is published. The next renewal asks in one query
which rooms have a later epoch; those are fenced, and the others go on.

If the database is out of reach, no server can claim a room, so rooms go on for `storage_grace_seconds`
(contract.md, Restarts and outages). Each attempt that fails while the lease is still trusted extends the trust by one
lease: when the database is back, a claim needs a server that has renewed its own lease for that long
(storage/rooms/leases.py). A server that is cut off alone cannot know that others still reach the database; its rooms
continue until it is back and compares its epochs, but no posting of theirs can commit.
"""

from collections.abc import Callable

import structlog
import trio

from server.rooms.registry import Registry
from storage.database_errors import StatementRefused, StorageUnavailable
from storage.rooms.leases import Leases, Tenure, seconds_since_boot

PAUSE_SECONDS_MAX = 1.0  # between two renewals; a shorter lease is renewed more often
PAUSES_A_LEASE = 5
MARGIN_SECONDS_MAX = 0.5  # between the end of the trust and of the lease: for events that are being sent
MARGINS_A_LEASE = 6

log = structlog.get_logger(__name__)


class Lease:
    """Renews the lease, and fences the rooms that another server claimed while the lease may have lapsed."""

    def __init__(self, leases: Leases, registry: Registry, now: Callable[[], float] = seconds_since_boot) -> None:
        self._leases = leases
        self._registry = registry
        self._now = now
        self._seconds = leases.lease_seconds - min(MARGIN_SECONDS_MAX, leases.lease_seconds / MARGINS_A_LEASE)
        self._valid_until = float("-inf")  # by the last renewal that succeeded
        self._trusted_until = float("-inf")  # later than that while the database is out of reach
        self._renewed = trio.Event()
        self._is_late = False
        self._scope = trio.CancelScope()
        self._running = trio.Lock()

    @property
    def trusted(self) -> bool:
        """Whether no other server can own a room of ours, as far as this server can know."""
        return self._now() < self._trusted_until

    @property
    def is_late(self) -> bool:
        """Whether the last renewal failed, since the database was out of reach."""
        return self._is_late

    async def wait_trusted(self) -> None:
        """Wait for a renewal after which every room that was lost is fenced."""
        while not self.trusted:
            await self._renewed.wait()

    async def run(self) -> None:
        """Renew until cancelled or released; retries while the database is out of reach."""
        pause = min(PAUSE_SECONDS_MAX, self._leases.lease_seconds / PAUSES_A_LEASE)
        async with self._running:
            with self._scope:
                while True:
                    try:
                        await self.renew()
                    except StorageUnavailable as unavailable:
                        self._note_late(unavailable)
                        self._extend_trust()
                    except (
                        StatementRefused
                    ) as refused:  # the database answers, so others may claim: trust is not extended
                        log.error("lease.refused", sqlstate=refused.sqlstate)
                    await trio.sleep(pause)

    async def release(self) -> None:
        """Stop renewing, and then give the lease back; in this order, as a renewal would undo the release.

        Raises StorageUnavailable, or StatementRefused.
        """
        self._scope.cancel()
        async with self._running:
            self._leases.hang_up()
            await self._leases.release()

    async def renew(self) -> None:
        """Renew once; if the lease may have lapsed before, fence the rooms that were lost meanwhile.

        Raises StorageUnavailable, or StatementRefused.
        """
        sent = await self._leases.renew()
        if self._now() >= self._valid_until:
            await self._fence_lost_in_time()
        if self._is_late:
            self._is_late = False
            log.info("lease.renewed", after_seconds=round(sent - self._valid_until + self._seconds, 3))
        self._valid_until = self._trusted_until = sent + self._seconds
        self._renewed.set()
        self._renewed = trio.Event()

    async def fence_lost(self) -> None:
        """Fence every room of ours that has a later epoch. Raises StorageUnavailable, or StatementRefused."""
        tenures = [Tenure(room.id, room.ownership.epoch) for room in self._registry]
        lost = set(await self._leases.fenced(tenures))
        for tenure in tenures:
            room = self._registry.find(tenure.room_id) if tenure.room_id in lost else None
            # A room that restarts after a crash has a later epoch of its own, or finds out when it claims one.
            if room is not None and room.ownership.epoch == tenure.epoch and not room.is_restarting:
                log.warning("room.fenced", room=str(room.id), epoch=tenure.epoch)
                room.disown()

    async def _fence_lost_in_time(self) -> None:
        """Fence with a deadline, so that a query that hangs does not use up the lease that was just renewed."""
        with trio.move_on_after(self._leases.attempt_seconds):
            await self.fence_lost()
            return
        raise StorageUnavailable("the epochs were not compared in time")

    def _note_late(self, unavailable: StorageUnavailable) -> None:
        """Log one line for each period without a renewal, however many attempts fail in it."""
        if not self._is_late:
            self._is_late = True
            log.warning("lease.not_renewed", reason=str(unavailable))

    def _extend_trust(self) -> None:
        if self.trusted:
            self._trusted_until = self._now() + self._seconds
