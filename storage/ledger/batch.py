"""Postings to the arrays of the batch statement, and its one row back to receipts."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from operator import attrgetter
from typing import Any

from domain.billing.posting import Kind, Outcome, Posting, Receipt
from domain.ids import PostingKey
from storage.postgres import PgUUID, Row, StatementRefused

APPLY = """
    SELECT status, debit_after, credit_after, debit_n, credit_n, first_ref, day_limit, day_spent, more_key, more_kind,
           more_content, more_debit, more_credit, more_room, more_tokens, more_ref
      FROM apply_postings(
        $1::uuid[], $2::uuid[], $3::smallint[], $4::int[], $5::int[], $6::uuid[], $7::int[], $8::int[], $9::bigint[],
        $10::uuid[], $11::uuid[], $12::int[], $13::text[], $14, $15::uuid[])
"""
OUTCOME_COLUMNS = 8  # of the statement's row; the others describe postings that it added

_OUTCOMES = tuple(Outcome)
_bytes = attrgetter("bytes")


def batch_arguments(postings: Sequence[Posting], careful: bool) -> tuple[Any, ...]:
    """The arguments of APPLY: a wallet that occurs several times in a batch is sent once, and named by its position.

    An array that no posting has a value for is sent empty: reading past its end gives NULL.
    """
    payers = [posting.debit for posting in postings]
    payees = [posting.credit for posting in postings]
    wallets = sorted({*payers, *payees}, key=_bytes)  # as the database sorts them
    place = {wallet: i for i, wallet in enumerate(wallets, 1)}
    kinds = [posting.kind for posting in postings]
    memos = [(i, posting.memo) for i, posting in enumerate(postings, 1) if posting.memo is not None]
    return (
        wallets,
        [PgUUID(posting.key) for posting in postings],
        [] if set(kinds) == {Kind.BLOCK} else kinds,
        [place[payer] for payer in payers],
        [place[payee] for payee in payees],
        [posting.room_id for posting in postings],
        [posting.epoch for posting in postings],
        [posting.block_no or 0 for posting in postings],
        [posting.tokens for posting in postings],
        _sparse([posting.ref_id for posting in postings]),
        _sparse([None if posting.content is None else PgUUID(posting.content) for posting in postings]),
        [i for i, _ in memos],
        [memo for _, memo in memos],
        careful or _depend_on_each_other(postings),
        _sparse([posting.operator_id for posting in postings]),
    )


class DecidedBatch:
    """Postings that one statement decided, and how long it took; `row` is its answer, None if there can be none.

    `sent` of them were sent, and have a receipt to hand out; the statement added the others, which follow from these.
    """

    def __init__(
        self, postings: Sequence[Posting], row: Iterable[Any] | None, seconds: float, sent: int | None = None
    ) -> None:
        self._postings = postings
        self._row = row
        self.seconds = seconds
        self._sent = len(postings) if sent is None else sent

    @property
    def carried_out(self) -> bool:
        """Not if there was a posting, then alone, that no statement can carry out."""
        return self._row is not None

    @property
    def replies(self) -> list[Receipt]:
        """The receipts of the postings that were sent."""
        return self.receipts[: self._sent]

    @cached_property
    def receipts(self) -> list[Receipt]:
        """What came of each posting. Made when asked for, which can be while the next batch is under way."""
        if self._row is None:
            return [Receipt(posting, Outcome.INVALID) for posting in self._postings]
        # What is only looked up with care is NULL where no care was needed, and ends before what the statement added.
        nothing = [None] * len(self._postings)
        return [
            Receipt(
                posting,
                _OUTCOMES[outcome],
                debit_after,
                credit_after,
                debit_n,
                credit_n,
                first_ref if outcome else posting.ref_id,
                day_limit,
                day_spent,
            )
            for posting, outcome, debit_after, credit_after, debit_n, credit_n, first_ref, day_limit, day_spent in zip(
                self._postings,
                *((column or nothing) + nothing[len(column or nothing) :] for column in self._row),
                strict=True,
            )
        ]


def decided_batch(postings: Sequence[Posting], row: Row, seconds: float) -> DecidedBatch:
    """The row of APPLY: what was sent, and what the statement added."""
    outcome, added = tuple(row)[:OUTCOME_COLUMNS], tuple(row)[OUTCOME_COLUMNS:]
    if added[0] is None:  # as nearly always
        return DecidedBatch(postings, outcome, seconds)
    return DecidedBatch([*postings, *as_postings(*added)], outcome, seconds, sent=len(postings))


def as_postings(
    keys: Any, kinds: Any, contents: Any, debits: Any, credits: Any, rooms: Any, tokens: Any, refs: Any
) -> list[Posting]:
    """Postings that a statement made, from its columns."""
    return [
        Posting(
            key=PostingKey(key.bytes),
            kind=Kind(kind),
            debit=debit,
            credit=credit,
            tokens=amount,
            room_id=room,
            ref_id=ref,
            content=content.bytes,
        )
        for key, kind, content, debit, credit, room, amount, ref in zip(
            keys, kinds, contents, debits, credits, rooms, tokens, refs, strict=True
        )
    ]


def needs_care(refused: StatementRefused) -> bool:
    """A key was used before, a room has a later owner, a block is missing, somebody has the ticket: it takes care."""
    return refused.duplicate or refused.sqlstate == "HM005"


def as_uuid(key: PostingKey) -> PgUUID:
    """A posting's key as the database stores it."""
    return PgUUID(key)


def _depend_on_each_other(postings: Sequence[Posting]) -> bool:
    """Several blocks of one payer in one room, as they gather while the database is away; or several tickets."""
    if len({posting.debit for posting in postings}) == len(postings):
        return False
    in_order = (Kind.BLOCK, Kind.TICKET)
    places = [(posting.kind, posting.room_id, posting.debit) for posting in postings if posting.kind in in_order]
    return len(set(places)) < len(places)


def _sparse(values: list[Any]) -> list[Any]:
    return values if any(value is not None for value in values) else []
