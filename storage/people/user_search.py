"""Finds users for operators: by id, by the beginning of name or e-mail address, and by their first request."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from domain.ids import UserId
from domain.instant import rfc3339_of
from storage.paging import Listing, Page, Paged, all_of
from storage.people.prefix_search import begins_with
from storage.postgres import Postgres, Row


class FoundUser(msgspec.Struct, frozen=True, rename="camel"):
    """A user as operators find them."""

    user_id: Annotated[
        UserId, Meta(description="The `sub` of the user's tokens.", examples=["0197c0de-0000-7000-8000-000000000001"])
    ]
    display_name: Annotated[str, Meta(description="The present display name, empty without one.", examples=["Cleo"])]
    email: Annotated[
        str,
        Meta(
            description="The e-mail address that the user's tokens last named, empty without one.",
            examples=["cleo@example.com"],
        ),
    ]
    is_creator: Annotated[bool, Meta(description="Whether the user is a creator.")]
    created_at: Annotated[
        str, Meta(description="The time of the user's first request.", examples=["2026-01-31T12:00:00.000Z"])
    ]


class UserFilter(msgspec.Struct, frozen=True):
    """Selects users by id, by the beginning of name or e-mail address, and by the time of their first request.

    Case does not matter in names and addresses. `since` is inclusive, `until` exclusive, None matches all.
    """

    user_id: UUID | None = None
    name: str | None = None
    email: str | None = None
    since: datetime | None = None
    until: datetime | None = None


_USERS = Listing(
    columns="u.supabase_id, u.display_name, u.email,"
    " (SELECT c.user_id FROM creators c WHERE c.user_id = u.supabase_id) IS NOT NULL AS is_creator, u.created_at",
    source="users u",
    table="users u",
    at="u.created_at",
    id="u.supabase_id",
)


async def search_users(postgres: Postgres, page: Page, wanted: UserFilter) -> Paged[FoundUser]:
    """Return a page of users, newest first. Raises BadCursor, StorageUnavailable."""
    args = list[Any]()
    condition = all_of(
        args,
        ("u.supabase_id =", wanted.user_id),
        ("u.created_at >=", wanted.since),
        ("u.created_at <", wanted.until),
    )
    if wanted.name is not None:
        condition += f" AND {begins_with('u.display_name', wanted.name, args)}"
    if wanted.email is not None:
        condition += f" AND u.email <> '' AND {begins_with('u.email', wanted.email, args)}"
    return await _USERS.page(postgres, page, [condition], args, _user)


async def find_listed_user(postgres: Postgres, user_id: UserId) -> FoundUser | None:
    """Return the user as `search_users` lists them, or None. Raises StorageUnavailable."""
    # Read the user by id.
    row = await postgres.fetchrow(f"SELECT {_USERS.columns} FROM {_USERS.source} WHERE u.supabase_id = $1", user_id)
    return None if row is None else _user(row)


def _user(row: Row) -> FoundUser:
    user_id, display_name, email, is_creator, created_at, *_ = row
    return FoundUser(user_id, display_name, email, is_creator, rfc3339_of(created_at))
