"""Reservations of creators for the start of a stream: as long as one lasts, no new call to its creator can begin.

A reservation is the column `creators.starts_stream_until`, which every server reads and which expires by itself; the
trigger `occupy_parties` in 0009_calls.sql enforces it. `server/rooms/stream_starts.py` declines the ringing call.
"""

from typing import NamedTuple

from domain.ids import CallId, UserId
from storage.postgres import Postgres


class CurrentCall(NamedTuple):
    """The ringing or running call of a user, and whether the user is its creator or its fan."""

    call_id: CallId
    is_creator: bool


async def reserve_stream_start(postgres: Postgres, creator: UserId, seconds: float) -> CurrentCall | None:
    """Refuse new calls to the creator for so many seconds, and return the call that they are in, if there is one.

    Locks the creator's row in `users`, as each new call does, so no call can begin unseen in between. Reserving again
    replaces the deadline. Raises StorageUnavailable.
    """
    # Set the reservation under the lock, and read the user's call.
    row = await postgres.fetchrow("SELECT call_id, is_creator FROM begin_stream_start($1, $2)", creator, seconds)
    return None if row is None or row["call_id"] is None else CurrentCall(row["call_id"], row["is_creator"])


async def release_stream_start(postgres: Postgres, creator: UserId) -> None:
    """End the reservation, so that calls may begin again. Idempotent. Raises StorageUnavailable."""
    # Clear the deadline of the reservation.
    await postgres.execute("UPDATE creators SET starts_stream_until = NULL WHERE user_id = $1", creator)


async def is_in_call(postgres: Postgres, user_id: UserId) -> bool:
    """Return whether the user is a party of a ringing or running call on any server. Raises StorageUnavailable."""
    # Look up the user among the parties of live calls.
    return await postgres.fetchrow("SELECT FROM users_in_calls WHERE user_id = $1", user_id) is not None


async def find_reserved_creators(postgres: Postgres) -> list[UserId]:
    """Return the creators with a reservation that has not expired, on any server. Raises StorageUnavailable."""
    # Read the unexpired reservations from their partial index.
    rows = await postgres.fetch(
        "SELECT user_id FROM creators WHERE starts_stream_until IS NOT NULL AND starts_stream_until > clock_timestamp()"
    )
    return [row["user_id"] for row in rows]
