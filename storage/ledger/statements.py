"""Wallet statements: the entries of one wallet in the order of their booking, filtered, one page at a time.

A posting is one entry in the wallet of its payer and one in that of its payee, numbered from 1 in each wallet. Entries
never change, so their numbers address pages: the indexes alone find the numbers, and then one page of rows is read.
Dates ascend with the numbers, so that a period is a range of numbers.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from domain.billing.posting import Kind
from domain.ids import ESCROW, LOSSES, PAYOUTS, PROMOTIONS, TOKEN_SALES, UserId
from domain.instant import rfc3339_of
from storage.paging import COUNT_LIMIT, BadCursor, Page, Paged
from storage.postgres import Postgres, Row

MAX_N = 2**31 - 1  # a wallet's posting number is an integer of four bytes

SYSTEM_WALLETS = {
    TOKEN_SALES: "token_sales",
    PROMOTIONS: "promotions",
    PAYOUTS: "payouts",
    LOSSES: "losses",
    ESCROW: "escrow",
}


class Entry(msgspec.Struct, frozen=True, rename="camel"):
    """One entry of a wallet's statement; `n` is its number, from 1."""

    n: int
    kind: str
    side: str  # "debit" or "credit"; the sign of `tokens` does not tell, since a block may cost 0
    tokens: int  # signed: positive for a credit, negative for a debit
    balance_after: int
    counterparty: str  # a user's id, or the name of a system wallet
    room_id: UUID | None
    block_no: int | None  # of a block, or of the refunded block
    ref_id: UUID | None  # of a tip, ticket, payout …, or of the refunded one
    refund_of: str | None  # the kind of the refunded posting: "block", "tip", "ticket" or "payout"
    memo: str | None
    at: str


class EntryFilter(msgspec.Struct, frozen=True):
    """Selects entries by kind, period, room and side; `since` is inclusive, `until` exclusive, None matches all."""

    kind: Kind | None = None
    since: datetime | None = None
    until: datetime | None = None
    room_id: UUID | None = None
    side: str | None = None  # "debit" or "credit"

    @property
    def sides(self) -> Sequence[str]:
        """The sides to read, one or both."""
        return ("debit", "credit") if self.side is None else (self.side,)

    @property
    def kinds(self) -> list[Kind]:
        """The kinds to read, one or all."""
        return list(Kind) if self.kind is None else [self.kind]


class NumberRange(NamedTuple):
    """A range of entry numbers of one wallet: above `low`, up to and including `high`."""

    low: int
    high: int

    def within(self, other: "NumberRange") -> "NumberRange":
        """Return the intersection with another range, which may be empty."""
        low = max(self.low, other.low)
        return NumberRange(low, max(low, min(self.high, other.high)))

    def before(self, cursor: str | None) -> "NumberRange":
        """Return the part that follows the page whose last entry the cursor names, newest first. Raises BadCursor."""
        return self if cursor is None else self.within(NumberRange(0, _cursor(cursor) - 1))


async def statement(postgres: Postgres, user_id: UserId, wanted: EntryFilter, page: Page) -> Paged[Entry]:
    """Return a page of a wallet's entries, newest first, of all rooms. Raises BadCursor, StorageUnavailable."""
    assert wanted.room_id is None, "the blocks of one room are read by storage/rooms/block_entries.py"
    if wanted.kind is None and wanted.side is None:
        return await _window(postgres, user_id, wanted, page)
    span = await find_range(postgres, user_id, wanted.since, wanted.until)
    return await search(postgres, user_id, wanted, span, page)


async def find_range(
    postgres: Postgres, user_id: UserId, since: datetime | None, until: datetime | None
) -> NumberRange:
    """Return the range of the entries that are in the wallet now and were booked in the period.

    Entries that are booked later are outside of the range, so that they do not shift its pages. The range is empty if
    there is no such wallet. Raises StorageUnavailable.
    """
    # Convert both dates into entry numbers.
    row = await postgres.fetchrow(_RANGE, user_id, list(Kind), since, until)
    return NumberRange(0, 0) if row is None else NumberRange(row["low"], max(row["low"], row["high"]))


_RANGE = (
    "SELECT CASE WHEN $3::timestamptz IS NULL THEN 0 ELSE entries_before(id, n, $2::smallint[], $3) END AS low,"
    " CASE WHEN $4::timestamptz IS NULL THEN n ELSE entries_before(id, n, $2::smallint[], $4) END AS high"
    " FROM wallets WHERE id = $1"
)


async def _window(postgres: Postgres, user_id: UserId, wanted: EntryFilter, page: Page) -> Paged[Entry]:
    """Return a page of all entries of a period: without a filter numbers have no gap, so the page is a range of them.

    One statement finds the period's range, as `find_range` does, and reads the page's part of it.
    """
    last = MAX_N if page.before is None else _cursor(page.before) - 1
    # Read the entries of the page, or one row without an entry if there is none.
    rows = await postgres.fetch(
        _WINDOW, *(user_id, wanted.kinds, wanted.since, wanted.until, last, page.offset, page.limit)
    )
    if not rows:  # there is no such wallet
        return entry_page([], 0, has_more=False)
    entries = [row for row in rows if row["n"] is not None]
    return entry_page(entries, rows[0]["total"], has_more=rows[0]["has_more"])


async def search(
    postgres: Postgres, user_id: UserId, wanted: EntryFilter, span: NumberRange, page: Page
) -> Paged[Entry]:
    """Return a page of the matching entries of a range, newest first. Raises BadCursor, StorageUnavailable."""
    numbers = await _numbers(postgres, user_id, wanted, span.before(page.before), page)
    shown = numbers[: page.limit]
    rows = await _rows(postgres, user_id, wanted, NumberRange(shown[-1] - 1, shown[0])) if shown else []
    return entry_page(rows, await _count(postgres, user_id, wanted, span), has_more=len(numbers) > page.limit)


async def _numbers(
    postgres: Postgres, user_id: UserId, wanted: EntryFilter, span: NumberRange, page: Page
) -> list[int]:
    """Return the numbers of the page's entries and of the entry after it."""
    reach = page.offset + page.limit + 1
    # Merge the newest matching numbers of each side and kind, and skip those before the page.
    rows = await postgres.fetch(
        f"SELECT n FROM {_NUMBERS} ORDER BY n DESC LIMIT $8 OFFSET $9",
        *(user_id, wanted.sides, wanted.kinds, *span, wanted.room_id, reach, page.limit + 1, page.offset),
    )
    return [row["n"] for row in rows]


async def _count(postgres: Postgres, user_id: UserId, wanted: EntryFilter, span: NumberRange) -> int:
    """Return the number of matching entries, at most COUNT_LIMIT + 1."""
    limit = COUNT_LIMIT + 1
    # Count the matching numbers in the indexes, up to the limit.
    rows = await postgres.fetch(
        f"SELECT count(*) FROM (SELECT FROM {_NUMBERS} LIMIT $7) c",
        *(user_id, wanted.sides, wanted.kinds, *span, wanted.room_id, limit),
    )
    return int(rows[0][0])


# The matching entry numbers: each side and kind reads its own index, newest first.
_NUMBERS = "unnest($2::text[]) side, unnest($3::smallint[]) kind, entry_numbers($1, side, kind, $4, $5, $6, $7) n"


async def _rows(postgres: Postgres, user_id: UserId, wanted: EntryFilter, span: NumberRange) -> list[Row]:
    """Return the matching entries of a range that holds no more than one page of them."""
    found = entries_between(wanted.sides, "$3", "$4", _in_room(wanted, "$5"))
    # Read the entries of both sides, newest first.
    return await postgres.fetch(
        f"SELECT * FROM ({found}) e ORDER BY n DESC", *(user_id, wanted.kinds, *span, *_room_args(wanted))
    )


def entries_between(sides: Sequence[str], low: str, high: str, more: str = "") -> str:
    """Return the SQL of the entries of both sides with numbers above `low` and up to `high`, in no order.

    $1 is the wallet and $2 the kinds. OFFSET 0 keeps the planner from merging the kinds: a few index lookups each,
    instead of a scan of the wallet.
    """
    return " UNION ALL ".join(
        f"SELECT h.* FROM unnest($2::smallint[]) k, LATERAL ({entries_of_side(side)} WHERE {side}_wallet = $1"
        f" AND kind = k AND {side}_n > {low} AND {side}_n <= {high}{more} OFFSET 0) h"
        for side in sides
    )


def _in_room(wanted: EntryFilter, parameter: str) -> str:
    return "" if wanted.room_id is None else f" AND room_id = {parameter}"


def _room_args(wanted: EntryFilter) -> list[UUID]:
    return [] if wanted.room_id is None else [wanted.room_id]


def entries_of_side(side: str) -> str:
    """Return a SELECT, without a WHERE, of postings as entries of one side: all columns that `entry_page` reads."""
    other, sign = ("credit", "-") if side == "debit" else ("debit", "")
    return (
        f"SELECT {side}_n AS n, '{side}' AS side, kind, {sign}tokens AS tokens, {side}_after AS balance_after,"
        f" {other}_wallet AS counterparty, room_id, ref_id, created_at, {of_refunded('kind')} AS refund_of,"
        f" coalesce(block_no, {of_refunded('block_no')}) AS block_no,"
        " (SELECT memo FROM memos WHERE posting_key = key) AS memo FROM journal"
    )


def of_refunded(column: str, posting: str = "journal") -> str:
    """Return the SQL of a column of the refunded posting, found by its key; NULL unless `posting` is a refund."""
    return f"CASE WHEN {posting}.kind = 6 THEN (SELECT o.{column} FROM journal o WHERE o.key = {posting}.content) END"


# The period's range; what of it precedes the cursor, up to `top`; and the part that the page shows.
_WINDOW = (
    f"SELECT e.*, s.high - s.low AS total, s.first > s.low AS has_more FROM ("
    "SELECT low, high, first, greatest(first, top - $6) AS last FROM ("
    "SELECT low, high, top, greatest(low, top - $6 - $7) AS first FROM ("
    "SELECT low, greatest(low, high) AS high, greatest(low, least(high, $5)) AS top FROM ("
    f"{_RANGE} OFFSET 0) r) b) f OFFSET 0) s"
    f" LEFT JOIN LATERAL ({entries_between(('debit', 'credit'), 's.first', 's.last')}) e ON true ORDER BY e.n DESC"
)


def entry_page(rows: list[Row], total: int, *, has_more: bool) -> Paged[Entry]:
    """Convert rows of `entries_of_side` into a page; the cursor of the next page is the last entry's number."""
    following = str(rows[-1]["n"]) if rows and has_more else None
    return Paged([_entry(row) for row in rows], min(total, COUNT_LIMIT), total > COUNT_LIMIT, following)


def _cursor(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) > MAX_N:
        raise BadCursor
    return int(text)


def _entry(row: Row) -> Entry:
    other = row["counterparty"]
    return Entry(
        n=row["n"],
        kind=Kind(row["kind"]).name.lower(),
        side=row["side"],
        tokens=row["tokens"],
        balance_after=row["balance_after"],
        counterparty=SYSTEM_WALLETS.get(other) or str(other),
        room_id=row["room_id"],
        block_no=row["block_no"],
        ref_id=row["ref_id"],
        refund_of=None if row["refund_of"] is None else Kind(row["refund_of"]).name.lower(),
        memo=row["memo"],
        at=rfc3339_of(row["created_at"]),
    )
