"""Leases and room ownership: which server owns a room under which epoch, and the checkpoints of running meters.

A server renews its own lease, a row of `servers`. Each claim of a room raises the room's epoch, and the database
refuses writes of an earlier epoch: this is epoch fencing.
"""

import time
from collections.abc import Callable, Collection, Sequence
from enum import Enum, auto
from typing import NamedTuple
from uuid import UUID

import msgspec
import trio

from domain.billing.meter import SetBack
from domain.ids import RoomId, UserId
from domain.instant import Duration
from storage.database_errors import StorageUnavailable
from storage.postgres import LoneConnection, Postgres, Row

CHECKPOINT_CHUNK = 200  # meters in one statement: it holds the write lock for a few milliseconds only
CLAIM_CHUNK = 100  # rooms in one claim: postings wait for the write lock, and other servers claim a share
NEW_ROOM_SECONDS = 10.0  # from the insert of a room's row until its task runs: one reply of the database
ATTEMPT_SECONDS_MIN = 0.25  # even for a short lease
TRIES_A_LEASE = 4  # connecting and one statement take at most half a lease, so one attempt that hangs loses no room

# Insert or renew this server's lease.
RENEW = """
    INSERT INTO servers (id, lease_expires_at) VALUES ($1, clock_timestamp() + make_interval(secs => $2))
    ON CONFLICT (id) DO UPDATE SET lease_expires_at = excluded.lease_expires_at, released = false
    RETURNING true
"""
# Find the rooms that have a later epoch than the given one, ended or not.
FENCED = """
    SELECT coalesce(array_agg(r.id), '{}') AS ids FROM unnest($1::uuid[], $2::int[]) u(id, epoch)
      JOIN rooms r ON r.id = u.id AND r.epoch > u.epoch
"""


class Claim(NamedTuple):
    """A room that this server owns from now on, until a later epoch; `kind` is "call" or "stream"."""

    room_id: RoomId
    kind: str
    epoch: int


class Checkpoint(msgspec.Struct, frozen=True, gc=False):
    """The state of a running meter: the active time of its payer, in microseconds, and its set-backs.

    One is made for each room at once. Objects that Python's collector tracks would start a collection, which takes
    longer the more connections there are.
    """

    room_id: RoomId
    epoch: int
    payer: UserId
    active: Duration
    set_back: SetBack = SetBack()


class Absence(Enum):
    """Why a room runs on no server: it is not live, or it has yet to be adopted."""

    NOT_LIVE = auto()
    TO_BE_ADOPTED = auto()


class OnServer(NamedTuple):
    """The other server, with a valid lease, on which a room runs."""

    server_id: UUID


class Tenure(msgspec.Struct, frozen=True, gc=False):
    """A room that this server runs, and the epoch of its claim. Untracked for the same reason as Checkpoint."""

    room_id: RoomId
    epoch: int


def seconds_since_boot() -> float:
    """Return a monotonic time in seconds, which includes the time of a suspended machine if the system counts it."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Leases:
    """This server's lease on one database, and its claims of rooms.

    Renewals use a connection of their own; claims and checkpoints use the pool. `now` is a monotonic clock in seconds.
    """

    def __init__(
        self,
        postgres: Postgres,
        server_id: UUID,
        lease_seconds: float,
        now: Callable[[], float] = seconds_since_boot,
    ) -> None:
        self._postgres = postgres
        self._now = now
        self._connection: LoneConnection | None = None
        self._one_at_a_time = trio.Lock()  # asyncpg fails a second statement in flight on one connection
        self._renewed_at: float | None = None  # when the last successful renewal was sent
        self._watched_since: float | None = None  # start of the period without a failed renewal or a lapsed lease
        self.lease_seconds = lease_seconds
        self.attempt_seconds = max(ATTEMPT_SECONDS_MIN, lease_seconds / TRIES_A_LEASE)
        self.server_id = server_id

    # This server's lease

    async def renew(self) -> float:
        """Renew this server's lease for `lease_seconds`; returns the time, by `now`, at which the renewal was sent.

        Uses a connection of its own, and waits neither for the pool nor for the write lock. Connecting and the
        statement take at most `attempt_seconds` each. Raises StorageUnavailable, StatementRefused.
        """
        sent = self._now()
        try:
            await self._ask(RENEW, self.server_id, self.lease_seconds)
        except BaseException:
            self._watched_since = None
            raise
        if self._watched_since is None or self._renewed_at is None or sent >= self._renewed_at + self.lease_seconds:
            self._watched_since = sent
        self._renewed_at = sent
        return sent

    async def fenced(self, tenures: Sequence[Tenure]) -> list[RoomId]:
        """Return those of the rooms that have a later epoch. Raises StorageUnavailable, StatementRefused.

        One query without locks on the lease's connection.
        """
        if not tenures:
            return []
        row = await self._ask(FENCED, [room.room_id for room in tenures], [room.epoch for room in tenures])
        return list(row["ids"])

    async def _ask(self, sql: str, *args: object) -> Row:
        async with self._one_at_a_time:
            if self._connection is None or self._connection.closed:
                self._connection = await self._postgres.connect(self.attempt_seconds)
            try:
                row = await self._connection.fetchrow(sql, *args, timeout=self.attempt_seconds)
            except StorageUnavailable:
                self.hang_up()
                raise
        assert row is not None, "both statements return one row"
        return row

    def hang_up(self) -> None:
        """Close the lease's connection; the next renewal opens another one."""
        if self._connection is not None:
            self._connection.terminate()

    async def release(self) -> None:
        """End this server's lease, so that others may claim its rooms at once. Raises StorageUnavailable."""
        # Let the lease expire now, and mark the server as stopped.
        await self._postgres.execute(
            "UPDATE servers SET lease_expires_at = clock_timestamp(), released = true WHERE id = $1", self.server_id
        )

    async def forget_old(self) -> None:
        """Delete servers whose lease expired a day ago and that own no live room. Raises StorageUnavailable."""
        # Delete their rows.
        await self._postgres.execute(
            "DELETE FROM servers s WHERE lease_expires_at < clock_timestamp() - interval '1 day' AND NOT EXISTS"
            " (SELECT FROM rooms r WHERE r.server_id = s.id AND r.ended_at IS NULL AND r.opened)"
        )

    # Claims

    @property
    def watched(self) -> bool:
        """Whether this server has renewed its own lease, without a failure, for the duration of a whole lease.

        Only then may it claim rooms of a server whose lease has expired. After an outage of the database that lasts
        longer than a lease, every lease has expired. The first server to reconnect must not claim the rooms of the
        others: each of them has a whole lease to reconnect, and an attempt takes at most half of one.
        """
        if self._watched_since is None or self._renewed_at is None:
            return False
        now = self._now()
        return now - self._watched_since >= self.lease_seconds and now - self._renewed_at < self.lease_seconds

    async def claim(self, room_id: RoomId) -> Claim | None:
        """Claim one live room of this server or of none; None if it has ended or another server owns it.

        Takes the write lock, and raises the room's epoch. Raises StorageUnavailable.
        """
        # Raise the epoch of the room, if it may be claimed.
        rows = await self._postgres.fetch(
            "SELECT room_id, room_kind, room_epoch FROM claim_room($1, $2, $3)", self.server_id, room_id, self.watched
        )
        return Claim(*rows[0]) if rows else None

    async def claim_orphans(self, *, alone: bool = False) -> list[Claim]:
        """Claim at most CLAIM_CHUNK live rooms without an owner; fewer mean that none is left.

        `alone` says that no other server can run on this database. Takes the write lock, but only if there is such a
        room. Raises StorageUnavailable.
        """
        watched = self.watched
        if not alone and not await self._any_orphan(watched):
            return []
        # Raise the epochs of rooms without an owner, or of a server whose lease has expired.
        rows = await self._postgres.fetch(
            "SELECT room_id, room_kind, room_epoch FROM claim_orphans($1, $2, $3, $4)",
            *(self.server_id, watched, alone, CLAIM_CHUNK),
        )
        return [Claim(*row) for row in rows]

    async def _any_orphan(self, watched: bool) -> bool:
        # Check for such a room without a lock.
        rows = await self._postgres.fetch(
            "SELECT EXISTS (SELECT FROM rooms r LEFT JOIN servers s ON s.id = r.server_id"
            " WHERE r.ended_at IS NULL AND r.opened AND r.server_id IS DISTINCT FROM $1"
            " AND (s.id IS NULL OR s.released OR ($2 AND s.lease_expires_at <= clock_timestamp())))",
            self.server_id,
            watched,
        )
        return bool(rows[0][0])

    async def claim_lost(self, known: Collection[RoomId]) -> list[Claim]:
        """Claim this server's own rooms that it does not run, if they are older than NEW_ROOM_SECONDS.

        `known` are the rooms that run here, and those that are claimed and being adopted. Takes the write lock once a
        room. Raises StorageUnavailable.
        """
        where = (
            "server_id = $1 AND ended_at IS NULL AND opened"
            " AND created_at < clock_timestamp() - make_interval(secs => $2)"
        )
        # Count this server's live rooms.
        count = await self._postgres.fetch(
            f"SELECT count(*) FROM rooms WHERE {where}", self.server_id, NEW_ROOM_SECONDS
        )
        if count[0][0] <= len(known):
            return []  # the usual case, in which ten thousand rooms need not be listed every few seconds
        # List this server's live rooms.
        rows = await self._postgres.fetch(f"SELECT id FROM rooms WHERE {where}", self.server_id, NEW_ROOM_SECONDS)
        lost = [row["id"] for row in rows if row["id"] not in known]
        claims = [await self.claim(room_id) for room_id in lost]
        return [claim for claim in claims if claim is not None]

    async def whereabouts(self, room_id: UUID) -> OnServer | Absence:
        """Return where a room runs that does not run here. Raises StorageUnavailable."""
        # Read whether the room is live, and its owner, if that is another server with a valid lease.
        rows = await self._postgres.fetch(
            "SELECT s.id FROM rooms r LEFT JOIN servers s ON s.id = r.server_id AND s.id <> $2 AND NOT s.released"
            " AND s.lease_expires_at > clock_timestamp()"
            " WHERE r.id = $1 AND r.ended_at IS NULL AND r.opened",
            room_id,
            self.server_id,
        )
        if not rows:
            return Absence.NOT_LIVE
        owner = rows[0][0]
        return Absence.TO_BE_ADOPTED if owner is None else OnServer(owner)

    async def checkpoint(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Store the state of running meters, except those of rooms that have a later epoch.

        Takes the write lock once for each CHECKPOINT_CHUNK meters. Raises StorageUnavailable.
        """
        for start in range(0, len(checkpoints), CHECKPOINT_CHUNK):
            chunk = checkpoints[start : start + CHECKPOINT_CHUNK]
            # Store one chunk under its rooms' epochs.
            await self._postgres.execute(
                "SELECT checkpoint_meters($1::uuid[], $2::int[], $3::uuid[], $4::bigint[], $5::int[], $6::int[])",
                [checkpoint.room_id for checkpoint in chunk],
                [checkpoint.epoch for checkpoint in chunk],
                [checkpoint.payer for checkpoint in chunk],
                [checkpoint.active for checkpoint in chunk],
                [checkpoint.set_back.times for checkpoint in chunk],
                [checkpoint.set_back.block_no for checkpoint in chunk],
            )
