"""Daily spend limits, which users set for themselves: a lower limit applies at once, a higher one after 24 hours.

A limit counts the tokens of one UTC day.
"""

import msgspec

from domain.ids import UserId
from domain.instant import Instant, from_datetime
from storage import wall_clock
from storage.postgres import Postgres


class Loosening(msgspec.Struct, frozen=True):
    """A higher limit that is not in force yet, and when it will be; None is no limit."""

    tokens: int | None
    at: Instant


class SpendLimit(msgspec.Struct, frozen=True):
    """The limit in tokens of a UTC day, the tokens spent today, and the higher limit that is to follow."""

    tokens: int
    spent: int
    next: Loosening | None


async def find_spend_limit(postgres: Postgres, user_id: UserId) -> SpendLimit | None:
    """Return the limit of the user that is in force, or None.

    For a frozen wallet, the limit that applies once the freeze ends. Raises StorageUnavailable.
    """
    # Read the limit, or the saved limit of a frozen wallet, and the tokens spent today.
    row = await postgres.fetchrow(
        "SELECT t.*, t.next_at <= clock_timestamp() AS is_next FROM (SELECT"
        " CASE WHEN f.user_id IS NULL THEN l.daily_tokens ELSE f.daily_tokens END AS daily_tokens,"
        " CASE WHEN f.user_id IS NULL THEN l.next_tokens ELSE f.next_tokens END AS next_tokens,"
        " CASE WHEN f.user_id IS NULL THEN l.next_at ELSE f.next_at END AS next_at,"
        " CASE WHEN l.day = (clock_timestamp() AT TIME ZONE 'UTC')::date THEN l.spent ELSE 0 END AS spent"
        " FROM spend_limits l LEFT JOIN wallet_freezes f ON f.user_id = l.user_id WHERE l.user_id = $1) t",
        user_id,
    )
    if row is None or row["daily_tokens"] is None:
        return None
    if row["is_next"]:
        return None if row["next_tokens"] is None else SpendLimit(row["next_tokens"], row["spent"], None)
    coming = None if row["next_at"] is None else Loosening(row["next_tokens"], from_datetime(row["next_at"]))
    return SpendLimit(row["daily_tokens"], row["spent"], coming)


async def set_spend_limit(postgres: Postgres, user_id: UserId, tokens: int | None) -> None:
    """Set the limit in tokens a UTC day, or None for no limit; replaces a higher limit that was to follow.

    Takes the write lock. Raises StorageUnavailable, also while the clocks of server and database disagree.
    """
    # Set the limit, dated by the database, after a clock check.
    statement = "SELECT set_spend_limit($1, $2) WHERE check_clock($3)"
    await postgres.execute(statement, user_id, tokens, wall_clock.now())


async def forget_lifted_limits(postgres: Postgres) -> None:
    """Delete the limits whose removal is in force by now. Takes the write lock. Raises StorageUnavailable."""
    # Delete them, and clear the flag `limited` of their wallets.
    await postgres.execute("SELECT forget_lifted_limits()")
