"""What was paid for a tip, a ticket, a call or a stay, and the statement that gives it back."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from domain.billing.posting import Kind, Receipt
from domain.ids import CallId, PostingKey, RoomId, UserId, block_key, refund_key, refund_rest_key
from storage.ledger.batch import DecidedBatch, as_postings, as_uuid
from storage.postgres import Postgres, Row

REFUND = """
    SELECT key, kind, content, debit, credit, room, tokens, ref, status, debit_after, credit_after, debit_n, credit_n,
           uncovered, missing
      FROM refund_postings($1::uuid[], $2::uuid[], $3::uuid[], $4, $5, $6, $7)
"""
RELEASE = """
    SELECT key, kind, content, debit, credit, room, tokens, ref, status, debit_after, credit_after, debit_n, credit_n,
           released
      FROM release_tickets($1, $2, $3)
"""
MAX_REFUND = 128  # postings given back by one statement; each may take several, and other postings wait as long
POSTING_COLUMNS, OUTCOME_COLUMNS = 8, 5  # of both rows; what follows is each statement's own


class Advance(msgspec.Struct, frozen=True):
    """An operator lets `losses` pay what a payee cannot give back, which stays the payee's debt."""

    operator_id: UserId
    most_tokens: int | None  # the limit of a UTC day; None: the operator has confirmed that it may be more


class Refunded(NamedTuple):
    """What came of a refund."""

    receipts: list[Receipt]  # of all refunds of what was asked for; those that were made before are ALREADY
    uncovered: int = 0  # how many the payee could not cover, and nobody advanced
    missing: int = 0  # tokens that `losses` would have had to advance beyond its limit: nothing was given back


def refund_arguments(paid: Sequence[PostingKey], reason: str, advance: Advance | None) -> tuple[Any, ...]:
    """The arguments of REFUND."""
    return (
        [as_uuid(key) for key in paid],
        [as_uuid(refund_key(key)) for key in paid],
        [as_uuid(refund_rest_key(key)) for key in paid],
        reason,
        advance is not None,
        None if advance is None else advance.most_tokens,
        None if advance is None else advance.operator_id,
    )


def decided_refund(row: Row, seconds: float) -> DecidedBatch:
    """The row of REFUND or RELEASE as what was decided of postings that nobody had to send."""
    columns = [column or [] for column in tuple(row)[: POSTING_COLUMNS + OUTCOME_COLUMNS]]
    postings = as_postings(*columns[:POSTING_COLUMNS])
    refs = columns[POSTING_COLUMNS - 1]
    return DecidedBatch(postings, (*columns[POSTING_COLUMNS:], refs, None, None), seconds)


def statement_figures(row: Row) -> Sequence[int | None]:
    """The statement's own figures, behind what was booked."""
    return tuple(row)[POSTING_COLUMNS + OUTCOME_COLUMNS :]


async def find_paid(postgres: Postgres, kind: Kind, ref_id: UUID) -> list[PostingKey]:
    """What was paid for the tip or ticket of this id; nothing if there is none."""
    rows = await postgres.fetch(
        "SELECT key FROM journal WHERE kind IN (2, 3) AND ref_id = $1 AND kind = $2", ref_id, kind
    )
    return [PostingKey(row["key"].bytes) for row in rows]


async def find_paid_in_call(postgres: Postgres, call_id: CallId) -> list[PostingKey]:
    """The blocks of a call."""
    fan = await postgres.fetchrow("SELECT fan_id FROM calls WHERE id = $1", call_id)
    return [] if fan is None else await _blocks(postgres, call_id, fan["fan_id"])


async def find_paid_in_stream(postgres: Postgres, stream_id: RoomId, viewer: UserId) -> list[PostingKey]:
    """A viewer's tickets to a stream, of which at most the last is not given back yet, and their blocks in it."""
    if await postgres.fetchrow("SELECT FROM streams WHERE id = $1", stream_id) is None:
        return []
    tickets = await postgres.fetch(
        "SELECT key FROM journal WHERE debit_wallet = $1 AND kind = 3 AND room_id = $2 ORDER BY debit_n",
        *(viewer, stream_id),
    )
    return [PostingKey(row["key"].bytes) for row in tickets] + await _blocks(postgres, stream_id, viewer)


async def find_parties(postgres: Postgres, keys: Sequence[PostingKey]) -> set[UserId]:
    """Who paid under these keys, and who was or will be paid: also the creator whose ticket is in escrow."""
    rows = await postgres.fetch(
        "SELECT DISTINCT unnest(ARRAY[j.debit_wallet, j.credit_wallet,"
        " (SELECT s.creator_id FROM streams s WHERE s.id = j.room_id)]) AS id FROM journal j"
        " WHERE j.key = ANY($1::uuid[])",
        list(map(as_uuid, keys)),
    )
    return {UserId(row["id"]) for row in rows}


async def booked_by(postgres: Postgres, keys: Sequence[PostingKey], moment: datetime) -> list[PostingKey]:
    """Those of these postings that were booked up to a moment, in their order."""
    rows = await postgres.fetch(
        "SELECT key FROM journal WHERE key = ANY($1::uuid[]) AND created_at <= $2", list(map(as_uuid, keys)), moment
    )
    booked = {row["key"].bytes for row in rows}
    return [key for key in keys if key in booked]


async def _blocks(postgres: Postgres, room_id: RoomId, payer: UserId) -> list[PostingKey]:
    """By their keys, which can be derived."""
    meter = await postgres.fetchrow(
        "SELECT last_block FROM meters WHERE room_id = $1 AND payer_id = $2", room_id, payer
    )
    return [] if meter is None else [block_key(room_id, payer, n) for n in range(1, meter["last_block"] + 1)]
