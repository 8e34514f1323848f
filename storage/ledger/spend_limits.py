"""What users allow themselves to spend in a UTC day: less counts at once, more after 24 hours."""

import msgspec

from domain.ids import UserId
from domain.instant import Instant, from_datetime
from storage import wall_clock
from storage.postgres import Postgres


class Loosening(msgspec.Struct, frozen=True):
    """What a limit will be, and when; None is no limit any more."""

    tokens: int | None
    at: Instant


class SpendLimit(msgspec.Struct, frozen=True):
    """What a user may spend today, what they have spent of it, and what is to come."""

    tokens: int
    spent: int
    next: Loosening | None


async def find_spend_limit(postgres: Postgres, user_id: UserId) -> SpendLimit | None:
    """The limit that a user set and that is in force, if there is one; of a frozen wallet, what will be in force.

    Raises StorageUnavailable.
    """
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
    """None is no limit. What was to come before is forgotten. Raises StorageUnavailable."""
    statement = "SELECT set_spend_limit($1, $2) WHERE check_clock($3)"
    await postgres.execute(statement, user_id, tokens, wall_clock.now())


async def forget_lifted_limits(postgres: Postgres) -> None:
    """Those that were to be lifted, and are by now. Raises StorageUnavailable."""
    await postgres.execute("SELECT forget_lifted_limits()")
