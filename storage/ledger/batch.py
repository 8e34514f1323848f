"""The batch statement: converts postings into its array parameters, and its one result row into receipts.

`refunds.py` does the same for the refund and release statements.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from operator import attrgetter
from typing import Any

from domain.billing.posting import Kind, Outcome, Posting, Receipt
from domain.ids import PostingKey
from storage.database_errors import StatementRefused
from storage.postgres import PgUUID, Row

# Book a batch of postings; columns are arrays with one element for each posting.
APPLY = """
    SELECT status, debit_after, credit_after, debit_n, credit_n, first_ref, day_limit, day_spent, more_key, more_kind,
           more_content, more_debit, more_credit, more_room, more_tokens, more_ref
      FROM apply_postings(
        $1::uuid[], $2::uuid[], $3::smallint[], $4::int[], $5::int[], $6::uuid[], $7::int[], $8::int[], $9::bigint[],
        $10::uuid[], $11::uuid[], $12::int[], $13::text[], $14, $15::uuid[])
"""
OUTCOME_COLUMNS = 8  # the first columns of the row; the others describe postings that the statement added

_OUTCOMES = tuple(Outcome)
_bytes = attrgetter("bytes")


def batch_arguments(postings: Sequence[Posting], careful: bool) -> tuple[Any, ...]:
    """Return the arguments of APPLY. Each wallet is sent once, and postings refer to it by its position, from 1.

    `careful` makes the statement look up all keys and decide posting by posting. An array without any value is sent
    empty: reading past its end yields NULL.
    """
    payers = [posting.debit for posting in postings]
    payees = [posting.credit for posting in postings]
    wallets = sorted({*payers, *payees}, key=_bytes)  # in the database's order of UUIDs
    position = {wallet: i for i, wallet in enumerate(wallets, 1)}
    kinds = [posting.kind for posting in postings]
    memos = [(i, posting.memo) for i, posting in enumerate(postings, 1) if posting.memo is not None]
    return (
        wallets,
        [PgUUID(posting.key) for posting in postings],
        [] if set(kinds) == {Kind.BLOCK} else kinds,
        [position[payer] for payer in payers],
        [position[payee] for payee in payees],
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
    """The postings of one statement, their outcomes, and its duration in seconds.

    `row` holds one column a field of Receipt; None if the database refused the statement permanently. The first `sent`
    postings were sent by callers and have a receipt; the statement itself added the others, such as repaid debts.
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
        """Whether the statement was committed; False only for a single posting that the database refuses."""
        return self._row is not None

    @property
    def replies(self) -> list[Receipt]:
        """The receipts of the postings that were sent."""
        return self.receipts[: self._sent]

    @cached_property
    def receipts(self) -> list[Receipt]:
        """The receipts of all postings, built at first access, which may be while the next batch is in flight."""
        if self._row is None:
            return [Receipt(posting, Outcome.INVALID) for posting in self._postings]
        # A column that only the careful way fills is NULL otherwise, and is shorter than the list with added postings.
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
    """Read the row of APPLY: the outcomes of the postings that were sent, and the postings that it added."""
    outcome, added = tuple(row)[:OUTCOME_COLUMNS], tuple(row)[OUTCOME_COLUMNS:]
    if added[0] is None:  # the usual case: none was added
        return DecidedBatch(postings, outcome, seconds)
    return DecidedBatch([*postings, *as_postings(*added)], outcome, seconds, sent=len(postings))


def as_postings(
    keys: Any, kinds: Any, contents: Any, debits: Any, credits: Any, rooms: Any, tokens: Any, refs: Any
) -> list[Posting]:
    """Build the postings that a statement made itself, from its array columns."""
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
    """Return whether the batch must be sent again with `careful`.

    So it must after a used key, an outdated epoch, a missing block or a second ticket: HM005 or a unique violation.
    """
    return refused.duplicate or refused.sqlstate == "HM005"


def as_uuid(key: PostingKey) -> PgUUID:
    """Convert a posting's key into the UUID that the database stores."""
    return PgUUID(key)


def _depend_on_each_other(postings: Sequence[Posting]) -> bool:
    """Return whether one payer has several blocks, or several tickets, in the same room in this batch.

    Blocks accumulate so while the database is unavailable.
    """
    if len({posting.debit for posting in postings}) == len(postings):
        return False
    in_order = (Kind.BLOCK, Kind.TICKET)
    series = [(posting.kind, posting.room_id, posting.debit) for posting in postings if posting.kind in in_order]
    return len(set(series)) < len(series)


def _sparse(values: list[Any]) -> list[Any]:
    return values if any(value is not None for value in values) else []
