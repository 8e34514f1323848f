"""Keeps this server's lease, and knows from moment to moment whether it can be trusted.

    renewal sent          + lease - margin     + lease
        |------- trusted -------|--- nothing ---|--- another server may claim ---> time
                                    is told

A server that was stopped (SIGSTOP, a suspended machine) for longer than its lease finds on its return that the lease
cannot be trusted. Its rooms then wait: nothing is handled and nothing is published. The next renewal asks in one query
which rooms have a later epoch; those are fenced, and the others go on.

A database that is out of reach is another matter: nobody can claim anything then, so rooms go on (CONTRACT §5 gives
them `storage_grace_seconds`). Each attempt that fails while the lease is still trusted extends the trust by one lease:
when the database is back, a claim needs a server that has renewed its own lease for that long
(storage/rooms/leases.py). A server that is cut off alone cannot know that others still reach the database; its rooms
talk on until it returns and compares its epochs, but no posting of theirs can commit.
"""

from collections.abc import Callable

import structlog
import trio

from server.rooms.registry import Registry
from storage.postgres import StatementRefused, StorageUnavailable
from storage.rooms.leases import Leases, Tenure, seconds_since_boot

PAUSE_SECONDS_MAX = 1.0  # between two renewals; a shorter lease is renewed more often
PAUSES_A_LEASE = 5
MARGIN_SECONDS_MAX = 0.5  # between the end of the trust and of the lease: for what is on its way to members already
MARGINS_A_LEASE = 6

log = structlog.get_logger(__name__)


class Lease:
    """This server's lease, and the epochs of its rooms that are compared when it may have lapsed."""

    def __init__(self, leases: Leases, registry: Registry, now: Callable[[], float] = seconds_since_boot) -> None:
        self._leases = leases
        self._registry = registry
        self._now = now
        self._seconds = leases.lease_seconds - min(MARGIN_SECONDS_MAX, leases.lease_seconds / MARGINS_A_LEASE)
        self._valid_until = float("-inf")  # by the last renewal that succeeded
        self._trusted_until = float("-inf")  # and beyond it while the database is out of reach
        self._renewed = trio.Event()
        self._is_late = False
        self._scope = trio.CancelScope()
        self._running = trio.Lock()

    @property
    def trusted(self) -> bool:
        """Whether no other server can own a room of ours, as far as this server can know."""
        return self._now() < self._trusted_until

    async def wait_trusted(self) -> None:
        """Wait for a renewal after which every room that was lost is fenced."""
        while not self.trusted:
            await self._renewed.wait()

    async def run(self) -> None:
        """Renew until cancelled or released; a database that is out of reach is asked again and again."""
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
        """Stop renewing, and then say that this server is gone: in this order, or the release would be undone.

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
            # A room that starts again after a crash has taken a later epoch itself, or is about to find out.
            if room is not None and room.ownership.epoch == tenure.epoch and not room.is_restarting:
                log.warning("room.fenced", room=str(room.id), epoch=tenure.epoch)
                room.disown()

    async def _fence_lost_in_time(self) -> None:
        """A query that hangs must not cost the lease that was just renewed."""
        with trio.move_on_after(self._leases.attempt_seconds):
            await self.fence_lost()
            return
        raise StorageUnavailable("the epochs were not compared in time")

    def _note_late(self, unavailable: StorageUnavailable) -> None:
        """One line for each time that it could not be renewed, however often that was tried."""
        if not self._is_late:
            self._is_late = True
            log.warning("lease.not_renewed", reason=str(unavailable))

    def _extend_trust(self) -> None:
        if self.trusted:
            self._trusted_until = self._now() + self._seconds
