"""Quotas: bounds on the number of rows that one user creates, checked in the transaction that inserts the next one."""

from typing import Literal

from domain.ids import UserId
from domain.refusals import Code, Refusal
from storage.postgres import Connection

# The column of each table that names the user; each table has an index on that column and `created_at`.
_MADE_BY = {"streams": "creator_id", "reports": "reporter_id"}


async def lock_user(connection: Connection, user_id: UserId) -> None:
    """Lock the user's row in `users` until the transaction ends, which serialises inserts that count against quotas.

    A transaction that also needs the write lock must take it first. Raises StorageUnavailable.
    """
    # Lock the user's row.
    await connection.execute("SELECT 1 FROM users WHERE supabase_id = $1 FOR NO KEY UPDATE", user_id)


async def too_many_in_a_day(
    connection: Connection, table: Literal["streams", "reports"], user_id: UserId, most: int
) -> Refusal | None:
    """Return RATE_LIMITED if the user has created `most` rows within 24 hours, with the seconds until the next one.

    The caller holds the lock of `lock_user`. Raises StorageUnavailable.
    """
    # Count the user's latest rows of the last 24 hours, up to `most`, and the seconds until the oldest of them expires.
    row = await connection.fetchrow(
        "SELECT count(*), ceil(extract(epoch FROM min(created_at) + interval '1 day' - now()))::int FROM"
        f" (SELECT created_at FROM {table} WHERE {_MADE_BY[table]} = $1 AND created_at > now() - interval '1 day'"
        " ORDER BY created_at DESC LIMIT $2) latest",
        *(user_id, most),
    )
    assert row is not None, "a count is one row"
    made, seconds = row
    if made < most:
        return None
    return Refusal(Code.RATE_LIMITED, f"Not more than {most} a day", {"retryAfterSeconds": max(1, seconds)})
