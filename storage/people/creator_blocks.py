"""The users whom creators have blocked."""

from collections.abc import Collection

import msgspec

from domain.ids import UserId
from domain.instant import rfc3339_of
from domain.refusals import Code, Refusal, quota_reached
from storage.paging import Listing, Page, Paged
from storage.people.users import find_creator, find_user
from storage.postgres import Postgres, Row


class BlockedUser(msgspec.Struct, frozen=True, rename="camel"):
    """A user whom a creator has blocked, and since when."""

    user_id: UserId
    display_name: str
    created_at: str


_BLOCKED = Listing(
    columns="b.user_id, u.display_name, b.created_at",
    source="creator_blocks b JOIN users u ON u.supabase_id = b.user_id",
    table="creator_blocks b",
    at="b.created_at",
    id="b.id",
)


async def list_blocked(postgres: Postgres, creator_id: UserId, page: Page) -> Paged[BlockedUser]:
    """Return a page of the users whom the creator has blocked, the latest first.

    Raises BadCursor, StorageUnavailable.
    """
    return await _BLOCKED.page(postgres, page, ["b.creator_id = $1"], [creator_id], _blocked)


def _blocked(row: Row) -> BlockedUser:
    return BlockedUser(UserId(row["user_id"]), row["display_name"], rfc3339_of(row["created_at"]))


async def block_user(postgres: Postgres, creator_id: UserId, user_id: UserId, *, most: int) -> Refusal | None:
    """Block a user: they see the creator as unavailable, and their tickets are marked for a refund. Idempotent.

    Refuses NOT_A_CREATOR, NOT_FOUND, and a quota of `most` users, since a room holds all of them in memory. Takes the
    write lock. Raises StorageUnavailable.
    """
    if await find_creator(postgres, creator_id) is None:
        return Refusal(Code.NOT_A_CREATOR, "Only creators block users")
    if await find_user(postgres, user_id) is None:
        return Refusal(Code.NOT_FOUND, "No such user")
    # Count the other users whom the creator has blocked.
    others = "SELECT count(*) FROM creator_blocks WHERE creator_id = $1 AND user_id <> $2"
    row = await postgres.fetchrow(others, creator_id, user_id)
    if row is not None and row[0] >= most:
        return quota_reached(f"You have blocked {most} users; unblock one first")
    # Insert the block, and mark the user's tickets.
    await postgres.execute("SELECT block_user($1, $2)", creator_id, user_id)
    return None


async def creators_blocking(postgres: Postgres, creators: Collection[UserId], user_id: UserId) -> set[UserId]:
    """Return those of the creators who have blocked the user. Raises StorageUnavailable."""
    # Read which of them have blocked the user.
    rows = await postgres.fetch(
        "SELECT creator_id FROM creator_blocks WHERE creator_id = ANY($1::uuid[]) AND user_id = $2",
        *(list(creators), user_id),
    )
    return {UserId(row["creator_id"]) for row in rows}


async def has_not_blocked(postgres: Postgres, creator_id: UserId, user_id: UserId) -> bool | None:
    """Return whether the creator has not blocked the user; None if there is no such creator.

    Raises StorageUnavailable.
    """
    # Look up the creator and the block.
    row = await postgres.fetchrow(
        "SELECT NOT EXISTS (SELECT FROM creator_blocks b WHERE b.creator_id = c.user_id AND b.user_id = $2)"
        " FROM creators c WHERE c.user_id = $1",
        *(creator_id, user_id),
    )
    return None if row is None else bool(row[0])


async def blocked_between(postgres: Postgres, one: UserId, other: UserId) -> list[UserId]:
    """Return those of two users whom the other one has blocked: none, one or both. Raises StorageUnavailable."""
    # Read the blocks between the two, in both directions.
    rows = await postgres.fetch(
        "SELECT user_id FROM creator_blocks WHERE (creator_id, user_id) IN (($1, $2), ($2, $1))", one, other
    )
    return [UserId(row["user_id"]) for row in rows]


async def unblock_user(postgres: Postgres, creator_id: UserId, user_id: UserId) -> None:
    """Remove the creator's block of the user. Idempotent. Raises StorageUnavailable."""
    # Delete the block.
    await postgres.execute("DELETE FROM creator_blocks WHERE creator_id = $1 AND user_id = $2", creator_id, user_id)
