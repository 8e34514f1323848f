"""Paged lists, newest first: pages are addressed by offset, or by a cursor that new rows do not shift."""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from domain.instant import as_datetime, from_datetime
from storage.postgres import Postgres, Row

T = TypeVar("T")

COUNT_LIMIT = 10_000  # rows that are counted at most: counting more would cost more than the page itself


class BadCursor(ValueError):
    """A cursor that this server did not issue."""


class Cursor(NamedTuple):
    """The last row of the previous page: its time and its id. Clients treat the encoded form as opaque."""

    at: datetime
    id: UUID

    def encode(self) -> str:
        """Return the cursor as URL-safe base64 without padding: 8 bytes of microseconds, then 16 bytes of the id."""
        return base64.urlsafe_b64encode(from_datetime(self.at).to_bytes(8, "big") + self.id.bytes).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> "Cursor":
        """Return the cursor that `encode` encoded. Raises BadCursor."""
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            return cls(as_datetime(int.from_bytes(raw[:8], "big")), UUID(bytes=raw[8:]))
        except (binascii.Error, ValueError, OverflowError) as error:
            raise BadCursor from error


class Page(NamedTuple):
    """A requested page: `limit` rows from `offset` on, or those that follow the cursor `before`."""

    limit: int = 20
    offset: int = 0
    before: str | None = None


class Paged(NamedTuple, Generic[T]):
    """One page, the number of rows in the list (at most COUNT_LIMIT), and the cursor of the next page, if any."""

    items: list[T]
    total: int
    total_capped: bool
    next_before: str | None


def all_of(args: list[Any], *comparisons: tuple[str, object]) -> str:
    """Return the SQL of all comparisons whose value is not None, or "true" if there is none.

    Each is the left side with its operator, such as "p.user_id =", and the value, which is appended to `args`.
    """
    given = [(left, value) for left, value in comparisons if value is not None]
    first = len(args) + 1
    args.extend(value for _, value in given)
    return " AND ".join(f"{left} ${number}" for number, (left, _) in enumerate(given, first)) or "true"


class Listing(NamedTuple):
    """The SQL of a list that can be paged: its columns, its tables, and the two columns that order it.

    `id` is unique in the table, since the rows of a page are read by it.

    Rows are found in `table` alone. The rows of one page are then read from `source`, which joins related rows by
    their keys: in one query, the planner would scan and hash whole tables for a page of a hundred rows.
    """

    columns: str
    source: str
    table: str
    at: str
    id: str

    async def page(
        self,
        postgres: Postgres,
        page: Page,
        conditions: Sequence[str],
        args: list[Any],
        read_row: Callable[[Row], T],
    ) -> Paged[T]:
        """Return one page of the rows that meet any of `conditions`, each converted by `read_row`.

        A row has the columns of the list and, behind them, those of its key and of the total. The conditions are SQL,
        exclude each other, and should have an index each. All of them share the numbered parameters `args`. Raises
        BadCursor, StorageUnavailable.
        """
        total = self._total(conditions)
        at_start, all_args = page.before is None, args
        if page.before is not None:
            args = [*args, *Cursor.decode(page.before)]
            after_cursor = f" AND ({self.at}, {self.id}) < (${len(args) - 1}, ${len(args)})"
            conditions = [condition + after_cursor for condition in conditions]
        # Find the keys of the page and of the row after it, then read the rows, and count all if more may follow.
        rows = await postgres.fetch(self._page(page, conditions, total, at_start), *args)
        if rows:
            *_, key_at, key_id, counted = rows[min(len(rows), page.limit) - 1]
        elif at_start and page.offset == 0:
            counted = 0
        else:
            # Count the rows, since the page is behind the last one.
            counted = (await postgres.fetch(f"SELECT {total}", *all_args))[0][0]
        following = Cursor(key_at, key_id).encode() if len(rows) > page.limit else None
        items = [read_row(row) for row in rows[: page.limit]]
        return Paged(items, min(counted, COUNT_LIMIT), counted > COUNT_LIMIT, following)

    def _page(self, page: Page, conditions: Sequence[str], total: str, at_start: bool) -> str:
        """Return the SQL of a page: its rows, with the key of each and the total behind their columns.

        OFFSET 0 keeps the planner from joining the tables before the keys are found. A page from the start that is
        the last one has its total from its own rows.
        """
        until = page.offset + page.limit + 1
        is_last = f"(SELECT count(*) FROM keys) <= {page.limit}" if at_start else "false"
        return (
            f"WITH keys AS MATERIALIZED (SELECT at, id FROM ({self._newest(conditions, until)}) w"
            f" ORDER BY at DESC, id DESC LIMIT {page.limit + 1} OFFSET {page.offset})"
            " SELECT r.*, k.at AS key_at, k.id AS key_id,"
            f" CASE WHEN {is_last} THEN {page.offset} + (SELECT count(*) FROM keys) ELSE {total} END AS total"
            f" FROM keys k, LATERAL (SELECT {self.columns} FROM {self.source} WHERE {self.id} = k.id OFFSET 0) r"
            " ORDER BY k.at DESC, k.id DESC"
        )

    def _total(self, conditions: Sequence[str]) -> str:
        """Return the SQL of the number of rows, counted up to one more than COUNT_LIMIT."""
        limit = COUNT_LIMIT + 1
        return f"(SELECT count(*) FROM (SELECT FROM ({self._newest(conditions, limit)}) w LIMIT {limit}) c)"

    def _newest(self, conditions: Sequence[str], limit: int) -> str:
        """Return the SQL of the newest `limit` rows of each condition; each condition reads its own index in order."""
        return " UNION ALL ".join(
            f"(SELECT {self.at} AS at, {self.id} AS id FROM {self.table} WHERE {condition}"
            f" ORDER BY {self.at} DESC, {self.id} DESC LIMIT {limit})"
            for condition in conditions
        )
