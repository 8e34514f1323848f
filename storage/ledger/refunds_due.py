"""Blocks that are to be given back: written down with what they follow from, and removed once they are refunded."""

from collections.abc import Sequence
from typing import NamedTuple

from domain.ids import PostingKey, RoomId, UserId, refund_key, refund_rest_key
from storage.ledger.batch import as_uuid
from storage.ledger.refunds import MAX_REFUND
from storage.postgres import Postgres

LONGEST_PAUSE = "1 hour"  # between two tries; what its payee cannot cover is not tried


class RefundsDue(NamedTuple):
    """Blocks that one payee is to give back."""

    payee: UserId
    paid: list[PostingKey]


async def note_refunds_due(postgres: Postgres, room_id: RoomId, epoch: int, paid: Sequence[PostingKey]) -> bool:
    """Write down that these blocks of a room are to be given back; False, with nothing done, if it has a later owner.

    Idempotent. Raises StorageUnavailable.
    """
    rows = await postgres.fetch(
        "SELECT note_refunds_due_in($1, $2, $3::uuid[])", room_id, epoch, list(map(as_uuid, paid))
    )
    return bool(rows[0][0])


async def find_refunds_due(postgres: Postgres) -> list[RefundsDue]:
    """Those to be tried now, of each payee as many as one statement takes. Raises StorageUnavailable.

    What a payee has spent is not tried before they have as much again, and soon after that.
    """
    rows = await postgres.fetch(
        "SELECT payee_id, array_agg(paid_key) AS paid FROM (SELECT d.payee_id, d.paid_key FROM refunds_due d"
        " WHERE d.next_try_at <= clock_timestamp() AND (SELECT tokens FROM journal WHERE key = d.paid_key)"
        " <= (SELECT balance FROM wallets WHERE id = d.payee_id)"
        f" ORDER BY d.next_try_at LIMIT {MAX_REFUND}) d GROUP BY payee_id"
    )
    return [RefundsDue(row["payee_id"], [PostingKey(key.bytes) for key in row["paid"]]) for row in rows]


async def settle_refunds_due(postgres: Postgres, paid: Sequence[PostingKey]) -> None:
    """Forget those that are refunded; the others are tried again later. Raises StorageUnavailable."""
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
