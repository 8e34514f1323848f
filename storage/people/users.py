"""Users and creators: names, creators' rates, availability and profiles."""

from collections.abc import Collection
from typing import Any

import msgspec

from domain.ids import UserId
from storage.paging import Listing, Page, Paged
from storage.people.prefix_search import begins_with
from storage.postgres import Postgres, Row


class User(msgspec.Struct, frozen=True, rename="camel"):
    """A user as other users see them."""

    user_id: UserId
    display_name: str
    is_creator: bool


class CreatorChange(msgspec.Struct, frozen=True, kw_only=True):
    """Terms and profile of a creator; each that is None stays as it is, and "" removes text or picture."""

    rate_tokens_per_min: int | None = None
    accepts_calls: bool | None = None
    display_name: str | None = None
    about: str | None = None
    picture_url: str | None = None


class Creator(msgspec.Struct, frozen=True, rename="camel"):
    """The public profile of a creator. `busy` says that the creator is in a call or live.

    `about` and `picture_url` are empty unless the creator has given them.
    """

    user_id: UserId
    display_name: str
    about: str
    picture_url: str
    rate_tokens_per_min: int
    accepts_calls: bool
    busy: bool


_CREATORS = Listing(
    columns="""c.user_id, u.display_name, c.about, c.picture_url, c.rate_tokens_per_min, c.accepts_calls,
               ((SELECT b.user_id FROM users_in_calls b WHERE b.user_id = c.user_id) IS NOT NULL
                OR (SELECT s.id FROM streams s WHERE s.creator_id = c.user_id AND s.status = 'live') IS NOT NULL)
               AS busy""",
    source="creators c, LATERAL (SELECT display_name FROM users WHERE supabase_id = c.user_id LIMIT 1) u",
    table="creators c",
    at="c.created_at",
    id="c.user_id",
)


async def ensure_user(postgres: Postgres, user_id: UserId, name: str = "", email: str = "") -> str:
    """Create the user if there is none, and return the display name; a user without one is given `name`.

    `email` replaces the stored address unless it is empty. A trigger creates the wallet. Idempotent, also if two
    requests of a new user run at once. Raises StorageUnavailable.
    """
    # Read the name and the address of a known user.
    row = await postgres.fetchrow("SELECT display_name, email FROM users WHERE supabase_id = $1", user_id)
    if row is not None and (row["display_name"] or not name) and email in ("", row["email"]):
        return str(row["display_name"])
    # Insert the user, or change the one that exists; a name that a concurrent request has stored stays.
    stored = await postgres.fetchrow(
        "INSERT INTO users (supabase_id, display_name, email) VALUES ($1, $2, $3) ON CONFLICT (supabase_id)"
        " DO UPDATE SET display_name = coalesce(nullif(users.display_name, ''), $2),"
        "               email = coalesce(nullif($3, ''), users.email)"
        " RETURNING display_name",
        user_id,
        name,
        email,
    )
    return name if stored is None else str(stored["display_name"])


async def rename_user(postgres: Postgres, user_id: UserId, display_name: str) -> None:
    """Store a user's display name. Raises StorageUnavailable."""
    # Change the name.
    await postgres.execute("UPDATE users SET display_name = $2 WHERE supabase_id = $1", user_id, display_name)


async def find_user(postgres: Postgres, user_id: UserId) -> User | None:
    """Return the user, or None. Raises StorageUnavailable."""
    # Read the user, and whether they are a creator.
    row = await postgres.fetchrow(
        "SELECT u.supabase_id, u.display_name, c.user_id IS NOT NULL AS is_creator"
        " FROM users u LEFT JOIN creators c ON c.user_id = u.supabase_id WHERE u.supabase_id = $1",
        user_id,
    )
    return None if row is None else User(row["supabase_id"], row["display_name"], row["is_creator"])


async def become_creator(postgres: Postgres, user_id: UserId, change: CreatorChange) -> Creator | None:
    """Make the user a creator, or change their terms and profile.

    A new creator accepts calls unless told otherwise. Returns None, with nothing changed, if the user is no creator and
    no rate is given. A rate applies from the next call; calls in progress keep theirs. Raises StorageUnavailable.
    """
    await postgres.execute(
        """
        WITH written AS (
            INSERT INTO creators (user_id, rate_tokens_per_min, accepts_calls, about, picture_url)
            SELECT $1, coalesce($3, present.rate_tokens_per_min), coalesce($4, present.accepts_calls, true),
                   coalesce($5, present.about, ''), coalesce($6, present.picture_url, '')
              FROM (SELECT) AS once LEFT JOIN creators present ON present.user_id = $1
             WHERE coalesce($3, present.rate_tokens_per_min) IS NOT NULL
            ON CONFLICT (user_id) DO UPDATE
               SET rate_tokens_per_min = coalesce($3, creators.rate_tokens_per_min),
                   accepts_calls = coalesce($4, creators.accepts_calls),
                   about = coalesce($5, creators.about),
                   picture_url = coalesce($6, creators.picture_url)
            RETURNING user_id
        )
        UPDATE users SET display_name = coalesce($2, display_name) FROM written WHERE supabase_id = written.user_id
        """,
        user_id,
        change.display_name,
        change.rate_tokens_per_min,
        change.accepts_calls,
        change.about,
        change.picture_url,
    )
    return await find_creator(postgres, user_id)


async def find_creator(postgres: Postgres, user_id: UserId) -> Creator | None:
    """Return the creator's profile, or None if the user is no creator. Raises StorageUnavailable."""
    # Read the creator with name and busy state.
    row = await postgres.fetchrow(f"SELECT {_CREATORS.columns} FROM {_CREATORS.source} WHERE c.user_id = $1", user_id)
    return None if row is None else _creator(row)


async def creators_among(postgres: Postgres, user_ids: Collection[UserId]) -> list[UserId]:
    """Return those of the users who are creators, in no order. Raises StorageUnavailable."""
    # Look up the creators among the users.
    rows = await postgres.fetch("SELECT user_id FROM creators WHERE user_id = ANY($1::uuid[])", list(user_ids))
    return [UserId(row["user_id"]) for row in rows]


async def list_creators(
    postgres: Postgres,
    page: Page,
    name: str | None = None,
    among: Collection[UserId] | None = None,
    but: Collection[UserId] | None = None,
) -> Paged[Creator]:
    """Return a page of creators, newest first.

    `name` selects those whose names begin with it, in any case; `among` selects from these creators, and `but` from
    all others. Raises BadCursor, StorageUnavailable.
    """
    args = list[Any]()
    conditions = list[str]()
    if name is not None:
        # An array, whose creators are found by index: for a join, the planner would read all creators.
        conditions.append(
            "c.user_id = ANY(ARRAY(SELECT k.user_id FROM users u,"
            " LATERAL (SELECT user_id FROM creators WHERE user_id = u.supabase_id LIMIT 1) k"
            f" WHERE {begins_with('u.display_name', name, args)}))"
        )
    if among is not None:
        args.append(list(among))
        conditions.append(f"c.user_id = ANY(${len(args)}::uuid[])")
    if but is not None:
        # A subquery, which PostgreSQL hashes: it would search the array again for each creator.
        args.append(list(but))
        conditions.append(f"c.user_id NOT IN (SELECT unnest(${len(args)}::uuid[]))")
    return await _CREATORS.page(postgres, page, [" AND ".join(conditions) or "true"], args, _creator)


def _creator(row: Row) -> Creator:
    user_id, display_name, about, picture_url, rate_tokens_per_min, accepts_calls, busy, *_ = row
    return Creator(user_id, display_name, about, picture_url, rate_tokens_per_min, accepts_calls, busy)
