"""Refunds: finds the postings of a tip, a ticket, a call or a viewing session, and the statement that refunds them.

`batch.py` holds the statement of ordinary postings.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from domain.billing.posting import Kind, Receipt
from domain.ids import CallId, PostingKey, RoomId, UserId, block_key, refund_key, refund_rest_key
from storage.ledger.batch import DecidedBatch, as_postings, as_uuid
from storage.postgres import Postgres, Row

# Refund postings of one payee; the arrays describe the postings that were booked, and the last columns sum them up.
REFUND = """
    SELECT key, kind, content, debit, credit, room, tokens, ref, status, debit_after, credit_after, debit_n, credit_n,
           uncovered, missing
      FROM refund_postings($1::uuid[], $2::uuid[], $3::uuid[], $4, $5, $6, $7)
"""
# Release tickets of a stream from escrow to its creator.
RELEASE = """
    SELECT key, kind, content, debit, credit, room, tokens, ref, status, debit_after, credit_after, debit_n, credit_n,
           released
      FROM release_tickets($1, $2, $3)
"""
MAX_REFUND = 128  # postings that one statement refunds; a refund may be several postings, and others wait meanwhile
POSTING_COLUMNS, OUTCOME_COLUMNS = 8, 5  # the first columns of both rows; the rest differ


class Advance(msgspec.Struct, frozen=True):
    """An operator's permission that `losses` pays what a payee cannot cover; the payee owes it from then on."""

    operator_id: UserId
    most_tokens: int | None  # limit of all advances of a UTC day; None: the operator has confirmed to exceed it


class Refunded(NamedTuple):
    """The result of a refund."""

    receipts: list[Receipt]  # of the refunds of the requested postings; ALREADY for those that were made earlier
    uncovered: int = 0  # postings that the payee could not cover and that were not advanced
    missing: int = 0  # tokens by which the advance would exceed its limit: nothing was refunded then


def refund_arguments(paid: Sequence[PostingKey], reason: str, advance: Advance | None) -> tuple[Any, ...]:
    """Return the arguments of REFUND: each posting's key with the keys of its refund and of the advanced rest."""
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
    """Read the row of REFUND or RELEASE: the postings that the statement made, and their outcomes."""
    columns = [column or [] for column in tuple(row)[: POSTING_COLUMNS + OUTCOME_COLUMNS]]
    postings = as_postings(*columns[:POSTING_COLUMNS])
    refs = columns[POSTING_COLUMNS - 1]
    return DecidedBatch(postings, (*columns[POSTING_COLUMNS:], refs, None, None), seconds)


def statement_figures(row: Row) -> Sequence[int | None]:
    """Return the last columns of the row: `uncovered` and `missing` of REFUND, or `released` of RELEASE."""
    return tuple(row)[POSTING_COLUMNS + OUTCOME_COLUMNS :]


async def find_paid(postgres: Postgres, kind: Kind, ref_id: UUID) -> list[PostingKey]:
    """Return the key of the posting of the tip or ticket with this id; empty if there is none.

    Raises StorageUnavailable.
    """
    # Find the posting by its id; the list of kinds makes the partial index usable.
    rows = await postgres.fetch(
        "SELECT key FROM journal WHERE kind IN (2, 3) AND ref_id = $1 AND kind = $2", ref_id, kind
    )
    return [PostingKey(row["key"].bytes) for row in rows]


async def find_paid_in_call(postgres: Postgres, call_id: CallId) -> list[PostingKey]:
    """Return the keys of all blocks of a call, in order; empty if there is no such call. Raises StorageUnavailable."""
    # Read the payer of the call.
    fan = await postgres.fetchrow("SELECT fan_id FROM calls WHERE id = $1", call_id)
    return [] if fan is None else await _blocks(postgres, call_id, fan["fan_id"])


async def find_paid_in_stream(postgres: Postgres, stream_id: RoomId, viewer: UserId) -> list[PostingKey]:
    """Return the keys of a viewer's tickets to a stream, oldest first, and then of the viewer's blocks in it.

    All tickets but the last are refunded already. Empty if there is no such stream. Raises StorageUnavailable.
    """
    # Check that the room is a stream.
    if await postgres.fetchrow("SELECT FROM streams WHERE id = $1", stream_id) is None:
        return []
    # Read the viewer's tickets to this stream from the payer's index.
    tickets = await postgres.fetch(
        "SELECT key FROM journal WHERE debit_wallet = $1 AND kind = 3 AND room_id = $2 ORDER BY debit_n",
        *(viewer, stream_id),
    )
    return [PostingKey(row["key"].bytes) for row in tickets] + await _blocks(postgres, stream_id, viewer)


async def find_parties(postgres: Postgres, keys: Sequence[PostingKey]) -> set[UserId]:
    """Return the payers and payees of these postings, and the creators whose tickets are in escrow.

    Raises StorageUnavailable.
    """
    # Collect payer, payee and the stream's creator of each posting.
    rows = await postgres.fetch(
        "SELECT DISTINCT unnest(ARRAY[j.debit_wallet, j.credit_wallet,"
        " (SELECT s.creator_id FROM streams s WHERE s.id = j.room_id)]) AS id FROM journal j"
        " WHERE j.key = ANY($1::uuid[])",
        list(map(as_uuid, keys)),
    )
    return {UserId(row["id"]) for row in rows}


async def booked_by(postgres: Postgres, keys: Sequence[PostingKey], moment: datetime) -> list[PostingKey]:
    """Return those of the keys whose postings were booked at or before `moment`, in their order.

    Raises StorageUnavailable.
    """
    # Read which of the postings exist and are old enough.
    rows = await postgres.fetch(
        "SELECT key FROM journal WHERE key = ANY($1::uuid[]) AND created_at <= $2", list(map(as_uuid, keys)), moment
    )
    booked = {row["key"].bytes for row in rows}
    return [key for key in keys if key in booked]


async def _blocks(postgres: Postgres, room_id: RoomId, payer: UserId) -> list[PostingKey]:
    """Return the keys of a payer's blocks in a room, which are derived from the number of the last one."""
    # Read the number of the last block.
    meter = await postgres.fetchrow(
        "SELECT last_block FROM meters WHERE room_id = $1 AND payer_id = $2", room_id, payer
    )
    return [] if meter is None else [block_key(room_id, payer, n) for n in range(1, meter["last_block"] + 1)]
