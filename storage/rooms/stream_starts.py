"""While a creator starts a stream nobody can ring them; see 0009_calls.sql."""

from typing import NamedTuple

from domain.ids import CallId, UserId
from storage.postgres import Postgres


class Occupied(NamedTuple):
    """The call that a user is in, or that rings, and whether they are its creator."""

    call_id: CallId
    is_creator: bool


async def begin_start(postgres: Postgres, creator: UserId, seconds: float) -> Occupied | None:
    """No new call begins with this creator for so many seconds; the one that there is. Raises StorageUnavailable."""
    row = await postgres.fetchrow("SELECT call_id, is_creator FROM begin_stream_start($1, $2)", creator, seconds)
    return None if row is None or row["call_id"] is None else Occupied(row["call_id"], row["is_creator"])


async def end_start(postgres: Postgres, creator: UserId) -> None:
    """Calls may begin again. Idempotent. Raises StorageUnavailable."""
    await postgres.execute("UPDATE creators SET starts_stream_until = NULL WHERE user_id = $1", creator)


async def is_in_call(postgres: Postgres, user_id: UserId) -> bool:
    """Raises StorageUnavailable."""
    return await postgres.fetchrow("SELECT FROM users_in_calls WHERE user_id = $1", user_id) is not None


async def find_starting(postgres: Postgres) -> list[UserId]:
    """Creators who start a stream now, on whichever server. Raises StorageUnavailable."""
    rows = await postgres.fetch(
        "SELECT user_id FROM creators WHERE starts_stream_until IS NOT NULL AND starts_stream_until > clock_timestamp()"
    )
    return [row["user_id"] for row in rows]
