"""Overlay tokens: secrets that let a creator's streaming software read a room's events, until they are revoked.

Only a digest of each secret is stored.
"""

from collections.abc import Collection
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

import msgspec

from domain.ids import UserId
from domain.instant import rfc3339_of
from domain.refusals import Code, Refusal
from storage.paging import Listing, Page, Paged
from storage.postgres import Connection, Postgres, Row

PREFIX = "hmo_"  # identifies the secret to scanners for leaked secrets
SECRET_CHARACTERS = range(len(PREFIX) + 27, 129)  # at least 160 bits in base64; no issued secret is longer
USE_NOTED_EVERY = "1 minute"  # precision of `last_used_at`: a finer one would cost a write at each request


class OverlayToken(NamedTuple):
    """A valid token: its id and its creator."""

    id: UUID
    creator_id: UserId


class OverlayTokenCard(msgspec.Struct, frozen=True, rename="camel"):
    """A token as its creator sees it, without the secret, which is not stored."""

    overlay_token_id: UUID
    name: str
    created_at: str
    last_used_at: str | None
    revoked_at: str | None


_TOKENS = Listing(
    columns="t.id, t.name, t.created_at, t.last_used_at, t.revoked_at",
    source="overlay_tokens t",
    table="overlay_tokens t",
    at="t.created_at",
    id="t.id",
)


async def find_overlay_token(postgres: Postgres, secret: str) -> OverlayToken | None:
    """Return the token of this secret, or None if it is revoked or was never issued. Raises StorageUnavailable.

    Also records the time of use, at most once every USE_NOTED_EVERY. A text that cannot be a secret costs no query.
    """
    if not secret.startswith(PREFIX) or len(secret) not in SECRET_CHARACTERS:
        return None
    # Find the token by its digest, and update its time of use if that is old.
    row = await postgres.fetchrow(
        f"""
        WITH used AS (UPDATE overlay_tokens SET last_used_at = now()
                       WHERE digest = $1 AND revoked_at IS NULL
                         AND (last_used_at IS NULL OR last_used_at < now() - interval '{USE_NOTED_EVERY}'))
        SELECT id, creator_id FROM overlay_tokens WHERE digest = $1 AND revoked_at IS NULL
        """,
        _digest(secret),
    )
    return None if row is None else OverlayToken(*row)


async def add_overlay_token(
    postgres: Postgres, token_id: UUID, creator_id: UserId, name: str, secret: str, *, limit: int, kept: int
) -> OverlayTokenCard | Refusal:
    """Add a token, and delete the creator's revoked tokens except the latest `kept`.

    Refuses NOT_A_CREATOR, and FORBIDDEN if the creator has `limit` tokens that are not revoked. Locks the creator's row
    in `creators`. Raises StorageUnavailable.
    """

    async def in_transaction(connection: Connection) -> OverlayTokenCard | Refusal:
        # Lock the creator, so that two concurrent requests cannot both add the last token.
        creator = "SELECT 1 FROM creators WHERE user_id = $1 FOR NO KEY UPDATE"
        if await connection.fetchrow(creator, creator_id) is None:
            return Refusal(Code.NOT_A_CREATOR, "Only creators have overlays")
        # Count the tokens that are not revoked.
        live = "SELECT count(*) FROM overlay_tokens WHERE creator_id = $1 AND revoked_at IS NULL"
        if await connection.fetchval(live, creator_id) >= limit:
            return Refusal(Code.FORBIDDEN, f"You have {limit} overlay tokens already; revoke one first")
        # Delete all but the latest revoked tokens.
        await connection.execute(
            "DELETE FROM overlay_tokens WHERE id IN (SELECT id FROM overlay_tokens WHERE creator_id = $1"
            " AND revoked_at IS NOT NULL ORDER BY revoked_at DESC, id DESC OFFSET $2)",
            *(creator_id, kept),
        )
        # Insert the token with the digest of its secret.
        row = await connection.fetchrow(
            "INSERT INTO overlay_tokens AS t (id, creator_id, name, digest) VALUES ($1, $2, $3, $4)"
            f" RETURNING {_TOKENS.columns}",
            *(token_id, creator_id, name, _digest(secret)),
        )
        assert row is not None, "an INSERT returns what it inserts"
        return _card(row)

    return await postgres.transaction(in_transaction)


async def revoke_overlay_token(postgres: Postgres, creator_id: UserId, token_id: UUID) -> OverlayTokenCard | None:
    """Revoke a token of the creator, and return it; None if the creator has no such token. Idempotent.

    Raises StorageUnavailable.
    """
    # Set the time of the revocation, unless it is set already.
    row = await postgres.fetchrow(
        "UPDATE overlay_tokens t SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1 AND creator_id = $2"
        f" RETURNING {_TOKENS.columns}",
        *(token_id, creator_id),
    )
    return None if row is None else _card(row)


async def live_overlay_tokens(postgres: Postgres, token_ids: Collection[UUID]) -> set[UUID]:
    """Return those of the tokens that exist and are not revoked. Raises StorageUnavailable."""
    # Read which of them are not revoked.
    rows = await postgres.fetch(
        "SELECT id FROM overlay_tokens WHERE id = ANY($1) AND revoked_at IS NULL", list(token_ids)
    )
    return {row["id"] for row in rows}


async def list_overlay_tokens(postgres: Postgres, creator_id: UserId, page: Page) -> Paged[OverlayTokenCard]:
    """Return a page of a creator's tokens, also revoked ones, newest first. Raises BadCursor, StorageUnavailable."""
    return await _TOKENS.page(postgres, page, ["t.creator_id = $1"], [creator_id], _card)


def _digest(secret: str) -> bytes:
    """Return the SHA-256 digest; a slow hash is not needed, since a secret of 160 bits cannot be guessed."""
    return sha256(secret.encode(errors="replace")).digest()


def _card(row: Row) -> OverlayTokenCard:
    token_id, name, created_at, last_used_at, revoked_at, *_ = row
    return OverlayTokenCard(token_id, name, rfc3339_of(created_at), _moment(last_used_at), _moment(revoked_at))


def _moment(at: datetime | None) -> str | None:
    return None if at is None else rfc3339_of(at)
