"""Bans: which users may not use the service, until when, and why.

Every server keeps the bans in force in memory (`server/sessions/bans.py`), and reads them again when the counter
`ban_changes` differs. Lifted and expired bans stay as rows.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from domain.ids import UserId
from domain.instant import Instant, from_datetime, rfc3339_of
from domain.refusals import Code, Refusal
from storage.paging import Listing, Page, Paged, all_of
from storage.people.operator_actions import Action, note_action
from storage.postgres import Connection, Postgres, Row

MAX_BANS = 100_000  # in force at once: each server holds them in memory, some 20 MB


class Ban(msgspec.Struct, frozen=True, rename="camel"):
    """One ban in force, as operators see it; without `until` it lasts until it is lifted."""

    ban_id: UUID
    user_id: UserId
    reason: str
    banned_by: UserId
    created_at: str
    until: str | None


class PastBan(Ban, frozen=True, rename="camel"):
    """One ban, in force or not; `liftedAt` is when an operator lifted or replaced it."""

    lifted_at: str | None


class NewBan(NamedTuple):
    """A ban that an operator imposes; `until` None is a ban without an end."""

    id: UUID
    user_id: UserId
    reason: str
    banned_by: UserId
    until: datetime | None


STANDS = "b.lifted_at IS NULL AND (b.until IS NULL OR b.until > now())"
_BANS = Listing(
    columns="b.id, b.user_id, b.reason, b.banned_by, b.created_at, b.until, b.lifted_at",
    source="bans b",
    table="bans b",
    at="b.created_at",
    id="b.id",
)


class StandingBans(NamedTuple):
    """All bans in force: the end of each user's ban, and the number of changes that were made before the read.

    An end of None is a ban without an end. A ban may expire after the read, so the reader compares the time.
    """

    changes: int
    until: Mapping[UserId, Instant | None]


async def is_banned(postgres: Postgres, user_id: UserId) -> bool:
    """Return whether a ban of the user is in force. Raises StorageUnavailable."""
    # Look for a ban that is neither lifted nor expired.
    row = await postgres.fetchrow(f"SELECT 1 FROM bans b WHERE b.user_id = $1 AND {STANDS}", user_id)
    return row is not None


async def ban_changes(postgres: Postgres) -> int:
    """Return the number of changes of bans so far, by which a server notices a change. Raises StorageUnavailable."""
    # Read the counter.
    row = await postgres.fetchrow("SELECT n FROM ban_changes")
    assert row is not None, "the migration makes it"
    return int(row[0])


async def standing_bans(postgres: Postgres) -> StandingBans:
    """Return all bans in force. Raises StorageUnavailable."""
    changes = await ban_changes(postgres)  # read first, so that a change in between is read twice and not missed
    # Read all bans that are neither lifted nor expired.
    rows = await postgres.fetch(f"SELECT b.user_id, b.until FROM bans b WHERE {STANDS}")
    return StandingBans(changes, {UserId(row["user_id"]): row["until"] and from_datetime(row["until"]) for row in rows})


async def add_ban(postgres: Postgres, new: NewBan) -> Ban | Refusal:
    """Ban a user, in place of a ban that is in force, and log the operator's action.

    Refuses NOT_FOUND, and OVERLOADED beyond MAX_BANS. Locks the row of `ban_changes`, which serialises all changes of
    bans. Raises StorageUnavailable.
    """

    async def in_transaction(connection: Connection) -> Ban | Refusal:
        # Lock the counter's row, which serialises changes of bans.
        await connection.execute("UPDATE ban_changes SET n = n + 1")
        # Check that there is such a user.
        if await connection.fetchrow("SELECT 1 FROM users WHERE supabase_id = $1", new.user_id) is None:
            return Refusal(Code.NOT_FOUND, "No such user")
        # Count the bans in force.
        if await connection.fetchval(f"SELECT count(*) FROM bans b WHERE {STANDS}") >= MAX_BANS:
            return Refusal(Code.OVERLOADED, f"There are {MAX_BANS} bans already; lift some")
        await connection.execute(_LIFT, new.user_id)
        # Insert the new ban.
        row = await connection.fetchrow(
            "INSERT INTO bans AS b (id, user_id, reason, banned_by, until) VALUES ($1, $2, $3, $4, $5)"
            f" RETURNING {_BANS.columns}",
            *new,
        )
        assert row is not None, "an INSERT returns what it inserts"
        await note_action(connection, Action(new.banned_by, "ban", new.user_id, new.id, reason=new.reason))
        return _ban(row)

    return await postgres.transaction(in_transaction)


async def lift_ban(postgres: Postgres, user_id: UserId, operator_id: UserId) -> None:
    """Lift the user's ban, and log the operator's action if there was one. Idempotent. Raises StorageUnavailable."""

    async def in_transaction(connection: Connection) -> None:
        lifted = await connection.fetchrow(f"{_LIFT} RETURNING id", user_id)
        if lifted is not None:
            await note_action(connection, Action(operator_id, "lift_ban", user_id, lifted["id"]))

    await postgres.transaction(in_transaction)


async def find_ban(postgres: Postgres, user_id: UserId) -> Ban | None:
    """Return the user's ban that is in force, or None. Raises StorageUnavailable."""
    # Read the ban that is neither lifted nor expired; a user has at most one.
    row = await postgres.fetchrow(f"SELECT {_BANS.columns} FROM bans b WHERE b.user_id = $1 AND {STANDS}", user_id)
    return None if row is None else _ban(row)


async def list_bans(
    postgres: Postgres, page: Page, *, since: datetime | None = None, until: datetime | None = None
) -> Paged[Ban]:
    """Return a page of the bans in force, newest first, imposed from `since` on and before `until`.

    Raises BadCursor, StorageUnavailable.
    """
    args = list[Any]()
    period = all_of(args, ("b.created_at >=", since), ("b.created_at <", until))
    return await _BANS.page(postgres, page, [f"{STANDS} AND {period}"], args, _ban)


async def list_bans_of(
    postgres: Postgres, page: Page, user_id: UserId, *, since: datetime | None = None, until: datetime | None = None
) -> Paged[PastBan]:
    """Return a page of all bans of one user, newest first, also lifted and expired ones.

    Raises BadCursor, StorageUnavailable.
    """
    args = list[Any]()
    condition = all_of(args, ("b.user_id =", user_id), ("b.created_at >=", since), ("b.created_at <", until))
    return await _BANS.page(postgres, page, [condition], args, _past_ban)


# End the user's ban now.
_LIFT = "UPDATE bans SET lifted_at = now() WHERE user_id = $1 AND lifted_at IS NULL"


def _ban(row: Row) -> Ban:
    ban_id, user_id, reason, banned_by, created_at, until, *_ = row
    return Ban(
        ban_id,
        user_id,
        reason,
        banned_by,
        rfc3339_of(created_at),
        None if until is None else rfc3339_of(until),
    )


def _past_ban(row: Row) -> PastBan:
    lifted_at = row["lifted_at"]
    return PastBan(**msgspec.structs.asdict(_ban(row)), lifted_at=None if lifted_at is None else rfc3339_of(lifted_at))
