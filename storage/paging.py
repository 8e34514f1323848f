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


class Listing(NamedTuple):
    """The SQL of a list that can be paged: its columns, its tables, and the two columns that order it.

    Rows are found in `table` alone. The rows of one page are then read from `source`, which joins related rows by
    their keys: in one query, the planner would scan and hash whole tables for a page of a hundred rows.
    """

    columns: str
    source: str
    table: str
    at: str
    id: str

    async def page(
        self, postgres: Postgres, page: Page, conditions: Sequence[str], args: list[Any], read_row: Callable[[Row], T]
    ) -> Paged[T]:
        """Return one page of the rows that meet any of `conditions`, each converted by `read_row`.

        The conditions are SQL, exclude each other, and should have an index each. All of them share the numbered
        parameters `args`. Raises BadCursor, StorageUnavailable.
        """
        all_rows = conditions, args
        if page.before is not None:
            args = [*args, *Cursor.decode(page.before)]
            after_cursor = f" AND ({self.at}, {self.id}) < (${len(args) - 1}, ${len(args)})"
            conditions = [condition + after_cursor for condition in conditions]
        keys = await self._keys(postgres, page, conditions, args)
        if page.before is None and 0 < len(keys) <= page.limit:
            total = page.offset + len(keys)  # this is the last page, so its end is the total
        else:
            total = await self._count(postgres, *all_rows)
        shown = keys[: page.limit]
        # Read the rows of the page by their ids.
        rows = await postgres.fetch(
            f"SELECT {self.columns} FROM {self.source} WHERE {self.id} = ANY($1::uuid[])"
            f" ORDER BY {self.at} DESC, {self.id} DESC",
            [key.id for key in shown],
        )
        following = shown[-1].encode() if len(keys) > page.limit else None
        return Paged([read_row(row) for row in rows], min(total, COUNT_LIMIT), total > COUNT_LIMIT, following)

    async def _count(self, postgres: Postgres, conditions: Sequence[str], args: list[Any]) -> int:
        limit = COUNT_LIMIT + 1
        # Count the rows, up to one more than COUNT_LIMIT.
        rows = await postgres.fetch(
            f"SELECT count(*) FROM (SELECT FROM ({self._newest(conditions, limit)}) w LIMIT {limit}) c", *args
        )
        return int(rows[0][0])

    async def _keys(self, postgres: Postgres, page: Page, conditions: Sequence[str], args: list[Any]) -> list[Cursor]:
        """Return time and id of each row of the page, and of the row after it."""
        # Merge the newest rows of each condition, and skip those before the page.
        rows = await postgres.fetch(
            f"SELECT at, id FROM ({self._newest(conditions, page.offset + page.limit + 1)}) w"
            f" ORDER BY at DESC, id DESC LIMIT {page.limit + 1} OFFSET {page.offset}",
            *args,
        )
        return [Cursor(*row) for row in rows]

    def _newest(self, conditions: Sequence[str], limit: int) -> str:
        """Return the SQL of the newest `limit` rows of each condition; each condition reads its own index in order."""
        return " UNION ALL ".join(
            f"(SELECT {self.at} AS at, {self.id} AS id FROM {self.table} WHERE {condition}"
            f" ORDER BY {self.at} DESC, {self.id} DESC LIMIT {limit})"
            for condition in conditions
        )
