"""Bounds on the rows that one user makes: each is counted in the transaction that adds one more."""

from typing import Literal

from domain.ids import UserId
from domain.refusals import Code, Refusal
from storage.postgres import Connection

# Each with an index on its user's column and `created_at`.
_MADE_BY = {"streams": "creator_id", "reports": "reporter_id"}


async def lock_user(connection: Connection, user_id: UserId) -> None:
    """Until this transaction ends nobody else adds a row that counts against this user's bounds."""
    await connection.execute("SELECT 1 FROM users WHERE supabase_id = $1 FOR NO KEY UPDATE", user_id)


async def too_many_in_a_day(
    connection: Connection, table: Literal["streams", "reports"], user_id: UserId, most: int
) -> Refusal | None:
    """RATE_LIMITED if the user has made `most` rows within 24 hours, with the seconds until there is one more."""
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
