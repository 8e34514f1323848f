"""Wallets and their statements, as they are read; only the storage actor writes them."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from domain.ids import LOSSES, PAYOUTS, PROMOTIONS, TOKEN_SALES, UserId
from domain.instant import from_datetime, rfc3339
from domain.meter import Funds
from domain.posting import Kind
from storage.paging import COUNT_LIMIT, BadCursor, Page, Paged
from storage.postgres import Postgres, Row

MAX_N = 2**31 - 1  # a wallet's posting number is an integer of four bytes

_SYSTEM = {TOKEN_SALES: "token_sales", PROMOTIONS: "promotions", PAYOUTS: "payouts", LOSSES: "losses"}


class Wallet(msgspec.Struct, frozen=True, rename="camel"):
    balance: int
    lifetime_earned: int
    lifetime_spent: int
    n: int = msgspec.field(default=0, name="entries")

    @property
    def funds(self) -> Funds:
        return Funds(self.balance, self.n)


class Entry(msgspec.Struct, frozen=True, rename="camel"):
    """One line of a wallet's statement; `n` is its place in it."""

    n: int
    kind: str
    side: str  # "debit" or "credit": a block may cost 0, and then `tokens` does not say it
    tokens: int  # signed: what the wallet gained or lost
    balance_after: int
    counterparty: str  # a user's id, or the name of a system wallet
    room_id: UUID | None
    block_no: int | None
    ref_id: UUID | None
    memo: str | None
    at: str


class EntryFilter(msgspec.Struct, frozen=True):
    """Which entries: of one kind, from a moment on, before a moment, of one room, as payer or as payee."""

    kind: Kind | None = None
    since: datetime | None = None
    until: datetime | None = None
    room_id: UUID | None = None
    side: str | None = None  # "debit" or "credit"


async def find_wallet(postgres: Postgres, user_id: UserId) -> Wallet | None:
    row = await postgres.fetchrow(
        "SELECT balance, lifetime_earned, lifetime_spent, n FROM wallets WHERE id = $1", user_id
    )
    return None if row is None else Wallet(*row)


async def statement(postgres: Postgres, user_id: UserId, wanted: EntryFilter, page: Page) -> Paged[Entry]:
    """A page of a wallet's entries in the order in which they were booked, newest first. Raises BadCursor.

    Without a filter any page costs the same: an entry's number is its address.
    """
    wallet = await find_wallet(postgres, user_id)
    last = wallet.n if wallet is not None else 0
    before = last + 1 if page.before is None else _cursor(page.before)
    if wanted == EntryFilter():
        rows = await _window(postgres, user_id, before - 1 - page.offset, page.limit)
        total = last
        more = before - 1 - page.offset > page.limit
    else:
        rows = await _search(postgres, user_id, wanted, before, page)
        more = len(rows) > page.limit
        rows, total = rows[: page.limit], await _count(postgres, user_id, wanted)
    following = str(rows[-1]["n"]) if rows and more else None
    return Paged([_entry(row) for row in rows], min(total, COUNT_LIMIT), total > COUNT_LIMIT, following)


async def _window(postgres: Postgres, user_id: UserId, last: int, limit: int) -> list[Row]:
    # Both halves by number: the entries of this wallet as payer and as payee, which together have no hole.
    return await postgres.fetch(
        f"SELECT * FROM ({_half('debit')} AND debit_n > $2 AND debit_n <= $3"
        f" UNION ALL {_half('credit')} AND credit_n > $2 AND credit_n <= $3) e ORDER BY n DESC",
        user_id,
        max(0, last - limit),
        max(0, last),
    )


async def _search(postgres: Postgres, user_id: UserId, wanted: EntryFilter, before: int, page: Page) -> list[Row]:
    reach = page.offset + page.limit + 1
    halves, args = _filtered(user_id, wanted)
    args.append(before)
    # Each half walks its own index from the newest entry and stops once it has enough for the page.
    limited = " UNION ALL ".join(
        f"(SELECT * FROM ({half}) h WHERE n < ${len(args)} ORDER BY n DESC LIMIT {reach})" for half in halves
    )
    return await postgres.fetch(
        f"SELECT * FROM ({limited}) e ORDER BY n DESC LIMIT {page.limit + 1} OFFSET {page.offset}", *args
    )


async def _count(postgres: Postgres, user_id: UserId, wanted: EntryFilter) -> int:
    halves, args = _filtered(user_id, wanted)
    together = " UNION ALL ".join(halves)
    rows = await postgres.fetch(f"SELECT count(*) FROM ({together} LIMIT {COUNT_LIMIT + 1}) c", *args)
    return int(rows[0][0])


def _filtered(user_id: UserId, wanted: EntryFilter) -> tuple[list[str], list[Any]]:
    conditions = {
        "kind = ": wanted.kind,
        "created_at >= ": wanted.since,
        "created_at < ": wanted.until,
        "room_id = ": wanted.room_id,
    }
    given = [(condition, value) for condition, value in conditions.items() if value is not None]
    more = "".join(f" AND {condition}${i}" for i, (condition, _) in enumerate(given, 2))
    sides = ("debit", "credit") if wanted.side is None else (wanted.side,)
    return [_half(side) + more for side in sides], [user_id, *(value for _, value in given)]


def _half(side: str) -> str:
    other, sign = ("credit", "-") if side == "debit" else ("debit", "")
    return (
        f"SELECT {side}_n AS n, '{side}' AS side, kind, {sign}tokens AS tokens, {side}_after AS balance_after,"
        f" {other}_wallet AS counterparty, room_id, block_no, ref_id, created_at,"
        f" (SELECT memo FROM memos WHERE posting_key = key) AS memo FROM journal WHERE {side}_wallet = $1"
    )


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
        counterparty=_SYSTEM.get(other) or str(other),
        room_id=row["room_id"],
        block_no=row["block_no"],
        ref_id=row["ref_id"],
        memo=row["memo"],
        at=rfc3339(from_datetime(row["created_at"])),
    )
