"""Idempotency keys of clients: finds and stores the use of a key.

Postings and all other requests share one key space: a key of the table `idempotency_keys` is not in the journal.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from domain.ids import PostingKey
from domain.refusals import Code, Refusal
from storage.database_errors import StatementRefused
from storage.postgres import PgUUID, Postgres

KEY_IN_USE = Refusal(Code.IDEMPOTENCY_CONFLICT, "This key was used for something else")
KEY_OF_A_POSTING = "key_of_a_posting"  # the constraint that a key violates if it is already the key of a posting


class Use(NamedTuple):
    """The use of a key: the id of the result and a digest of the request, 16 bytes.

    The balances after it are in tokens, and None unless the key is that of a posting.
    """

    ref_id: UUID | None
    content: bytes | None
    debit_after: int | None
    credit_after: int | None


async def find_use(postgres: Postgres, key: PostingKey) -> Use | None:
    """Return the use of a key, or None if the key is free. Raises StorageUnavailable."""
    # Look the key up among the postings and among all other uses.
    row = await postgres.fetchrow(
        "SELECT ref_id, content, debit_after, credit_after FROM journal WHERE key = $1"
        " UNION ALL SELECT ref_id, content, NULL, NULL FROM idempotency_keys WHERE key = $1",
        PgUUID(key),
    )
    if row is None:
        return None
    content = row["content"]
    return Use(row["ref_id"], None if content is None else content.bytes, row["debit_after"], row["credit_after"])


async def keep_use(postgres: Postgres, key: PostingKey, content: bytes, ref_id: UUID) -> datetime | None:
    """Store the use of a key that is not a posting's, and return the time of its first use.

    Idempotent: the same `content` returns the time of the first call. None, with nothing done, if the key was used with
    other content or by a posting. Takes the write lock, by a trigger. Raises StorageUnavailable.
    """
    try:
        # Insert the key, or read the row that has it; DO UPDATE makes RETURNING return that row too.
        rows = await postgres.fetch(
            "INSERT INTO idempotency_keys AS k (key, content, ref_id, created_at)"
            " VALUES ($1, $2, $3, clock_timestamp())"
            " ON CONFLICT (key) DO UPDATE SET key = k.key RETURNING content, created_at",
            *(PgUUID(key), PgUUID(content), ref_id),
        )
    except StatementRefused as refused:
        if refused.constraint == KEY_OF_A_POSTING:
            return None
        raise
    since: datetime = rows[0]["created_at"]
    return since if rows[0]["content"].bytes == content else None
