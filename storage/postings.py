"""Postings to the arrays of the batch statement, and its one row back to receipts."""

from collections.abc import Sequence
from typing import Any

from domain.ids import PostingKey, RoomId, WalletId
from domain.posting import Kind, Outcome, Posting, Receipt
from storage.postgres import PgUUID, Row

APPLY = """
    SELECT status, debit_after, credit_after, debit_n, credit_n FROM apply_postings(
        $1::uuid[], $2::uuid[], $3::int[], $4::int[], $5::uuid[], $6::smallint[], $7::int[], $8::int[], $9::int[],
        $10::int[], $11::int[], $12::int[], $13::bigint[], $14::uuid[], $15::uuid[], $16::int[], $17::text[], $18)
"""

_OUTCOMES = tuple(Outcome)


def arguments(postings: Sequence[Posting], recheck: bool) -> tuple[Any, ...]:
    """The arguments of APPLY: what occurs several times in a batch is sent once, and named by its position."""
    wallets: dict[WalletId, int] = {}
    rooms: dict[RoomId, int] = {}
    meters: dict[tuple[int, int], int] = {}
    debit, credit, room, meter = [], [], [], []
    for posting in postings:
        d = wallets.setdefault(posting.debit, len(wallets) + 1)
        debit.append(d)
        credit.append(wallets.setdefault(posting.credit, len(wallets) + 1))
        r = 0 if posting.room_id is None else rooms.setdefault(posting.room_id, len(rooms) + 1)
        room.append(r)
        meter.append(meters.setdefault((r, d), len(meters) + 1) if posting.kind is Kind.BLOCK else 0)
    memos = [(i, posting.memo) for i, posting in enumerate(postings, 1) if posting.memo is not None]
    return (
        list(wallets),
        list(rooms),
        [r for r, _ in meters],
        [d for _, d in meters],
        [PgUUID(posting.key) for posting in postings],
        [posting.kind for posting in postings],
        debit,
        credit,
        room,
        [posting.epoch for posting in postings],
        meter,
        [posting.block_no for posting in postings],
        [posting.tokens for posting in postings],
        _sparse([posting.ref_id for posting in postings]),
        _sparse([None if posting.content is None else PgUUID(posting.content) for posting in postings]),
        [i for i, _ in memos],
        [memo for _, memo in memos],
        recheck,
    )


def receipts(postings: Sequence[Posting], row: Row) -> list[Receipt]:
    """What the batch statement answered, posting by posting."""
    columns = (row["status"], row["debit_after"], row["credit_after"], row["debit_n"], row["credit_n"])
    return [
        Receipt(posting, _OUTCOMES[status], debit_after, credit_after, debit_n, credit_n)
        for posting, status, debit_after, credit_after, debit_n, credit_n in zip(postings, *columns, strict=True)
    ]


def as_uuid(key: PostingKey) -> PgUUID:
    """A posting's key as the database stores it."""
    return PgUUID(key)


def _sparse(values: list[Any]) -> list[Any]:
    """An empty array where no posting has a value: reading past its end gives NULL, and nothing is sent."""
    return values if any(value is not None for value in values) else []
