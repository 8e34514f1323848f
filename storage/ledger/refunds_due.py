"""The queue of blocks to be refunded: rows are inserted with the decision, and deleted once the refund is booked."""

from collections.abc import Sequence
from typing import NamedTuple

from domain.ids import PostingKey, RoomId, UserId, refund_key, refund_rest_key
from storage.ledger.batch import as_uuid
from storage.ledger.refunds import MAX_REFUND
from storage.postgres import Postgres

LONGEST_PAUSE = "1 hour"  # between two attempts; a block that its payee cannot cover is not attempted


class RefundsDue(NamedTuple):
    """Keys of the blocks that one payee must refund."""

    payee: UserId
    paid: list[PostingKey]


async def note_refunds_due(postgres: Postgres, room_id: RoomId, epoch: int, paid: Sequence[PostingKey]) -> bool:
    """Queue these blocks of a room for a refund; False, with nothing done, if the room has a later epoch.

    Takes the write lock. Idempotent. Raises StorageUnavailable.
    """
    # Check the epoch and insert the rows in one function.
    rows = await postgres.fetch(
        "SELECT note_refunds_due_in($1, $2, $3::uuid[])", room_id, epoch, list(map(as_uuid, paid))
    )
    return bool(rows[0][0])


async def find_refunds_due(postgres: Postgres) -> list[RefundsDue]:
    """Return the refunds to attempt now, grouped by payee, at most MAX_REFUND in all. Raises StorageUnavailable.

    A block that its payee cannot cover is left out until the payee's balance suffices again.
    """
    # Read the oldest due rows whose payee can cover them.
    rows = await postgres.fetch(
        "SELECT payee_id, array_agg(paid_key) AS paid FROM (SELECT d.payee_id, d.paid_key FROM refunds_due d"
        " WHERE d.next_try_at <= clock_timestamp() AND (SELECT tokens FROM journal WHERE key = d.paid_key)"
        " <= (SELECT balance FROM wallets WHERE id = d.payee_id)"
        f" ORDER BY d.next_try_at LIMIT {MAX_REFUND}) d GROUP BY payee_id"
    )
    return [RefundsDue(row["payee_id"], [PostingKey(key.bytes) for key in row["paid"]]) for row in rows]


async def settle_refunds_due(postgres: Postgres, paid: Sequence[PostingKey]) -> None:
    """Delete the rows whose refund is booked, and delay the next attempt of the others. Raises StorageUnavailable.

    The delay doubles with each attempt, from 10 seconds to LONGEST_PAUSE.
    """
    # Delete rows with a refund in the journal, and reschedule the rest of these keys.
    await postgres.execute(
        "WITH done AS (DELETE FROM refunds_due d USING unnest($1::uuid[], $2::uuid[], $3::uuid[]) u(key, refund, rest)"
        " WHERE d.paid_key = u.key AND EXISTS (SELECT FROM journal j WHERE j.key IN (u.refund, u.rest))"
        " RETURNING d.paid_key)"
        " UPDATE refunds_due d SET tries = d.tries + 1, next_try_at = clock_timestamp()"
        f" + least(interval '10 seconds' * power(2, least(d.tries, 20)), interval '{LONGEST_PAUSE}')"
        " WHERE d.paid_key = ANY($1::uuid[]) AND d.paid_key NOT IN (SELECT paid_key FROM done)",
        [as_uuid(key) for key in paid],
        [as_uuid(refund_key(key)) for key in paid],
        [as_uuid(refund_rest_key(key)) for key in paid],
    )
