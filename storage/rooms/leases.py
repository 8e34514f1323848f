"""Which server owns a room, and under which epoch; and how far the clocks of running meters are."""

import time
from collections.abc import Callable, Collection, Sequence
from enum import Enum, auto
from typing import NamedTuple
from uuid import UUID

import trio

from domain.billing.meter import SetBack
from domain.ids import RoomId, UserId
from domain.instant import Duration
from storage.postgres import LoneConnection, Postgres, Row, StorageUnavailable

CHECKPOINT_CHUNK = 200  # meters in one statement: the fence is held for a few milliseconds only
CLAIM_CHUNK = 100  # rooms in one claim: postings wait for the write lock, and other servers get their share
NEW_ROOM_SECONDS = 10.0  # between a room's row and its task lies one answer of the database
ATTEMPT_SECONDS_MIN = 0.25  # however short the lease
TRIES_A_LEASE = 4  # connecting and asking take at most half a lease: an attempt that hangs costs no room

RENEW = """
    INSERT INTO servers (id, lease_expires_at) VALUES ($1, clock_timestamp() + make_interval(secs => $2))
    ON CONFLICT (id) DO UPDATE SET lease_expires_at = excluded.lease_expires_at, released = false
    RETURNING true
"""
# Rooms that have a later owner. `IS DISTINCT FROM` the end: the epoch of an ended room says nothing any more.
FENCED = """
    SELECT coalesce(array_agg(r.id), '{}') AS ids FROM unnest($1::uuid[], $2::int[]) u(id, epoch)
      JOIN rooms r ON r.id = u.id AND r.epoch > u.epoch
"""


class Claim(NamedTuple):
    """A room that is ours from here on, until a later epoch."""

    room_id: RoomId
    kind: str
    epoch: int


class Checkpoint(NamedTuple):
    """How much of a running meter's time is used."""

    room_id: RoomId
    epoch: int
    payer: UserId
    active: Duration
    set_back: SetBack = SetBack()


class Whereabouts(Enum):
    """Of a room: not live; run by another server that lives; or live, and waiting for a server to adopt it."""

    NOWHERE = auto()
    ELSEWHERE = auto()
    TO_BE_ADOPTED = auto()


class Tenure(NamedTuple):
    """A room that this server runs, and the epoch under which it does."""

    room_id: RoomId
    epoch: int


def seconds_since_boot() -> float:
    """A monotonic clock that also counts the time for which the machine was suspended, where the system has one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Leases:
    """This server's row among the servers of one database, and the rooms that it claims."""

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
        self._one_at_a_time = trio.Lock()  # a connection that is asked twice at once fails, and was closed for both
        self._renewed_at: float | None = None  # when the last renewal that succeeded was sent
        self._watched_since: float | None = None  # since when no renewal has failed, and no lease has lapsed
        self.lease_seconds = lease_seconds
        self.attempt_seconds = max(ATTEMPT_SECONDS_MIN, lease_seconds / TRIES_A_LEASE)
        self.server_id = server_id

    # This server's lease

    async def renew(self) -> float:
        """Say that this server lives, for another `lease_seconds`; returns when that was sent, by `now`.

        Uses a connection of its own, so that it waits neither for the pool nor for the write lock. Connecting and
        asking take at most `attempt_seconds` each. Raises StorageUnavailable, or StatementRefused.
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
        """Those of our rooms that have a later epoch, in one query. Raises StorageUnavailable, or StatementRefused."""
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
        """Drop the lease's connection; the next renewal makes another."""
        if self._connection is not None:
            self._connection.terminate()

    async def release(self) -> None:
        """Say that this server is gone, so that others need not wait for the lease. Raises StorageUnavailable."""
        await self._postgres.execute(
            "UPDATE servers SET lease_expires_at = clock_timestamp(), released = true WHERE id = $1", self.server_id
        )

    async def forget_old(self) -> None:
        """Servers that have been gone for a day and own no live room. Raises StorageUnavailable."""
        await self._postgres.execute(
            "DELETE FROM servers s WHERE lease_expires_at < clock_timestamp() - interval '1 day' AND NOT EXISTS"
            " (SELECT FROM rooms r WHERE r.server_id = s.id AND r.ended_at IS NULL AND r.opened)"
        )

    # Claims

    @property
    def watched(self) -> bool:
        """Whether this server has renewed its own lease, without a failure, for as long as a lease lasts.

        Only then may it take rooms of a server whose lease has expired. After an outage of the database that was
        longer than a lease, every lease has expired, and the first server that returns must not take the rooms of
        the others: each of them has the time of a whole lease to return too, and an attempt takes at most half of it.
        """
        if self._watched_since is None or self._renewed_at is None:
            return False
        now = self._now()
        return now - self._watched_since >= self.lease_seconds and now - self._renewed_at < self.lease_seconds

    async def claim(self, room_id: RoomId) -> Claim | None:
        """Take one live room that is ours or nobody's; None if it has ended or another server holds it."""
        rows = await self._postgres.fetch(
            "SELECT room_id, room_kind, room_epoch FROM claim_room($1, $2, $3)", self.server_id, room_id, self.watched
        )
        return Claim(*rows[0]) if rows else None

    async def claim_orphans(self, *, alone: bool = False) -> list[Claim]:
        """Take at most CLAIM_CHUNK live rooms that nobody holds; none are left if there are fewer.

        `alone`: no other server can be alive on this database. Takes the write lock only if there is such a room.
        Raises StorageUnavailable.
        """
        watched = self.watched
        if not alone and not await self._any_orphan(watched):
            return []
        rows = await self._postgres.fetch(
            "SELECT room_id, room_kind, room_epoch FROM claim_orphans($1, $2, $3, $4)",
            *(self.server_id, watched, alone, CLAIM_CHUNK),
        )
        return [Claim(*row) for row in rows]

    async def _any_orphan(self, watched: bool) -> bool:
        rows = await self._postgres.fetch(
            "SELECT EXISTS (SELECT FROM rooms r LEFT JOIN servers s ON s.id = r.server_id"
            " WHERE r.ended_at IS NULL AND r.opened AND r.server_id IS DISTINCT FROM $1"
            " AND (s.id IS NULL OR s.released OR ($2 AND s.lease_expires_at <= clock_timestamp())))",
            self.server_id,
            watched,
        )
        return bool(rows[0][0])

    async def claim_lost(self, known: Collection[RoomId]) -> list[Claim]:
        """Take our own rooms that we do not know any more, once they are older than it takes to know them.

        `known`: those that run here, and those that were claimed and are being adopted.
        """
        where = (
            "server_id = $1 AND ended_at IS NULL AND opened"
            " AND created_at < clock_timestamp() - make_interval(secs => $2)"
        )
        count = await self._postgres.fetch(
            f"SELECT count(*) FROM rooms WHERE {where}", self.server_id, NEW_ROOM_SECONDS
        )
        if count[0][0] <= len(known):
            return []  # as nearly always: so that ten thousand rooms are not listed every few seconds
        rows = await self._postgres.fetch(f"SELECT id FROM rooms WHERE {where}", self.server_id, NEW_ROOM_SECONDS)
        lost = [row["id"] for row in rows if row["id"] not in known]
        claims = [await self.claim(room_id) for room_id in lost]
        return [claim for claim in claims if claim is not None]

    async def whereabouts(self, room_id: UUID) -> Whereabouts:
        """Of a room that does not run here, by its rows. Raises StorageUnavailable."""
        rows = await self._postgres.fetch(
            "SELECT s.id IS NOT NULL AND s.id <> $2 AND NOT s.released AND s.lease_expires_at > clock_timestamp()"
            " FROM rooms r LEFT JOIN servers s ON s.id = r.server_id"
            " WHERE r.id = $1 AND r.ended_at IS NULL AND r.opened",
            room_id,
            self.server_id,
        )
        if not rows:
            return Whereabouts.NOWHERE
        return Whereabouts.ELSEWHERE if rows[0][0] else Whereabouts.TO_BE_ADOPTED

    async def checkpoint(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Store how far running clocks are; where the epoch is not the room's any more, nothing is written."""
        for start in range(0, len(checkpoints), CHECKPOINT_CHUNK):
            chunk = checkpoints[start : start + CHECKPOINT_CHUNK]
            await self._postgres.execute(
                "SELECT checkpoint_meters($1::uuid[], $2::int[], $3::uuid[], $4::bigint[], $5::int[], $6::int[])",
                [checkpoint.room_id for checkpoint in chunk],
                [checkpoint.epoch for checkpoint in chunk],
                [checkpoint.payer for checkpoint in chunk],
                [checkpoint.active for checkpoint in chunk],
                [checkpoint.set_back.times for checkpoint in chunk],
                [checkpoint.set_back.block_no for checkpoint in chunk],
            )
