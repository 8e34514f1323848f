"""What was paid for a tip, a ticket, a call or a stay, and the statement that gives it back."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from domain.ids import CallId, PostingKey, RoomId, UserId, block_key, refund_key, refund_rest_key
from domain.posting import Kind, Posting
from storage.postgres import PgUUID, Postgres, Row
from storage.postings import Decided

REFUND = """
    SELECT key, content, debit, credit, room, tokens, ref, status, debit_after, credit_after, debit_n, credit_n
      FROM refund_postings($1::uuid[], $2::uuid[], $3::uuid[], $4)
"""
MAX_REFUND = 128  # postings given back by one statement; each may take two, and other postings wait as long


def arguments(paid: Sequence[PostingKey], reason: str) -> tuple[Any, ...]:
    """The arguments of REFUND."""
    return (
        [PgUUID(key) for key in paid],
        [PgUUID(refund_key(key)) for key in paid],
        [PgUUID(refund_rest_key(key)) for key in paid],
        reason,
    )


def decided(row: Row, reason: str, seconds: float) -> Decided:
    """The row of REFUND as what was decided of postings that nobody had to send."""
    keys, contents, debits, credits, rooms, tokens, refs, *outcome = (column or [] for column in row)
    postings = [
        Posting(
            key=PostingKey(key.bytes),
            kind=Kind.REFUND,
            debit=debit,
            credit=credit,
            tokens=amount,
            room_id=room,
            ref_id=ref,
            content=content.bytes,
            memo=reason,
        )
        for key, content, debit, credit, room, amount, ref in zip(
            keys, contents, debits, credits, rooms, tokens, refs, strict=True
        )
    ]
    return Decided(postings, (*outcome, refs, None, None), seconds)


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
    """A viewer's blocks in a stream, and the ticket to it that they have or had last."""
    rows = await postgres.fetch(
        "SELECT posting_key FROM stream_tickets WHERE stream_id = $1 AND user_id = $2", stream_id, viewer
    )
    return [
        *[PostingKey(row["posting_key"].bytes) for row in rows],
        *await _blocks(postgres, stream_id, viewer),
    ]


async def _blocks(postgres: Postgres, room_id: RoomId, payer: UserId) -> list[PostingKey]:
    """By their keys, which can be derived."""
    meter = await postgres.fetchrow(
        "SELECT last_block FROM meters WHERE room_id = $1 AND payer_id = $2", room_id, payer
    )
    return [] if meter is None else [block_key(room_id, payer, n) for n in range(1, meter["last_block"] + 1)]
