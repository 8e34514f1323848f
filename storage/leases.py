"""Which server owns a room, and under which epoch; and how far the clocks of running meters are."""

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from domain.ids import RoomId, UserId
from domain.instant import Duration
from storage.postgres import Postgres

CHECKPOINT_CHUNK = 200  # meters in one statement: the fence is held for a few milliseconds only
NEW_ROOM_SECONDS = 10.0  # between a room's row and its task lies one answer of the database


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


class Leases:
    """This server's place among the servers of one database."""

    def __init__(self, postgres: Postgres, server_id: UUID, lease_seconds: float) -> None:
        self._postgres = postgres
        self._lease_seconds = lease_seconds
        self.server_id = server_id

    async def renew(self) -> None:
        """Say that this server lives, for another `lease_seconds`. Raises StorageUnavailable."""
        await self._postgres.execute(
            "INSERT INTO servers (id, lease_expires_at) VALUES ($1, clock_timestamp() + make_interval(secs => $2))"
            " ON CONFLICT (id) DO UPDATE SET lease_expires_at = excluded.lease_expires_at",
            self.server_id,
            self._lease_seconds,
        )

    async def release(self) -> None:
        """Say that this server is gone, so that others need not wait for the lease. Raises StorageUnavailable."""
        await self._postgres.execute(
            "UPDATE servers SET lease_expires_at = clock_timestamp() WHERE id = $1", self.server_id
        )

    async def forget_old(self) -> None:
        """Servers that have been gone for a day. Raises StorageUnavailable."""
        await self._postgres.execute(
            "DELETE FROM servers WHERE lease_expires_at < clock_timestamp() - interval '1 day'"
        )

    async def claim(self, room_id: RoomId) -> Claim | None:
        """Take one live room that is ours or nobody's; None if it has ended or another server holds it."""
        claims = await self._claim(room_id, alone=False)
        return claims[0] if claims else None

    async def claim_all(self, *, alone: bool) -> list[Claim]:
        """Take every live room that nobody holds. `alone`: no other server can be alive on this database."""
        return await self._claim(None, alone=alone)

    async def claim_lost(self, known: Collection[RoomId]) -> list[Claim]:
        """Take our own rooms that we do not know any more, once they are older than it takes to know them."""
        where = "server_id = $1 AND ended_at IS NULL AND created_at < clock_timestamp() - make_interval(secs => $2)"
        count = await self._postgres.fetch(
            f"SELECT count(*) FROM rooms WHERE {where}", self.server_id, NEW_ROOM_SECONDS
        )
        if count[0][0] <= len(known):
            return []  # as nearly always: so that ten thousand rooms are not listed every few seconds
        rows = await self._postgres.fetch(f"SELECT id FROM rooms WHERE {where}", self.server_id, NEW_ROOM_SECONDS)
        lost = [row["id"] for row in rows if row["id"] not in known]
        return [claim for room_id in lost for claim in await self._claim(room_id, alone=False)]

    async def _claim(self, room_id: RoomId | None, *, alone: bool) -> list[Claim]:
        rows = await self._postgres.fetch(
            "SELECT room_id, room_kind, room_epoch FROM claim_rooms($1, $2, $3)", self.server_id, room_id, alone
        )
        return [Claim(row["room_id"], row["room_kind"], row["room_epoch"]) for row in rows]

    async def checkpoint(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Store how far running clocks are; where the epoch is not the room's any more, nothing is written."""
        for start in range(0, len(checkpoints), CHECKPOINT_CHUNK):
            chunk = checkpoints[start : start + CHECKPOINT_CHUNK]
            await self._postgres.execute(
                "SELECT checkpoint_meters($1::uuid[], $2::int[], $3::uuid[], $4::bigint[])",
                [checkpoint.room_id for checkpoint in chunk],
                [checkpoint.epoch for checkpoint in chunk],
                [checkpoint.payer for checkpoint in chunk],
                [checkpoint.active for checkpoint in chunk],
            )
