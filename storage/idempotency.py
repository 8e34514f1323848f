"""Idempotency keys of clients: looks up the first use of a key, compares its content, and stores new uses.

Postings and all other requests share one key space: a key of the table `idempotency_keys` is not in the journal. The
storage actor stores the key of a posting with the posting; a statement of this module stores any other key.
"""

from datetime import datetime
from typing import NamedTuple, TypeVar
from uuid import UUID

from domain.ids import PostingKey
from domain.refusals import KEY_IN_USE, Refusal
from storage.database_errors import StatementRefused
from storage.postgres import Connection, PgUUID, Postgres, Row, Work

T = TypeVar("T")

_KEY_OF_A_POSTING = "key_of_a_posting"  # the constraint that a key violates if it is already the key of a posting


class FirstUse(NamedTuple):
    """The first use of a key, by a request with the same content: the id of its result and its time.

    The balances after it are in tokens, and None unless the key is that of a posting.
    """

    ref_id: UUID | None
    at: datetime
    debit_after: int | None
    credit_after: int | None


async def find_first_use(
    database: "Postgres | Connection", key: PostingKey | None, content: bytes | None
) -> FirstUse | Refusal | None:
    """Look a key up among the postings and among all other uses, in one statement.

    Returns None for a new key, or without a key; the first use if a request with the same `content` (16 bytes) made it,
    so that this request repeats it; and otherwise KEY_IN_USE. Raises StorageUnavailable.
    """
    row = await _find(database, key)
    return None if row is None else _compared(row, content)


async def is_used(database: "Postgres | Connection", key: PostingKey | None) -> bool:
    """Return whether the key was used before, for anything; False without a key. Raises StorageUnavailable."""
    return await _find(database, key) is not None


async def claim_within(
    connection: Connection, key: PostingKey | None, content: bytes, ref_id: UUID
) -> FirstUse | Refusal | None:
    """Store the use of a key that is not a posting's, in the caller's transaction, which is a `claiming_transaction`.

    Idempotent: returns the first use, which is this one or an earlier one with the same `content` (16 bytes);
    KEY_IN_USE after a use with other content; and None without a key. Takes the write lock, by a trigger. Raises
    StorageUnavailable.
    """
    if key is None:
        return None
    # Insert the key, or read the row that has it; DO UPDATE makes RETURNING return that row too.
    row = await connection.fetchrow(
        "INSERT INTO idempotency_keys AS k (key, content, ref_id, created_at) VALUES ($1, $2, $3, clock_timestamp())"
        " ON CONFLICT (key) DO UPDATE SET key = k.key"
        " RETURNING content, ref_id, created_at, NULL::bigint AS debit_after, NULL::bigint AS credit_after",
        *(PgUUID(key), PgUUID(content), ref_id),
    )
    assert row is not None, "an INSERT returns what it inserts"
    return _compared(row, content)


async def claim(postgres: Postgres, key: PostingKey | None, content: bytes, ref_id: UUID) -> FirstUse | Refusal | None:
    """Store the use of a key in one statement, as `claim_within` does; KEY_IN_USE also for the key of a posting."""
    return await claiming_transaction(
        postgres, lambda connection: claim_within(connection, key, content, ref_id), atomic=False
    )


async def claiming_transaction(postgres: Postgres, work: Work[T], *, atomic: bool = True) -> T | Refusal:
    """Run `work`, which claims or inserts a key, as `Postgres.transaction` does.

    Returns KEY_IN_USE, with everything rolled back, if the key is that of a posting, or of a payout that is not booked
    yet. Raises StorageUnavailable, StatementRefused.
    """
    try:
        return await postgres.transaction(work, atomic=atomic)
    except StatementRefused as refused:
        if refused.constraint == _KEY_OF_A_POSTING:
            return KEY_IN_USE
        raise


def key_insert(key: str, content: str, ref_id: str) -> str:
    """Return the INSERT of a new key, for a statement that also inserts the result; it inserts nothing for a NULL key.

    The arguments are parameters of that statement, such as "$1", whose values `key_parameters` returns.
    """
    return (
        "INSERT INTO idempotency_keys (key, content, ref_id)"
        f" SELECT {key}::uuid, {content}::uuid, {ref_id} WHERE {key} IS NOT NULL"
    )


def key_parameters(key: PostingKey | None, content: bytes) -> tuple[PgUUID | None, PgUUID]:
    """Return the parameters of `key_insert`: the key and its content."""
    return None if key is None else PgUUID(key), PgUUID(content)


async def forget_old_keys(postgres: Postgres) -> None:
    """Delete keys of a day ago that no posting has (contract.md, Idempotency). Raises StorageUnavailable."""
    # Delete the old keys.
    await postgres.execute("DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours'")


async def _find(database: "Postgres | Connection", key: PostingKey | None) -> Row | None:
    if key is None:
        return None
    # Look the key up among the postings and among all other uses.
    return await database.fetchrow(
        "SELECT content, ref_id, created_at, debit_after, credit_after FROM journal WHERE key = $1"
        " UNION ALL SELECT content, ref_id, created_at, NULL, NULL FROM idempotency_keys WHERE key = $1",
        PgUUID(key),
    )


def _compared(row: Row, content: bytes | None) -> FirstUse | Refusal:
    """Return the first use if its content is this one, else KEY_IN_USE; what has no content is never repeated."""
    if content is None or row["content"] is None or row["content"].bytes != content:
        return KEY_IN_USE
    return FirstUse(row["ref_id"], row["created_at"], row["debit_after"], row["credit_after"])
