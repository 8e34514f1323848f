"""People and creators: who they are, what a minute with them costs, whom they do not want to meet."""

from collections.abc import Collection

import msgspec

from domain.ids import UserId
from domain.refusals import Code, Refusal, quota_reached
from storage.paging import Listing, Page, Paged
from storage.postgres import Postgres, Row


class User(msgspec.Struct, frozen=True, rename="camel"):
    user_id: UserId
    display_name: str
    is_creator: bool


class Creator(msgspec.Struct, frozen=True, rename="camel"):
    """A creator's public card, as far as the database knows it."""

    user_id: UserId
    display_name: str
    rate_tokens_per_min: int
    accepts_calls: bool
    busy: bool


_CREATORS = Listing(
    columns="""c.user_id, u.display_name, c.rate_tokens_per_min, c.accepts_calls,
               ((SELECT b.user_id FROM users_in_calls b WHERE b.user_id = c.user_id) IS NOT NULL
                OR (SELECT s.id FROM streams s WHERE s.creator_id = c.user_id AND s.status = 'live') IS NOT NULL)
               AS busy""",
    source="creators c, LATERAL (SELECT display_name FROM users WHERE supabase_id = c.user_id LIMIT 1) u",
    table="creators c",
    at="c.created_at",
    id="c.user_id",
)


async def ensure_user(postgres: Postgres, user_id: UserId) -> str:
    """A first valid token creates the user, a trigger gives the wallet; returns the name that others see."""
    row = await postgres.fetchrow("SELECT display_name FROM users WHERE supabase_id = $1", user_id)
    if row is not None:
        return str(row["display_name"])
    await postgres.execute("INSERT INTO users (supabase_id) VALUES ($1) ON CONFLICT DO NOTHING", user_id)
    return ""


async def find_user(postgres: Postgres, user_id: UserId) -> User | None:
    row = await postgres.fetchrow(
        "SELECT u.supabase_id, u.display_name, c.user_id IS NOT NULL AS is_creator"
        " FROM users u LEFT JOIN creators c ON c.user_id = u.supabase_id WHERE u.supabase_id = $1",
        user_id,
    )
    return None if row is None else User(row["supabase_id"], row["display_name"], row["is_creator"])


async def become_creator(
    postgres: Postgres, user_id: UserId, display_name: str | None, rate_tokens_per_min: int, accepts_calls: bool
) -> Creator:
    """Become or update a creator. A new rate counts from the next call; live ones keep theirs."""

    await postgres.execute(
        """
        WITH named AS (UPDATE users SET display_name = coalesce($2, display_name) WHERE supabase_id = $1)
        INSERT INTO creators (user_id, rate_tokens_per_min, accepts_calls) VALUES ($1, $3, $4)
        ON CONFLICT (user_id) DO UPDATE SET rate_tokens_per_min = $3, accepts_calls = $4
        """,
        user_id,
        display_name,
        rate_tokens_per_min,
        accepts_calls,
    )
    creator = await find_creator(postgres, user_id)
    assert creator is not None, "it was written just now"
    return creator


async def find_creator(postgres: Postgres, user_id: UserId) -> Creator | None:
    row = await postgres.fetchrow(f"SELECT {_CREATORS.columns} FROM {_CREATORS.source} WHERE c.user_id = $1", user_id)
    return None if row is None else _creator(row)


async def list_creators(postgres: Postgres, page: Page) -> Paged[Creator]:
    """Creators, newest first."""
    return await _CREATORS.page(postgres, page, ["true"], [], _creator)


async def block_user(postgres: Postgres, creator_id: UserId, user_id: UserId, *, most: int) -> Refusal | None:
    """From now on the user sees this creator as unavailable, and their tickets are to be given back. Idempotent.

    Refuses one more than `most` users: a room holds all of them.
    """
    if await find_creator(postgres, creator_id) is None:
        return Refusal(Code.NOT_A_CREATOR, "Only creators block users")
    if await find_user(postgres, user_id) is None:
        return Refusal(Code.NOT_FOUND, "No such user")
    others = "SELECT count(*) FROM creator_blocks WHERE creator_id = $1 AND user_id <> $2"
    row = await postgres.fetchrow(others, creator_id, user_id)
    if row is not None and row[0] >= most:
        return quota_reached(f"You have blocked {most} users; unblock one first")
    await postgres.execute("SELECT block_user($1, $2)", creator_id, user_id)
    return None


async def who_blocks(postgres: Postgres, creators: Collection[UserId], user_id: UserId) -> set[UserId]:
    """Those of some creators who have blocked this user. Raises StorageUnavailable."""
    rows = await postgres.fetch(
        "SELECT creator_id FROM creator_blocks WHERE creator_id = ANY($1::uuid[]) AND user_id = $2",
        *(list(creators), user_id),
    )
    return {UserId(row["creator_id"]) for row in rows}


async def welcomes(postgres: Postgres, creator_id: UserId, user_id: UserId) -> bool | None:
    """Whether a creator wants to meet a user; None if there is no such creator."""
    row = await postgres.fetchrow(
        "SELECT NOT EXISTS (SELECT FROM creator_blocks b WHERE b.creator_id = c.user_id AND b.user_id = $2)"
        " FROM creators c WHERE c.user_id = $1",
        *(creator_id, user_id),
    )
    return None if row is None else bool(row[0])


async def blocked_between(postgres: Postgres, one: UserId, other: UserId) -> list[UserId]:
    """Those of two users whom the other one has blocked. Raises StorageUnavailable."""
    rows = await postgres.fetch(
        "SELECT user_id FROM creator_blocks WHERE (creator_id, user_id) IN (($1, $2), ($2, $1))", one, other
    )
    return [UserId(row["user_id"]) for row in rows]


async def unblock_user(postgres: Postgres, creator_id: UserId, user_id: UserId) -> None:
    """Idempotent."""
    await postgres.execute("DELETE FROM creator_blocks WHERE creator_id = $1 AND user_id = $2", creator_id, user_id)


def _creator(row: Row) -> Creator:
    return Creator(row["user_id"], row["display_name"], row["rate_tokens_per_min"], row["accepts_calls"], row["busy"])
