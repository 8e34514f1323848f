"""What a client's idempotency key was used for: one space for postings and for everything else."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from domain.ids import PostingKey
from domain.refusals import Code, Refusal
from storage.postgres import PgUUID, Postgres, StatementRefused

KEY_IN_USE = Refusal(Code.IDEMPOTENCY_CONFLICT, "This key was used for something else")
KEY_OF_A_POSTING = "key_of_a_posting"  # the constraint that refuses a key which stands for a posting


class Use(NamedTuple):
    """What the key stands for. A posting has balances after it; a call that rang has none."""

    ref_id: UUID | None
    content: bytes | None
    debit_after: int | None
    credit_after: int | None


async def find_use(postgres: Postgres, key: PostingKey) -> Use | None:
    """None for a key that is still free. Raises StorageUnavailable."""
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
    """Note what a key stands for that is not itself a posting's; since when it does, None if it is for something else.

    Raises StorageUnavailable.
    """
    try:
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
