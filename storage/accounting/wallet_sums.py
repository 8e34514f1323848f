"""The sums of one wallet's entries in a period, by what moved the tokens, with the balances before and after."""

import msgspec

from domain.billing.posting import Kind
from domain.ids import WalletId
from storage.ledger.statements import NumberRange, entries_between
from storage.postgres import Postgres


class StatementLine(msgspec.Struct, frozen=True, rename="camel"):
    """The entries of one kind and side: how many, and the sum of their tokens, negative for debits."""

    kind: str
    refund_of: str | None
    side: str
    count: int
    tokens: int


class WalletSums(msgspec.Struct, frozen=True, rename="camel"):
    """The balance before the first entry, the sums, and the balance after the last entry, all in tokens."""

    opening_balance: int
    closing_balance: int
    first_n: int
    last_n: int
    lines: list[StatementLine]


async def sum_entries(postgres: Postgres, wallet_id: WalletId, span: NumberRange) -> WalletSums:
    """Sum the entries of one wallet with numbers of a range, which must have been read from the wallet before.

    Takes about a second for each million of entries. Raises StorageUnavailable.
    """
    # Read the balances at both ends of the range.
    ends = await postgres.fetchrow(
        "SELECT coalesce(balance_after($1, $2::smallint[], $3), 0), coalesce(balance_after($1, $2::smallint[], $4), 0)",
        *(wallet_id, list(Kind), *span),
    )
    assert ends is not None, "functions return a row"
    # Sum the entries of the range by kind and side.
    rows = await postgres.fetch(_SUMS, wallet_id, list(Kind), *span)
    return WalletSums(
        opening_balance=ends[0],
        closing_balance=ends[1],
        first_n=span.low + 1,
        last_n=span.high,
        lines=[
            StatementLine(_name(row["kind"]), _name_or_none(row["refund_of"]), row["side"], row["count"], row["tokens"])
            for row in rows
        ],
    )


_SUMS = (
    "SELECT kind, refund_of, side, count(*) AS count, sum(tokens)::bigint AS tokens"
    f" FROM ({entries_between(('debit', 'credit'), '$3', '$4')}) e GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
)


def _name(kind: int) -> str:
    return Kind(kind).name.lower()


def _name_or_none(kind: int | None) -> str | None:
    return None if kind is None else _name(kind)
